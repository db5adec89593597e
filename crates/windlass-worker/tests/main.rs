//! The worker, run as the process it is; the functions are shell scripts.

#![expect(unreachable_pub, reason = "a test binary has no public parts")]

mod bench;
mod contract;
mod fake_gateway;
mod http;
mod outcomes;
mod processes;
mod progress;
mod stops;
// Of another author, with telling; some of what it serves was lost.
#[allow(dead_code)]
mod support;
mod telling;
