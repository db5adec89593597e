//! Supervises one attempt: `windlass worker -- FUNCTION ARGS...`, the same program in a pod and on
//! one machine.
//!
//! In: an [`Order`]. In a pod it is in the environment and on the command line. On one machine the
//! command line is empty and instructions come over the socket that is the standard input: the worker
//! was started before there was anything to do, and has one order after another where its function serves.
//! Out: reports to the gateway or over the socket, the outcome in the termination message, and an exit code:
//!
//! | exit code | means |
//! | --- | --- |
//! | 0 | the function succeeded and its result was reported, or left in the termination message |
//! | 0 | there was no order, and the server that would give it is gone |
//! | 1 | the function failed; the report says why |
//! | 2 | the assignment cannot be read |
//! | 143 | stopped by SIGTERM, or because the server is gone; nothing is reported |
//!
//! One job by file names: [`orders`] takes instructions, [`standby`] waits in a pod for its one order, [`run_attempt`]
//! carries out an order, [`confine`] holds this process and what it starts, [`running`] is the function whether it runs
//! once, by [`function`], or serves, by [`serving`], for which [`inputs`] has its blobs ready and which [`fence`] keeps
//! out of the server's files, [`shared_memory`] is the attempt's own, [`progress`] and [`stdio`] read what it
//! writes, [`private_files`] are for this user alone, [`stop_signals`] tell when to stop, [`stop`] ends
//! what the function has started, [`output_file`] makes a result of its output, which [`kept_file`] keeps from changes,
//! [`outcome`] decides how the attempt ended, [`report`] sends that to the server, [`tls`] decides which servers are trusted.
//!
//! Deliberately absent: retries of the function (the driver's), any decision about the job, and
//! credentials but the one token for reporting.

mod attempt_paths;
mod clock;
mod confine;
mod disk;
mod dry_run;
mod ending;
mod fence;
mod function;
mod inputs;
mod interpreter;
mod json_line;
mod kept_file;
mod log;
mod log_times;
mod orders;
mod outcome;
mod output_end;
mod output_file;
mod pace;
pub mod private_files;
mod progress;
mod remove_tree;
mod report;
mod run_attempt;
mod running;
mod serving;
mod shared_memory;
mod signals;
mod standby;
mod stdio;
mod stop;
pub mod stop_signals;
pub mod tls;
mod usage;
mod usage_file;
mod whose_end;

use std::process::ExitCode;
use std::time::Duration;

use windlass_core::assignment::{ASSIGNMENT, Order, Program, STANDBY, Unreadable, read_told};
use windlass_core::contract::STOP_GRACE_SECONDS;

pub use attempt_paths::files_directory;
pub use confine::{descendants, kills as oom_kills};
pub use dry_run::dry_run;
pub use fence::{HIDDEN, NoFence, can_hide};
pub use log::{LogFollower, copies as log_copies, files as log_files, read as read_log};
pub use log_times::adopt as adopt_log_times;
pub use output_file::{stored_name, unfinished_name};
pub use remove_tree::remove_tree;
pub use shared_memory::{OWN_SHARED_MEMORY, can_own_shared_memory};
pub use usage_file::{read_usage, usage_files};

use function::GRACE;
use signals::Signals;

/// Longer than any process lives.
const LONG: Duration = Duration::from_secs(u32::MAX as u64);

/// The whole of `windlass worker`: with `standby` it waits in a pod until that is an attempt.
pub fn main(command: Vec<String>, standby: bool) -> ExitCode {
    match run_command(&command, standby) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            stdio::log_line(&format!("windlass worker: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{ASSIGNMENT} is not set; workers are started by Windlass itself")]
    NoAssignment,
    #[error("{0} cannot be read: {1}")]
    Told(&'static str, Unreadable),
    #[error("{STANDBY} is not set; workers are started by Windlass itself")]
    NoOrder,
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn run_command(command: &[String], standby: bool) -> Result<u8, Error> {
    if let Err(error) = shared_memory::own() {
        // The machine's stays in use, as it does where nothing may be mounted.
        stdio::log_line(&format!("windlass worker: /dev/shm is not the attempt's own: {error}"));
    }
    // There is time for that before an order comes.
    fence::prepare();
    let grace = std::env::var(GRACE).ok().and_then(|seconds| seconds.parse().ok());
    let grace = grace.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let grace = grace.unwrap_or(Duration::from_secs(STOP_GRACE_SECONDS));
    // What the function leaves behind becomes ours to reap, as it does for the first process of a
    // container.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(std::io::Error::from)?;
    // Before there is any thread.
    stop_signals::block()?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().thread_keep_alive(LONG).build()?;
    let code = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        if command.is_empty() {
            return Ok(orders::follow(&mut signals, grace).await?);
        }
        if standby {
            return standby::wait_and_run(command, &mut signals, grace).await;
        }
        let text = std::env::var(ASSIGNMENT).map_err(|_| Error::NoAssignment)?;
        let assignment = read_told(&text).map_err(|why| Error::Told(ASSIGNMENT, why))?;
        let (command, env) = (command.to_vec(), Vec::new());
        let program = Program { command, env, directory: None, hidden: None, run_as: None };
        let order = Order { assignment, program, serves: false };
        Ok::<_, Error>(run_attempt::run_attempt(&order, None, &mut signals, grace).await?.code)
    });
    // A thread that waits for somebody to read our stderr does not hold the exit up.
    runtime.shutdown_background();
    code
}
