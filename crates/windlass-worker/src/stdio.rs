//! What the function says on stdout and stderr: into its log, or relayed as it is, and its [end](OutputEnd) kept.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::log::RotatingLog;
use crate::output_end::{OutputEnd, Stream};

/// Most that is read at once, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// How long to wait for the end of a pipe that a process outside of the group may hold open.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A function's output on its way.
pub(crate) struct Relay {
    end: Arc<Mutex<OutputEnd>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Relays until the pipes are closed: into the log, where there is one, else to our stdout and stderr.
    pub(crate) fn start(
        (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
        log: Option<&str>,
        end: OutputEnd,
    ) -> Self {
        let log = Arc::new(Mutex::new(LogThread::new(log.map(RotatingLog::at))));
        let end = Arc::new(Mutex::new(end));
        let mut tasks = Vec::new();
        if let Some(stdout) = stdout {
            tasks.push(tokio::spawn(relay(
                stdout,
                Stream::Stdout,
                Arc::clone(&end),
                Arc::clone(&log),
            )));
        }
        if let Some(stderr) = stderr {
            tasks.push(tokio::spawn(relay(stderr, Stream::Stderr, Arc::clone(&end), log)));
        }
        Self { end, tasks }
    }

    /// The end of stderr as text without control characters.
    pub(crate) async fn last_words(&mut self) -> String {
        let until = tokio::time::Instant::now() + LONGEST_WAIT;
        for task in &mut self.tasks {
            if tokio::time::timeout_at(until, &mut *task).await.is_err() {
                task.abort();
            }
        }
        self.tasks.clear();
        self.end.lock().unwrap_or_else(PoisonError::into_inner).last_words()
    }

    /// What is to be kept of both streams, after the last words. Once.
    pub(crate) fn take_log(&mut self) -> Option<Vec<u8>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).take_log()
    }
}

async fn relay(
    mut pipe: impl AsyncRead + Unpin,
    from: Stream,
    end: Arc<Mutex<OutputEnd>>,
    log: Arc<Mutex<LogThread>>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        end.lock().unwrap_or_else(PoisonError::into_inner).push(from, &buffer[..length]);
        let (written, receiver) = oneshot::channel();
        let said = Said { from, buffer, length, written };
        log.lock().unwrap_or_else(PoisonError::into_inner).write(said);
        buffer = receiver.await.unwrap_or_else(|_| vec![0; CHUNK_BYTES]);
    }
}

/// Writes what a function says, in a thread of its own: a log that nobody takes may hold the function up, as it would
/// without a worker, but neither its timeout nor its stop. The thread is started when there is something to write: most
/// functions that are called say nothing.
enum LogThread {
    /// Nothing was said yet, or the function has left no room for a thread.
    Unstarted(Option<RotatingLog>),
    Started(mpsc::Sender<Said>),
}

/// A piece of what a function says, and who waits for its buffer.
struct Said {
    from: Stream,
    buffer: Vec<u8>,
    length: usize,
    written: oneshot::Sender<Vec<u8>>,
}

impl LogThread {
    fn new(log: Option<RotatingLog>) -> Self {
        Self::Unstarted(log)
    }

    /// Writes a piece, whose buffer comes back when that is done.
    fn write(&mut self, said: Said) {
        self.start();
        match self {
            // It ends with the last sender only.
            Self::Started(thread) => thread.send(said).unwrap_or_default(),
            Self::Unstarted(log) => said.write_to(log.as_mut()),
        }
    }

    fn start(&mut self) {
        let Self::Unstarted(log) = self else { return };
        let (sender, said) = mpsc::channel::<Said>();
        // Handed over once there is a thread: without one the log stays here.
        let (give, given) = mpsc::channel::<Option<RotatingLog>>();
        let run = move || {
            let mut log = given.recv().unwrap_or_default();
            said.into_iter().for_each(|said| said.write_to(log.as_mut()));
        };
        if thread::Builder::new().spawn(run).is_ok() {
            // It waits for that.
            give.send(log.take()).unwrap_or_default();
            *self = Self::Started(sender);
        }
    }
}

impl Said {
    fn write_to(self, log: Option<&mut RotatingLog>) {
        write_to_log(log, self.from, &self.buffer[..self.length]);
        // Nobody reads on.
        self.written.send(self.buffer).unwrap_or_default();
    }
}

/// Writes into a log, or to this process's own stream where there is none. Neither is a reason to fail.
pub(crate) fn write_to_log(log: Option<&mut RotatingLog>, from: Stream, bytes: &[u8]) {
    match (log, from) {
        (Some(log), _) => {
            if let Err(error) = log.write(bytes) {
                log_line(&format!("windlass worker: {error}"));
            }
        }
        (None, Stream::Stdout) => {
            let mut stdout = io::stdout();
            stdout.write_all(bytes).and_then(|()| stdout.flush()).unwrap_or_default();
        }
        (None, Stream::Stderr) => io::stderr().write_all(bytes).unwrap_or_default(),
    }
}

/// Writes one line to stderr.
pub(crate) fn log_line(line: &str) {
    writeln!(io::stderr(), "{line}").unwrap_or_default();
}
