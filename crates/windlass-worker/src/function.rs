//! The function's process: its environment, its process group, its end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use windlass_core::assignment::{ASSIGNMENT, Order};
use windlass_core::contract;
use windlass_core::trace::Trace;

use crate::progress::ProgressFile;
use crate::stop;

/// Seconds of grace instead of the contract's, such as `0.5`: a server on this machine passes its
/// own, and tests of functions that ignore SIGTERM do not wait.
pub(crate) const GRACE: &str = "WINDLASS_GRACE_SECONDS";

/// A started function.
pub(crate) struct FunctionProcess {
    child: Child,
    /// The function is the leader of its process group.
    group: Pid,
    output: PathBuf,
}

impl FunctionProcess {
    /// Starts the function with the environment of the worker contract, and gives its progress.
    pub(crate) fn start(order: &Order, timeout: Duration) -> io::Result<(Self, ProgressFile)> {
        let Order { assignment, command, env, directory } = order;
        let work = Path::new(&assignment.work);
        let (output, progress) = (work.join("output"), work.join("progress"));
        let progress_file = ProgressFile::create(&progress)?;
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty command"))?;
        let parallelism = assignment.parallelism.to_string();
        let mut process = Command::new(program);
        process
            .args(arguments)
            .envs(env.iter().map(|variable| (&variable.name, &variable.value)))
            .env_remove(ASSIGNMENT)
            .env_remove(GRACE)
            .env(contract::INPUT, &assignment.input)
            .env(contract::OUTPUT, &output)
            .env(contract::PROGRESS, &progress)
            .env(contract::PARALLELISM, &parallelism)
            .env(contract::DEADLINE, deadline(timeout).to_string())
            .env(contract::JOB, &assignment.job)
            .env(contract::ATTEMPT, assignment.attempt.to_string())
            .env("TMPDIR", work)
            .envs(
                Trace::of(&assignment.job_uid).map(|trace| (contract::TRACEPARENT, trace.parent())),
            )
            .envs(contract::THREAD_COUNT_VARIABLES.map(|name| (name, parallelism.as_str())))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if assignment.log.is_some() {
            process.stdout(Stdio::piped());
        }
        if let Some(directory) = directory {
            process.current_dir(directory);
        }
        end_with_parent::arrange(&mut process);
        let child = process.spawn()?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| io::Error::other("the function has no process id"))?;
        Ok((Self { child, group, output }, progress_file))
    }

    /// Number of the process group.
    pub(crate) fn group(&self) -> u32 {
        self.group.as_raw_pid().cast_unsigned()
    }

    /// Its first process.
    pub(crate) fn pid(&self) -> Pid {
        self.group
    }

    /// Where the result is expected.
    pub(crate) fn output_path(&self) -> PathBuf {
        self.output.clone()
    }

    /// The function's stdout, where it is not this process's own, and its stderr. Once.
    pub(crate) fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Waits until the function's first process has ended.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends whatever is left of the process group: SIGTERM and the grace for a function that still
    /// runs, SIGKILL for the rest. Returns when the group is empty.
    pub(crate) async fn stop(&mut self, grace: Duration) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            stop::terminate(self.group)?;
            if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
                stop::kill(self.group)?;
                self.child.wait().await?;
            }
        }
        stop::end_descendants(self.group).await
    }
}

/// When this attempt will be stopped. For information: the worker keeps the monotonic clock.
fn deadline(timeout: Duration) -> Timestamp {
    let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    Timestamp::now().checked_add(timeout).unwrap_or(Timestamp::MAX)
}

/// Ends the function when its worker dies, however it dies.
///
/// The kernel does it, so that no SIGKILL of the worker leaves a function that burns CPUs. It must
/// be asked for between fork and exec, which is unsafe because almost nothing may be done there:
/// here, three system calls.
mod end_with_parent {
    #![expect(unsafe_code, reason = "pre_exec; the closure makes three system calls and no more")]

    use std::io;

    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
    use tokio::process::Command;

    use crate::stop_signals;

    pub(super) fn arrange(process: &mut Command) {
        let parent = getpid();
        // SAFETY: the closure runs in the forked child; prctl, sigprocmask and getppid are
        // async-signal-safe and allocate nothing.
        unsafe {
            process.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                stop_signals::unblock()?;
                // The worker may have died before the line above.
                if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::other("orphaned")) }
            });
        }
    }
}
