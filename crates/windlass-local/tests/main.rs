//! The engine with real workers and real functions, which are shell scripts.
//!
//! - [`lives`]: jobs that end well, and what is told of them;
//! - [`failures`]: jobs that do not, and retries;
//! - [`capacity`]: who starts when, with how many CPUs;
//! - [`ends`]: cancel, delete, expiry, shutdown, and that no process is left;
//! - [`manifests`]: functions and queues from files;
//! - [`numbers`]: what is counted and sampled;
//! - [`queues`]: queues that are missing, deleted or on hold;
//! - [`warm`]: functions that serve;
//! - [`latency`]: what all this costs; ignored unless asked for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod absent_functions;
mod capacity;
mod ends;
mod failures;
mod latency;
mod lives;
mod manifests;
mod numbers;
mod queues;
mod support;
mod warm;
