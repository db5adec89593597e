//! The carrier of an attempt: one `windlass worker` process with its function.
//!
//! Workers are started before they are needed, each with a directory and a lock file of its own, and
//! wait for their order. Each carries out one: nothing passes from one job to the next.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};
use uuid::Uuid;
use windlass_core::AttemptNumber;
use windlass_core::assignment::Order;
use windlass_core::report::{Event as ReportEvent, Report};

use crate::confine::Slot;
use crate::driver::Event;
use crate::files::Files;
use crate::leftovers;
use crate::{Config, Logs};

/// Longest line of a worker, in bytes: 32 KiB of result, escaped, and the rest of the report.
const MAX_LINE_BYTES: u64 = 512 * 1024;

/// How much longer than its function's grace a worker may take to stop.
const WORKER_GRACE: Duration = Duration::from_secs(5);

/// How long processes that were killed may take to be gone, before that is an error in the log.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a function sees of the server's environment.
const PASSED: [&str; 6] = ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER"];

/// Most workers that wait for an order.
const MOST_IDLE: usize = 4;

/// Which attempt a worker's directory is of, for a server that starts after this one was killed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) job_uid: Uuid,
    pub(crate) attempt: AttemptNumber,
}

/// Name of the file of a [`Record`].
const RECORD: &str = "attempt.json";

/// The attempts that an earlier server has started and not seen the end of.
pub(crate) fn records(files: &Files) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(files.attempts())? {
        match fs::read(entry?.path().join(RECORD)) {
            // What cannot be read was being written: its worker had no order yet.
            Ok(text) => records.extend(serde_json::from_slice::<Record>(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}

/// Workers that wait for an order.
pub(crate) struct Workers {
    config: Arc<Config>,
    files: Arc<Files>,
    events: mpsc::UnboundedSender<Event>,
    idle: VecDeque<Idle>,
    starting: usize,
    number: u64,
}

/// A worker that waits for its order.
#[derive(Debug)]
pub(crate) struct Idle {
    child: Child,
    socket: StdUnixStream,
    home: PathBuf,
}

impl Workers {
    pub(crate) fn new(
        config: Arc<Config>,
        files: Arc<Files>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self { config, files, events, idle: VecDeque::new(), starting: 0, number: 0 }
    }

    /// Starts as many as may be needed at once. They are told to `events` when they are there.
    pub(crate) fn refill(&mut self) {
        // One more than may start at once: the next is made when one has ended, not while it starts.
        let wanted = MOST_IDLE.min(self.config.cpus as usize + 1);
        while self.idle.len() + self.starting < wanted {
            self.starting += 1;
            let (home, config, events) =
                (self.next_home(), Arc::clone(&self.config), self.events.clone());
            spawn_blocking(move || {
                // The driver may have ended.
                events.send(Event::Idle(spawn(&config, home))).unwrap_or_default();
            });
        }
    }

    /// One that was started is there, or could not be.
    pub(crate) fn add(&mut self, worker: io::Result<Idle>) {
        self.starting = self.starting.saturating_sub(1);
        match worker {
            Ok(worker) => self.idle.push_back(worker),
            Err(error) => warn!(%error, "no worker can be started in advance"),
        }
    }

    /// The directory of results, where workers put them.
    pub(crate) fn results(&self) -> PathBuf {
        self.files.results()
    }

    /// Gives an order to a worker that waits, or to a new one. What it reports and its end go to
    /// `events`, with the `slot` that held it; `done` ends when nothing of it is left to do.
    pub(crate) fn start(
        &mut self,
        job_uid: Uuid,
        mut order: Order,
        input: &[u8],
        slot: &mut Option<Slot>,
        done: &mut tokio::task::JoinSet<()>,
    ) -> io::Result<Handle> {
        let attempt = order.assignment.attempt;
        let worker = loop {
            let worker = match self.idle.pop_front() {
                Some(worker) => worker,
                None => {
                    let home = self.next_home();
                    spawn(&self.config, home)?
                }
            };
            let Some(number) = worker.child.id() else { continue };
            fs::write(worker.home.join(RECORD), serde_json::to_vec(&Record { job_uid, attempt })?)?;
            let path = worker.home.join("input.json");
            fs::write(&path, input)?;
            order.assignment.input = path.to_string_lossy().into_owned();
            order.assignment.work = worker.home.join("work").to_string_lossy().into_owned();
            if order.directory.is_none() {
                order.directory = Some(order.assignment.work.clone());
            }
            let mut line = serde_json::to_vec(&order)?;
            line.push(b'\n');
            match (&worker.socket).write_all(&line) {
                Ok(()) => break worker,
                // Somebody has killed it while it waited.
                Err(error) => warn!(%error, number, "a worker has gone while it waited"),
            }
        };
        let Idle { child, socket, home } = worker;
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        let (stop, stopped) = oneshot::channel();
        let worker = Attending {
            uid: job_uid,
            attempt,
            home,
            grace: self.config.grace + WORKER_GRACE,
            slot: slot.take(),
            events: self.events.clone(),
        };
        done.spawn(worker.attend(child, socket, stopped));
        Ok(Handle { stop: Some(stop) })
    }

    fn next_home(&mut self) -> PathBuf {
        self.number += 1;
        self.files.attempts().join(self.number.to_string())
    }
}

/// Starts a worker that waits for its order.
fn spawn(config: &Config, home: PathBuf) -> io::Result<Idle> {
    let work = home.join("work");
    fs::create_dir_all(&work)?;
    let lock = File::create(home.join(leftovers::LOCK))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    let (ours, theirs) = StdUnixStream::pair()?;
    let mut worker = Command::new(&config.program);
    worker
        .arg("worker")
        .env_clear()
        .envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("PATH", path(&config.program))
        .env(leftovers::HOME, &home)
        .env("WINDLASS_GRACE_SECONDS", config.grace.as_secs_f64().to_string())
        // No working directory: with one, the standard library copies this process to start another.
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .process_group(0)
        .kill_on_drop(true);
    match &config.logs {
        // The server's standard output is for results only.
        Logs::Stderr => worker.stdout(io::stderr()).stderr(Stdio::inherit()),
        Logs::Pipe(pipe) => worker.stdout(pipe.try_clone()?).stderr(pipe.try_clone()?),
        Logs::Files => worker.stdout(Stdio::null()).stderr(Stdio::null()),
    };
    let child = {
        // The worker and all that it starts inherit the lock. Nobody else may be started meanwhile:
        // who inherits a lock that is not his keeps the attempt from ever being over.
        static INHERITING: Mutex<()> = Mutex::new(());
        let _alone = INHERITING.lock().unwrap_or_else(PoisonError::into_inner);
        fcntl_setfd(&lock, FdFlags::empty())?;
        let child = worker.spawn();
        drop(lock);
        child?
    };
    // The child has its end; ours would keep the socket open after its death.
    drop(worker);
    Ok(Idle { child, socket: ours, home })
}

/// A live attempt: `stop` asks for its end.
#[derive(Debug)]
pub(crate) struct Handle {
    stop: Option<oneshot::Sender<()>>,
}

impl Handle {
    /// Asks for the end. Repeating it changes nothing.
    pub(crate) fn stop(&mut self) {
        // Its task may have ended by itself.
        self.stop.take().map(|stop| stop.send(()));
    }
}

/// What attends an attempt until nothing of it is left.
struct Attending {
    uid: Uuid,
    attempt: AttemptNumber,
    home: PathBuf,
    grace: Duration,
    slot: Option<Slot>,
    events: mpsc::UnboundedSender<Event>,
}

impl Attending {
    async fn attend(
        mut self,
        mut child: Child,
        socket: UnixStream,
        stopped: oneshot::Receiver<()>,
    ) {
        self.listen(&child, socket, stopped).await;
        let status = tokio::time::timeout(self.grace, child.wait()).await;
        let (orderly, why) = match status {
            Ok(Ok(status)) => {
                (is_orderly(status), format!("its worker ended without a word: {status}"))
            }
            Ok(Err(error)) => (false, format!("its worker cannot be waited for: {error}")),
            Err(_) => {
                signal(&child, Signal::KILL);
                (false, format!("its worker hung and was killed: {:?}", child.wait().await))
            }
        };
        self.empty(orderly).await;
        let Self { uid, attempt, home, events, slot, .. } = self;
        // The driver may have ended.
        events.send(Event::Gone { uid, attempt, why, slot }).unwrap_or_default();
        if let Err(error) = tokio::fs::remove_dir_all(&home).await {
            warn!(path = %home.display(), %error, "an attempt's files cannot be removed");
        }
    }

    /// Passes reports on until the worker closes its end.
    async fn listen(&self, child: &Child, socket: UnixStream, mut stopped: oneshot::Receiver<()>) {
        let mut lines = BufReader::new(socket);
        // Outside of the loop: a read that a signal interrupts goes on where it was.
        let mut line = Vec::new();
        let mut stopping = false;
        // When the worker is killed, once that is known.
        let mut deadline = None;
        let mut armed = false;
        let kill = sleep(Duration::MAX);
        tokio::pin!(kill);
        loop {
            let mut bounded = (&mut lines).take(MAX_LINE_BYTES.saturating_sub(line.len() as u64));
            tokio::select! {
                read = bounded.read_until(b'\n', &mut line) => match read {
                    Ok(1..) => {
                        if let Some(report) = self.read(&line) {
                            // It has nothing more to say and exits.
                            if matches!(report.event, ReportEvent::Finished(_)) && !stopping {
                                deadline = Some(Instant::now() + WORKER_GRACE);
                            }
                            self.events.send(Event::Told(report)).unwrap_or_default();
                        }
                        line.clear();
                    }
                    // The worker has closed its end: it exits.
                    Ok(0) | Err(_) => break,
                },
                _ = &mut stopped, if !stopping => {
                    stopping = true;
                    signal(child, Signal::TERM);
                    deadline = Some(Instant::now() + self.grace);
                }
                () = &mut kill, if armed => {
                    armed = false;
                    signal(child, Signal::KILL);
                }
            }
            if let Some(at) = deadline.take() {
                armed = true;
                kill.as_mut().reset(at);
            }
        }
    }

    fn read(&self, line: &[u8]) -> Option<Report> {
        match serde_json::from_slice::<Report>(line) {
            Ok(report)
                if report.job_uid == self.uid.to_string() && report.attempt == self.attempt =>
            {
                Some(report)
            }
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "a worker's line cannot be read");
                None
            }
        }
    }

    /// Returns when nothing of the attempt runs any more: its groups are empty and nobody holds its
    /// lock. A worker that ended in order has seen to it; what one that was killed has left is looked
    /// for, also where the lock was closed.
    async fn empty(&mut self, orderly: bool) {
        while let Some(slot) = self.slot.take() {
            // Where there are no groups, nothing is in one.
            if slot.processes().is_ok_and(|processes| !processes.is_empty()) {
                let killed = spawn_blocking(move || (slot.kill(), slot)).await;
                match killed {
                    Ok((Ok(()), slot)) => self.slot = Some(slot),
                    Ok((Err(error), slot)) => {
                        error!(job = %self.uid, %error, "an attempt is not over");
                        self.slot = Some(slot);
                        continue;
                    }
                    Err(error) => error!(%error, "emptying a control group has failed"),
                }
            } else {
                self.slot = Some(slot);
            }
            break;
        }
        let mut look = !orderly;
        loop {
            match leftovers::is_held(&self.home) {
                Ok(false) if !look => return,
                Ok(_) => {}
                Err(error) => error!(%error, "an attempt's lock cannot be looked at"),
            }
            let home = self.home.clone();
            let ended = spawn_blocking(move || leftovers::end(&home, PATIENCE)).await;
            match ended {
                Ok(Ok(_)) => look = false,
                Ok(Err(error)) => error!(job = %self.uid, %error, "an attempt is not over"),
                Err(error) => error!(%error, "looking for what a worker left has failed"),
            }
        }
    }
}

/// Whether a worker has ended by itself, so that it has ended its function.
fn is_orderly(status: ExitStatus) -> bool {
    status.code().is_some()
}

/// Signals the worker itself; its process was not waited for, so that its number is its own.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended meanwhile.
        kill_process(pid, signal).unwrap_or_default();
    }
}

/// The PATH of functions: this one with the directory of the windlass program before it, so that
/// `windlass function NAME` is found.
fn path(program: &Path) -> std::ffi::OsString {
    let rest = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let directories = program.parent().map(Path::to_owned).into_iter();
    std::env::join_paths(directories.chain(std::env::split_paths(&rest))).unwrap_or(rest)
}
