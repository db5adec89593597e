//! Supervises one attempt: `windlass worker -- FUNCTION ARGS...`, the same program in a pod and on
//! one machine.
//!
//! In: an [`Assignment`] in the environment and the function's argv. Out: reports to the gateway or
//! over the local socket, the outcome in the termination message, and an exit code:
//!
//! | exit code | means |
//! | --- | --- |
//! | 0 | the function succeeded and its result was reported, or left in the termination message |
//! | 1 | the function failed; the report says why |
//! | 2 | the assignment cannot be read |
//! | 143 | stopped by SIGTERM, or because the server is gone; nothing is reported |
//!
//! One job by file names: [`function`] starts the process, [`progress`] and [`stderr`] read what it
//! tells, [`stop`] ends its process group, [`outcome`] judges its end, [`result`] takes its output,
//! [`report`] tells it.
//!
//! Deliberately absent: retries of the function (the driver's), any decision about the job, and
//! credentials but the one token for reporting.

mod function;
mod outcome;
mod progress;
mod report;
mod result;
mod stderr;
mod stop;
mod supervise;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use windlass_core::assignment::ASSIGNMENT;
use windlass_core::contract::STOP_GRACE_SECONDS;
use windlass_core::{Assignment, AttemptNumber};

/// Seconds of grace instead of the contract's, such as `0.5`: a server on this machine passes its
/// own, and tests of functions that ignore SIGTERM do not wait.
const GRACE: &str = "WINDLASS_GRACE_SECONDS";

/// The whole of `windlass worker`.
pub fn main(command: Vec<String>) -> ExitCode {
    match run(&command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            stderr::tell(&format!("windlass worker: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Name of the file in [`Assignment::results`] that holds the stored result of an attempt.
pub fn stored_name(job_uid: &str, attempt: AttemptNumber) -> String {
    format!("{job_uid}-{attempt}")
}

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{ASSIGNMENT} is not set; workers are started by Windlass itself")]
    NoAssignment,
    #[error("{ASSIGNMENT} cannot be read: {0}")]
    Assignment(#[from] serde_json::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn run(command: &[String]) -> Result<u8, Error> {
    let text = std::env::var(ASSIGNMENT).map_err(|_| Error::NoAssignment)?;
    let assignment: Assignment = serde_json::from_str(&text)?;
    let grace = std::env::var(GRACE).ok().and_then(|seconds| seconds.parse().ok());
    let grace = grace.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let grace = grace.unwrap_or(Duration::from_secs(STOP_GRACE_SECONDS));
    // What the function leaves behind becomes ours to reap, as it does for the first process of a
    // container.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(std::io::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(supervise::supervise(&assignment, command, grace));
    // A thread that waits for somebody to read our stderr does not hold the exit up.
    runtime.shutdown_background();
    Ok(code?)
}
