//! Starts worker processes, each with a directory and a lock file of its own.
//!
//! A worker is started before there is anything to do, and waits for its order on its standard
//! input, a socket.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tokio::process::{Child, Command};
use windlass_core::assignment::RunAs;
use windlass_worker::{HIDDEN, OWN_SHARED_MEMORY, can_own_shared_memory, private_files};

use super::leftovers;
use crate::inode::inode;
use crate::ownership;

/// What a function sees of the server's environment.
pub(crate) const PASSED_VARIABLES: [&str; 6] = ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER"];

/// How every worker is started.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The windlass program, which is started as `PROGRAM worker`.
    pub program: PathBuf,
    /// Where functions write what is neither result nor progress.
    pub logs: Logs,
    /// How many files a function may have open, unless it raises that itself; `None` for as many as this process.
    pub descriptors: Option<u64>,
    /// How long a function may take to stop, before its worker kills it.
    pub grace: Duration,
    /// The user that functions run as, if that is another than this process's. Only root can do that.
    pub run_as: Option<RunAs>,
}

/// How a worker is started on this machine.
#[derive(Debug)]
pub(crate) struct WorkerCommand {
    pub(crate) options: WorkerOptions,
    /// The directory that functions are kept out of, if they are out of one.
    pub(crate) hidden: Option<PathBuf>,
    /// What is executed: see [`image_of`].
    pub(crate) image: PathBuf,
}

/// The program that a process runs, also when its file is gone.
const OWN_IMAGE: &str = "/proc/self/exe";

/// What to execute for a program, as it is now. The server's own is what it runs, whatever is at its path later: an
/// upgrade replaces the file, and the workers of a server are of its version.
pub(crate) fn image_of(program: &Path) -> PathBuf {
    let own = Path::new(OWN_IMAGE);
    let is_own = matches!((inode(own), inode(program)), (Ok(own), Ok(there)) if own == there);
    if is_own { own.to_owned() } else { program.to_owned() }
}

/// Where functions write what is neither result nor progress.
#[derive(Clone, Debug)]
pub enum Logs {
    /// To this process's standard error.
    Stderr,
    /// To a pipe that somebody reads.
    Pipe(Arc<OwnedFd>),
    /// To a file for each attempt, which is kept as long as the job.
    Files,
}

impl WorkerCommand {
    /// Starts a worker that waits for its order, with `home` as its directory.
    pub(crate) fn spawn(&self, home: PathBuf) -> io::Result<IdleWorker> {
        let options = &self.options;
        private_files::make_directory(&home.join("work"))?;
        ownership::let_pass(&home, options.run_as.is_some())?;
        let lock = private_files::create(&home.join(leftovers::LOCK))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let (ours, theirs) = UnixStream::pair()?;
        let mut worker = Command::new(&self.image);
        worker
            .arg0(&options.program)
            .arg("worker")
            .env_clear()
            .envs(PASSED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("PATH", search_path(&options.program))
            .env(leftovers::HOME, &home)
            .envs(self.hidden.as_deref().map(|hidden| (HIDDEN, hidden)))
            .envs(can_own_shared_memory(&home).then_some((OWN_SHARED_MEMORY, "1")))
            .env("WINDLASS_GRACE_SECONDS", options.grace.as_secs_f64().to_string())
            // No working directory: with one, the standard library copies this process to start
            // another.
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .process_group(0)
            .kill_on_drop(true);
        match &options.logs {
            // The server's standard output is for results only.
            Logs::Stderr => worker.stdout(io::stderr()).stderr(Stdio::inherit()),
            Logs::Pipe(pipe) => worker.stdout(pipe.try_clone()?).stderr(pipe.try_clone()?),
            Logs::Files => worker.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let child = spawn_with_lock(&mut worker, lock)?;
        if let Some(descriptors) = options.descriptors {
            limit_descriptors(&child, descriptors)?;
        }
        // The child has its end; ours would keep the socket open after its death.
        drop(worker);
        Ok(IdleWorker { child, socket: ours, home })
    }
}

/// A worker that waits for its order. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct IdleWorker {
    pub(crate) child: Child,
    pub(crate) socket: UnixStream,
    /// Its own directory.
    pub(crate) home: PathBuf,
}

/// The worker and all that it starts inherit the lock. One worker is started at a time: a process
/// that inherits the lock of another attempt would keep that attempt from ever being over.
fn spawn_with_lock(worker: &mut Command, lock: File) -> io::Result<Child> {
    static INHERITING: Mutex<()> = Mutex::new(());
    let _alone = INHERITING.lock().unwrap_or_else(PoisonError::into_inner);
    fcntl_setfd(&lock, FdFlags::empty())?;
    let child = worker.spawn();
    drop(lock);
    child
}

/// Gives a worker the limit that this process had before it raised its own. What it starts inherits it: programs that
/// use select(2) cannot have more than 1,024.
fn limit_descriptors(worker: &Child, descriptors: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(descriptors), ..getrlimit(Resource::Nofile) };
    match pid_of(worker) {
        Some(pid) => prlimit(Some(pid), Resource::Nofile, limit).map(drop).map_err(Into::into),
        None => Ok(()),
    }
}

/// Its process id, which is its own as long as it has not been waited for.
fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
}

/// Signals a worker. It has not been waited for, so its process id is still its own.
pub(crate) fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = pid_of(child) {
        // It may have ended meanwhile.
        kill_process(pid, signal).unwrap_or_default();
    }
}

/// The PATH of functions: this one with the directory of the windlass program before it, so that
/// `windlass function NAME` is found.
pub(crate) fn search_path(program: &Path) -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let directories = program.parent().map(Path::to_owned).into_iter();
    std::env::join_paths(directories.chain(std::env::split_paths(&rest))).unwrap_or(rest)
}
