//! The carrier of an attempt: one `windlass worker` process with its function.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, waitpgid,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tracing::warn;
use windlass_core::assignment::{ASSIGNMENT, Assignment, ReportTo};
use windlass_core::report::{Event as ReportEvent, Report};
use windlass_core::{AttemptNumber, Cpus, FunctionSpec, Job, Limits, name};

use crate::driver::Event;
use crate::{Config, Logs};

/// Longest line of a worker, in bytes: 32 KiB of result, escaped, and the rest of the report.
const MAX_LINE_BYTES: u64 = 512 * 1024;

/// How much longer than its function's grace a worker may take to stop.
const WORKER_GRACE: Duration = Duration::from_secs(5);

/// What a function sees of the server's environment.
const PASSED: [&str; 6] = ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER"];

/// Directory of the attempts' files.
pub(crate) fn directory(data: &Path) -> PathBuf {
    data.join("attempts")
}

/// Directory of results above 32 KiB.
pub(crate) fn results(data: &Path) -> PathBuf {
    data.join("results")
}

/// A live attempt: `stop` asks for its end.
pub(crate) struct Handle {
    /// Granted to it.
    pub(crate) cpus: Cpus,
    /// Queue of its job.
    pub(crate) queue: String,
    stop: Option<oneshot::Sender<()>>,
}

impl Handle {
    /// Asks for the end. Repeating it changes nothing.
    pub(crate) fn stop(&mut self) {
        // Its task may have ended by itself.
        self.stop.take().map(|stop| stop.send(()));
    }
}

/// Starts the worker of an attempt. Its reports and its end go to `events`.
pub(crate) fn start(
    config: &Config,
    job: &Job,
    limits: &Limits,
    function: &FunctionSpec,
    attempt: AttemptNumber,
    cpus: Cpus,
    events: mpsc::UnboundedSender<Event>,
) -> io::Result<Handle> {
    let uid = job.metadata.uid.clone();
    let home = directory(&config.data).join(name::attempt(&job.metadata.name, &uid, attempt));
    let work = home.join("work");
    std::fs::create_dir_all(&work)?;
    let input = home.join("input.json");
    std::fs::write(&input, job.spec.input_bytes())?;

    let assignment = Assignment {
        job: job.metadata.name.clone(),
        job_uid: uid.clone(),
        attempt,
        parallelism: cpus,
        timeout_seconds: limits.timeout_seconds,
        max_result_bytes: limits.max_result_bytes,
        content_type: function.content_type.clone(),
        input: input.to_string_lossy().into_owned(),
        work: work.to_string_lossy().into_owned(),
        report: ReportTo::Socket,
        results: Some(results(&config.data).to_string_lossy().into_owned()),
        termination_message: None,
    };
    let (ours, theirs) = StdUnixStream::pair()?;
    let mut worker = Command::new(&config.program);
    worker
        .arg("worker")
        .arg("--")
        .args(&function.command)
        .args(&function.args)
        .env_clear()
        .envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("PATH", path(&config.program))
        .envs(function.env.iter().map(|variable| (&variable.name, &variable.value)))
        .env(ASSIGNMENT, serde_json::to_string(&assignment)?)
        .env("WINDLASS_GRACE_SECONDS", config.grace.as_secs_f64().to_string())
        .current_dir(config.functions.directory(&job.spec.function).unwrap_or(&work))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .process_group(0)
        .kill_on_drop(true);
    match config.logs {
        // The server's standard output is for results only.
        Logs::Stderr => worker.stdout(io::stderr()).stderr(Stdio::inherit()),
        Logs::Nowhere => worker.stdout(Stdio::null()).stderr(Stdio::null()),
    };
    let child = worker.spawn()?;
    // The child has its end; ours would keep the socket open after its death.
    drop(worker);
    ours.set_nonblocking(true)?;
    let socket = UnixStream::from_std(ours)?;
    let (stop, stopped) = oneshot::channel();
    let grace = config.grace + WORKER_GRACE;
    tokio::spawn(async move {
        let why = attend(child, socket, stopped, grace, &uid, attempt, &events).await;
        if let Err(error) = tokio::fs::remove_dir_all(&home).await {
            warn!(path = %home.display(), %error, "an attempt's files cannot be removed");
        }
        // The driver may have ended.
        events.send(Event::Gone { uid, attempt, why }).unwrap_or_default();
    });
    Ok(Handle { cpus, queue: job.spec.queue().to_owned(), stop: Some(stop) })
}

/// Passes reports on until the worker and everything that it started are gone. Returns how it
/// ended.
async fn attend(
    mut child: Child,
    socket: UnixStream,
    mut stopped: oneshot::Receiver<()>,
    grace: Duration,
    uid: &str,
    attempt: AttemptNumber,
    events: &mpsc::UnboundedSender<Event>,
) -> String {
    let mut group = None;
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
                    if let Some(report) = read_report(&line, uid, attempt) {
                        match report.event {
                            ReportEvent::Running { process_group, .. } => group = process_group,
                            // It has nothing more to say and exits.
                            ReportEvent::Finished(_) if !stopping => {
                                deadline = Some(Instant::now() + WORKER_GRACE);
                            }
                            ReportEvent::Progress { .. } | ReportEvent::Finished(_) => {}
                        }
                        events.send(Event::Told(report)).unwrap_or_default();
                    }
                    line.clear();
                }
                // The worker has closed its end: it exits.
                Ok(0) | Err(_) => break,
            },
            _ = &mut stopped, if !stopping => {
                stopping = true;
                signal(&child, Signal::TERM);
                deadline = Some(Instant::now() + grace);
            }
            () = &mut kill, if armed => {
                armed = false;
                signal(&child, Signal::KILL);
            }
        }
        if let Some(at) = deadline.take() {
            armed = true;
            kill.as_mut().reset(at);
        }
    }
    let status = tokio::time::timeout(grace, child.wait()).await;
    let why = match status {
        Ok(Ok(status)) => format!("its worker ended without a word: {status}"),
        Ok(Err(error)) => format!("its worker cannot be waited for: {error}"),
        Err(_) => {
            signal(&child, Signal::KILL);
            format!("its worker hung and was killed: {:?}", child.wait().await)
        }
    };
    // A worker that was killed could not end what its function had started.
    if let Some(group) = group.and_then(|group| Pid::from_raw(group.cast_signed())) {
        empty(group).await;
    }
    why
}

fn read_report(line: &[u8], uid: &str, attempt: AttemptNumber) -> Option<Report> {
    match serde_json::from_slice::<Report>(line) {
        Ok(report) if report.job_uid == uid && report.attempt == attempt => Some(report),
        Ok(_) => None,
        Err(error) => {
            warn!(%error, "a worker's line cannot be read");
            None
        }
    }
}

/// Signals the worker itself; its process was not waited for, so that its number is its own.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended meanwhile.
        kill_process(pid, signal).unwrap_or_default();
    }
}

/// Ends what is left of a function's process group.
async fn empty(group: Pid) {
    let mut pause = Duration::from_micros(200);
    while test_kill_process_group(group).is_ok() {
        kill_process_group(group, Signal::KILL).unwrap_or_default();
        // As the first process of a container, this one inherits them, and a group is there until
        // its dead are reaped. The worker is in another group: its end is left to its child handle.
        while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The PATH of functions: this one with the directory of the windlass program before it, so that
/// `windlass function NAME` is found.
fn path(program: &Path) -> std::ffi::OsString {
    let rest = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let directories = program.parent().map(Path::to_owned).into_iter();
    std::env::join_paths(directories.chain(std::env::split_paths(&rest))).unwrap_or(rest)
}
