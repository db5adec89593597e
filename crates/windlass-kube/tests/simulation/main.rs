//! The real controller against an API server in memory, with one fault at every write, with pairs of
//! faults, with controllers that die and two that act at once. The server checks our promises at each
//! write: never two live pods of a job, never more CPUs than the quota, no status that goes back. In
//! the end every job has ended as it should, nothing is left of it, and nobody writes any more.
//!
//! Time is virtual: see `virtual_time`. A story of minutes is played in a moment, and a busy machine changes nothing.
//!
//! `stories` has the tests, by subject. `story` says what a story may have. `play` plays them, each as a
//! `performance` against the `server`, with the real controller of `controller` and what else a `cluster` does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod controller;
mod objects;
mod performance;
mod play;
mod server;
mod standby;
mod stories;
mod story;
mod virtual_time;
