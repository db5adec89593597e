//! The function's process: its environment, its process group, its end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use windlass_core::assignment::{ASSIGNMENT, Assignment, Order, Program, RunAs, STANDBY};
use windlass_core::contract;
use windlass_core::trace::Trace;

use crate::attempt_paths::{files_directory, type_path};
use crate::fence::{Fence, HIDDEN};
use crate::private_files::give;
use crate::progress::ProgressFile;
use crate::shared_memory::OWN_SHARED_MEMORY;
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
        let Order { assignment, program, .. } = order;
        let work = Path::new(&assignment.work);
        let (output, progress) = (work.join("output"), work.join("progress"));
        let progress_file = ProgressFile::create(&progress, program.run_as.as_ref())?;
        let parallelism = assignment.parallelism.to_string();
        let mut process = command(program, work, Path::new(&assignment.input))?;
        process
            .env(contract::INPUT, &assignment.input)
            .env(contract::INPUT_TYPE, assignment.input_type())
            .envs(files_of(assignment).map(|files| (contract::FILES, files)))
            .env(contract::OUTPUT, &output)
            .env(contract::OUTPUT_TYPE, type_path(&output))
            .env(contract::PROGRESS, &progress)
            .env(contract::PARALLELISM, &parallelism)
            .env(contract::DEADLINE, deadline(timeout).to_string())
            .env(contract::JOB, &assignment.job)
            .env(contract::ATTEMPT, assignment.attempt.to_string())
            .envs(traceparent(assignment).map(|parent| (contract::TRACEPARENT, parent)))
            .envs(contract::THREAD_COUNT_VARIABLES.map(|name| (name, parallelism.as_str())));
        if assignment.takes_stdout() {
            process.stdout(Stdio::piped());
        }
        let child = process.spawn()?;
        let group = group_of(&child)?;
        Ok((Self { child, group, output }, progress_file))
    }

    /// Its process group, which has the number of its first process.
    pub(crate) fn group(&self) -> Pid {
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

    /// Ends whatever is left of it, see [`stop::end_function`].
    pub(crate) async fn stop(&mut self, grace: Duration) -> io::Result<()> {
        stop::end_function(&mut self.child, self.group, grace).await
    }
}

/// A function's process that is yet to be started, with what both versions of the contract have in common.
pub(crate) fn command(program: &Program, work: &Path, input: &Path) -> io::Result<Command> {
    let Program { command, env, directory, hidden, run_as } = program;
    let (name, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty command"))?;
    let mut process = Command::new(name);
    process
        .args(arguments)
        .envs(env.iter().map(|variable| (&variable.name, &variable.value)))
        .env_remove(ASSIGNMENT)
        .env_remove(STANDBY)
        .env_remove(GRACE)
        .env_remove(HIDDEN)
        .env_remove(OWN_SHARED_MEMORY)
        .env("TMPDIR", work)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(directory) = directory {
        process.current_dir(directory);
    }
    give(run_as.as_ref(), &[work, input])?;
    if let Some(user) = run_as {
        become_user(&mut process, user, work);
    }
    let fence = match hidden {
        Some(hidden) => {
            let readable = [input, &files_directory(input)];
            Some(Fence::around(Path::new(hidden), &[work], &readable).map_err(io::Error::other)?)
        }
        None => None,
    };
    before_exec::arrange(&mut process, fence);
    Ok(process)
}

/// The group of a process that was started as the leader of one.
pub(crate) fn group_of(child: &Child) -> io::Result<Pid> {
    let number = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    number.ok_or_else(|| io::Error::other("the function has no process id"))
}

/// The directory of the job's files, if it has any.
pub(crate) fn files_of(assignment: &Assignment) -> Option<PathBuf> {
    let has_files = assignment.inputs.as_ref().is_some_and(|inputs| !inputs.files.is_empty());
    has_files.then(|| files_directory(Path::new(&assignment.input)))
}

/// The trace that the function's spans belong to.
pub(crate) fn traceparent(assignment: &Assignment) -> Option<String> {
    Trace::of_job(&assignment.job_uid).map(|trace| trace.parent())
}

/// Makes a process that is yet to be started another user's.
fn become_user(process: &mut Command, user: &RunAs, work: &Path) {
    let RunAs { user, group, name, home } = user;
    match home {
        Some(home) => process.env("HOME", home),
        None => process.env("HOME", work),
    };
    match name {
        Some(name) => process.env("USER", name),
        None => process.env_remove("USER"),
    };
    process.uid(*user).gid(*group);
}

/// When this attempt will be stopped. For information: the worker keeps the monotonic clock.
pub(crate) fn deadline(timeout: Duration) -> Timestamp {
    let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    Timestamp::now().checked_add(timeout).unwrap_or(Timestamp::MAX)
}

/// What the function's process does before it becomes the function's program: it leaves the terminal and the group of whoever
/// started the worker, asks to be ended when its worker dies, however that dies, and enters the fence.
///
/// A function that could open the terminal would type there (TIOCSTI) what its owner has not typed.
///
/// The kernel ends it, so that no SIGKILL of the worker leaves a function that burns CPUs. Both must be
/// asked for between fork and exec, which is unsafe because almost nothing may be done there: here, a
/// few system calls.
mod before_exec {
    #![expect(unsafe_code, reason = "pre_exec; the closure makes a few system calls and no more")]

    use std::io;

    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal, setsid};
    use tokio::process::Command;

    use crate::fence::Fence;
    use crate::stop_signals;

    pub(super) fn arrange(process: &mut Command, mut fence: Option<Fence>) {
        let parent = getpid();
        // SAFETY: the closure runs in the forked child; setsid, prctl, sigprocmask, getppid and landlock_restrict_self are
        // async-signal-safe, and nothing is allocated.
        unsafe {
            process.pre_exec(move || {
                setsid()?;
                set_parent_process_death_signal(Some(Signal::KILL))?;
                stop_signals::unblock()?;
                // The worker may have died before the line above.
                if getppid() != Some(parent) {
                    return Err(io::Error::other("orphaned"));
                }
                fence.take().map_or(Ok(()), Fence::enter)
            });
        }
    }
}
