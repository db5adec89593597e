//! A function that serves: one process that gets one job after another, by version 2 of the contract.
//!
//! [`ServingFunction::start`] starts it, [`begin`](ServingFunction::begin) gives it a job, and
//! [`wait`](ServingFunction::wait) brings its answer or its end. Between two jobs [`inspect`] looks at what the last
//! one has left: anything, and the process is ended and not cleaned. [`protocol`] has the lines, [`relay`] what it
//! prints, [`connection`] its socket.

mod connection;
mod inspect;
mod peer;
pub(crate) mod protocol;
mod relay;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use tokio::process::Child;
use tokio::time::sleep_until;
use windlass_core::Cpus;
use windlass_core::assignment::{Assignment, Idle, Order, Preparation, Program, RunAs};
use windlass_core::contract;
use windlass_core::status::Usage;

use crate::attempt_paths::{files_directory, type_path};
use crate::confine::descendants;
use crate::function::{command, deadline, files_of, group_of, traceparent};
use crate::inputs;
use crate::json_line::json_line;
use crate::private_files;
use crate::private_files::give;
use crate::progress::ProgressFile;
use crate::usage::Memory;
use crate::{stop, usage};
use connection::{Connection, Heard};
use protocol::{CancelLine, JobLine, Said};
use relay::ServingRelay;

use protocol::Answer;

/// How long a process may take to end after it has closed its socket.
const CLOSED_PATIENCE: Duration = Duration::from_secs(5);

/// Name of the file in the working directory that has the progress.
const PROGRESS_FILE: &str = "progress";

/// The process, and the job that it has.
pub(crate) struct ServingFunction {
    child: Child,
    group: Pid,
    connection: Connection,
    relay: ServingRelay,
    run_as: Option<RunAs>,
    work: PathBuf,
    /// It has said that it is ready.
    is_ready: bool,
    /// Resident bytes of its processes when it was.
    ready_bytes: u64,
    /// The name of the job that it has.
    job: Option<String>,
    /// A job's line that waits until it is ready.
    unsent: Option<Vec<u8>>,
    /// What was seen of it before its job, or after that.
    seen: Seen,
    /// What its last job has used was counted.
    is_counted: bool,
    /// The progress file of the next job, once that is made.
    progress: Option<ProgressFile>,
}

/// What is seen of a function's processes at once.
#[derive(Default)]
struct Seen {
    processes: Vec<Pid>,
    memory: Memory,
    /// CPU time that they have used.
    used: Duration,
}

impl Seen {
    fn now() -> Self {
        let processes = descendants();
        let (memory, used) = (usage::memory(&processes), usage::used_by(&processes));
        Self { processes, memory, used }
    }
}

/// What becomes of a job, or of the process while it has none.
pub(crate) enum ServingEnd {
    /// It has answered for its job.
    Answered(Answer),
    /// The process has ended.
    Exited(ExitStatus),
    /// It does not keep to the contract; a sentence about the function.
    Broken(String),
}

/// The job's files: path by name.
fn file_paths(assignment: &Assignment) -> BTreeMap<String, String> {
    let Some(directory) = files_of(assignment) else { return BTreeMap::new() };
    let names = assignment.inputs.iter().flat_map(|inputs| inputs.files.keys());
    let path = |name: &String| directory.join(name).to_string_lossy().into_owned();
    names.map(|name| (name.clone(), path(name))).collect()
}

impl ServingFunction {
    /// Starts the process, which has yet to say that it is ready. The input's file is there.
    pub(crate) fn start(preparation: &Preparation) -> io::Result<Self> {
        let Preparation { program, input, work, has_logs, .. } = preparation;
        let Program { run_as, .. } = program;
        let work = PathBuf::from(work);
        // A fence around the process lets it read what will be in there.
        private_files::make_directory(&files_directory(Path::new(input)))?;
        let connection = Connection::listen(&work)?;
        let mut process = command(program, &work, Path::new(input))?;
        give(run_as.as_ref(), &connection.files())?;
        process
            .env(contract::SERVE, connection.path())
            // It sizes its pools itself, for each job.
            .envs(contract::THREAD_COUNT_VARIABLES.map(|name| (name, "1")));
        if *has_logs {
            process.stdout(Stdio::piped());
        }
        let mut child = process.spawn()?;
        let group = group_of(&child)?;
        let stdout =
            child.stdout.take().map(tokio::process::ChildStdout::into_owned_fd).transpose()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe of stderr"))?;
        let relay = ServingRelay::new(stdout, stderr.into_owned_fd()?)?;
        Ok(Self {
            child,
            group,
            connection,
            relay,
            run_as: run_as.clone(),
            work,
            is_ready: false,
            ready_bytes: 0,
            job: None,
            unsent: None,
            seen: Seen::default(),
            is_counted: false,
            progress: None,
        })
    }

    /// Its process group, which has the number of its first process.
    pub(crate) fn group(&self) -> Pid {
        self.group
    }

    /// Where the result is expected.
    pub(crate) fn output_path(&self) -> PathBuf {
        self.work.join("output")
    }

    /// Whether its process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it has initialized.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Gives it a job, now or once it is ready. Its working directory is empty.
    pub(crate) fn begin(&mut self, order: &Order, timeout: Duration) -> io::Result<ProgressFile> {
        let assignment = &order.assignment;
        let (output, progress) = (self.output_path(), self.work.join(PROGRESS_FILE));
        self.rest()?;
        let file = self.progress.take().ok_or(io::ErrorKind::NotFound)?;
        self.relay.begin(assignment.log.as_deref(), assignment.keep_log_bytes);
        let line = json_line(&JobLine {
            job: &assignment.job,
            attempt: assignment.attempt,
            parallelism: assignment.parallelism,
            input: &assignment.input,
            input_type: assignment.input_type(),
            files: file_paths(assignment),
            output: &output.to_string_lossy(),
            output_type: &type_path(&output).to_string_lossy(),
            progress: &progress.to_string_lossy(),
            directory: &self.work.to_string_lossy(),
            deadline: deadline(timeout).to_string(),
            traceparent: traceparent(assignment),
        });
        self.job = Some(assignment.job.clone());
        match self.is_ready {
            // One that has just ended is heard of next.
            true => self.connection.send(&line).unwrap_or_default(),
            false => self.unsent = Some(line),
        }
        Ok(file)
    }

    /// Asks it to end its job.
    pub(crate) fn cancel(&mut self) -> io::Result<()> {
        // One that is not ready yet does not get the job at all.
        let Some(name) = self.job.as_ref().filter(|_| self.unsent.take().is_none()) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        self.connection.send(&json_line(&CancelLine { cancel: name }))
    }

    /// Waits for an answer or an end, and takes what it prints meanwhile. While it has no job, `None` is that it has
    /// come to be ready. Whoever stops waiting loses nothing.
    pub(crate) async fn wait(&mut self) -> io::Result<Option<ServingEnd>> {
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.connection.next(self.group) => heard,
                () = self.relay.relay() => continue,
                status = self.child.wait() => return Ok(Some(ServingEnd::Exited(status?))),
            };
            let line = match heard {
                Heard::Connected => continue,
                Heard::Line(line) => line,
                Heard::Broken(why) => return Ok(Some(ServingEnd::Broken(why))),
                // Most likely it is just ending.
                Heard::Closed(since) => tokio::select! {
                    status = self.child.wait() => return Ok(Some(ServingEnd::Exited(status?))),
                    () = self.relay.relay() => continue,
                    () = sleep_until(since + CLOSED_PATIENCE) => {
                        let why = "closed its socket and went on";
                        return Ok(Some(ServingEnd::Broken(why.into())));
                    }
                },
            };
            match protocol::parse(&line, self.job.as_deref()) {
                Err(why) => return Ok(Some(ServingEnd::Broken(why))),
                Ok(Said::Ready) if self.is_ready => {
                    return Ok(Some(ServingEnd::Broken("said twice that it is ready".into())));
                }
                Ok(Said::Ready) => {
                    self.is_ready = true;
                    let seen = Seen::now();
                    self.ready_bytes = seen.memory.resident;
                    // One that has a job already has started for it.
                    if self.job.is_none() {
                        self.seen = seen;
                    }
                    match self.unsent.take() {
                        Some(line) => self.connection.send(&line).unwrap_or_default(),
                        None if self.job.is_none() => return Ok(None),
                        None => {}
                    }
                }
                Ok(Said::Answer(answer)) => {
                    self.job = None;
                    return Ok(Some(ServingEnd::Answered(answer)));
                }
            }
        }
    }

    /// Clears its working directory, of which nobody uses anything any more.
    pub(crate) fn clear(&self) -> io::Result<()> {
        inspect::clear(&self.work)
    }

    /// The end of its stderr since the job has begun.
    pub(crate) fn last_words(&mut self) -> String {
        self.relay.last_words()
    }

    /// What is to be kept of what its job has said, after its last words. Once.
    pub(crate) fn take_log(&mut self) -> Option<Vec<u8>> {
        self.relay.take_log()
    }

    /// Makes ready what the next job needs, unless that was done since the last one: an empty progress file, and a new
    /// count of what the function uses.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        if self.progress.is_none() {
            usage::forget_peaks(&self.seen.processes);
            let path = self.work.join(PROGRESS_FILE);
            self.progress = Some(ProgressFile::create(&path, self.run_as.as_ref())?);
        }
        Ok(())
    }

    /// What it used for the job that has just ended.
    pub(crate) fn usage(&mut self, wall: Duration, cpus: Cpus) -> Usage {
        let before = std::mem::replace(&mut self.seen, Seen::now());
        self.is_counted = true;
        let cpu = self.seen.used.saturating_sub(before.used);
        usage::usage_of(cpu, self.seen.memory.peak, wall, cpus)
    }

    /// Clears its working directory for the next job, and looks at what the last one has left. With what it waits, or
    /// why it must not have another job.
    pub(crate) fn settle(
        &mut self,
        answer: &Answer,
        assignment: &Assignment,
    ) -> Result<Idle, String> {
        if let Some(why) = &answer.replace {
            return Err(format!("it asks for that: {why}"));
        }
        inspect::clear(&self.work)
            .and_then(|()| inputs::remove(assignment))
            .map_err(|error| format!("its files cannot be removed: {error}"))?;
        if !std::mem::take(&mut self.is_counted) {
            self.seen = Seen::now();
        }
        let processes = &mut self.seen.processes;
        inspect::left_behind(self.group, &answer.processes, &self.work, processes)?;
        let bytes = self.seen.memory.resident;
        let most = inspect::idle_bound(self.ready_bytes, processes.len().saturating_sub(1));
        if bytes > most {
            return Err(inspect::too_much(bytes, most));
        }
        Ok(Idle { idle_memory_bytes: bytes, replaced: answer.replaced.clone() })
    }

    /// Resident bytes of its processes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        usage::resident(&descendants())
    }

    /// Ends it, see [`stop::end_function`].
    pub(crate) async fn stop(&mut self, grace: Duration) -> io::Result<()> {
        stop::end_function(&mut self.child, self.group, grace).await
    }
}
