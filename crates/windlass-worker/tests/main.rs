//! The worker, run as the process it is; the functions are shell scripts.

#![expect(unreachable_pub, reason = "a test binary has no public parts")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stderr, reason = "a failing test shows what it has seen")]

mod bench;
mod blobs;
mod contract;
mod fake_gateway;
mod fence;
mod held_up;
mod http;
mod kept_log;
mod outcomes;
mod processes;
mod program;
mod progress;
mod standby;
mod stops;
mod usage;
