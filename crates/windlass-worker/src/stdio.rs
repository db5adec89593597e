//! What the function says on stdout and stderr: into its log, or relayed as it is, and the end of
//! stderr kept for the failure message.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::log::RotatingLog;

/// The end of stderr that goes into a failure message, in bytes.
const KEPT_BYTES: usize = 4096;

/// Most that is read at once, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// How long to wait for the end of a pipe that a process outside of the group may hold open.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A function's output on its way.
pub(crate) struct Relay {
    kept: Arc<Mutex<VecDeque<u8>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Relays until the pipes are closed: into the log, where there is one, else stderr to ours.
    pub(crate) fn start(
        (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
        log: Option<&str>,
    ) -> Self {
        let log = Arc::new(Mutex::new(LogThread::new(log.map(RotatingLog::at))));
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let mut tasks = Vec::new();
        if let Some(stdout) = stdout {
            tasks.push(tokio::spawn(relay(stdout, None, Arc::clone(&log))));
        }
        if let Some(stderr) = stderr {
            tasks.push(tokio::spawn(relay(stderr, Some(Arc::clone(&kept)), log)));
        }
        Self { kept, tasks }
    }

    /// The end of stderr as text without control characters.
    pub(crate) async fn last_words(&mut self) -> String {
        let end = tokio::time::Instant::now() + LONGEST_WAIT;
        for task in &mut self.tasks {
            if tokio::time::timeout_at(end, &mut *task).await.is_err() {
                task.abort();
            }
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        readable(&kept.iter().copied().collect::<Vec<_>>())
    }
}

async fn relay(
    mut pipe: impl AsyncRead + Unpin,
    kept: Option<Arc<Mutex<VecDeque<u8>>>>,
    log: Arc<Mutex<LogThread>>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        if let Some(kept) = &kept {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            keep_end(&mut kept, &buffer[..length]);
        }
        let written = log.lock().unwrap_or_else(PoisonError::into_inner).write(buffer, length);
        buffer = written.await.unwrap_or_else(|_| vec![0; CHUNK_BYTES]);
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
    buffer: Vec<u8>,
    length: usize,
    written: oneshot::Sender<Vec<u8>>,
}

impl LogThread {
    fn new(log: Option<RotatingLog>) -> Self {
        Self::Unstarted(log)
    }

    /// Writes the start of a buffer, which comes back when that is done.
    fn write(&mut self, buffer: Vec<u8>, length: usize) -> oneshot::Receiver<Vec<u8>> {
        let (written, receiver) = oneshot::channel();
        let said = Said { buffer, length, written };
        self.start();
        match self {
            // It ends with the last sender only.
            Self::Started(thread) => thread.send(said).unwrap_or_default(),
            Self::Unstarted(log) => said.put(log.as_mut()),
        }
        receiver
    }

    fn start(&mut self) {
        let Self::Unstarted(log) = self else { return };
        let (sender, said) = mpsc::channel::<Said>();
        // Handed over once there is a thread: without one the log stays here.
        let (give, given) = mpsc::channel::<Option<RotatingLog>>();
        let run = move || {
            let mut log = given.recv().unwrap_or_default();
            said.into_iter().for_each(|said| said.put(log.as_mut()));
        };
        if thread::Builder::new().spawn(run).is_ok() {
            // It waits for that.
            give.send(log.take()).unwrap_or_default();
            *self = Self::Started(sender);
        }
    }
}

impl Said {
    fn put(self, log: Option<&mut RotatingLog>) {
        put(log, &self.buffer[..self.length]);
        // Nobody reads on.
        self.written.send(self.buffer).unwrap_or_default();
    }
}

/// Writes into a log, or to this process's stderr where there is none. Neither is a reason to fail.
pub(crate) fn put(log: Option<&mut RotatingLog>, bytes: &[u8]) {
    match log {
        Some(log) => {
            if let Err(error) = log.write(bytes) {
                log_line(&format!("windlass worker: {error}"));
            }
        }
        None => std::io::stderr().write_all(bytes).unwrap_or_default(),
    }
}

/// Adds to the end that is kept.
pub(crate) fn keep_end(kept: &mut VecDeque<u8>, bytes: &[u8]) {
    kept.extend(&bytes[bytes.len().saturating_sub(KEPT_BYTES)..]);
    let surplus = kept.len().saturating_sub(KEPT_BYTES);
    kept.drain(..surplus);
}

/// Text that a terminal and a JSON document can show.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |c: &char| matches!(c, '\n' | '\t') || !c.is_control();
    // A cut in the middle of a character leaves a replacement character at the start.
    text.trim_start_matches('\u{fffd}').chars().filter(shown).collect::<String>().trim().to_owned()
}

/// Writes one line to stderr.
pub(crate) fn log_line(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_stderr_cannot_steer_a_terminal() {
        assert_eq!(readable(b"a\x1b[31mb\r\nc\td\x07\0"), "a[31mb\nc\td");
        assert_eq!(readable(&"ä".as_bytes()[1..]), "");
    }
}
