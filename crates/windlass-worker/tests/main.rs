//! The worker, run as the process it is; the functions are shell scripts.

#![expect(unreachable_pub, reason = "a test binary has no public parts")]

mod bench;
mod contract;
mod endings;
mod gateway;
mod http;
mod processes;
mod progress;
mod stopping;
