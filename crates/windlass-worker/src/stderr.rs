//! What the function says on stderr: relayed as it is, and its end kept for the failure message.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::task::{JoinHandle, spawn_blocking};

/// The end of stderr that goes into a failure message, in bytes.
const KEPT_BYTES: usize = 4096;

/// How long to wait for the end of a pipe that a process outside of the group may hold open.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A function's stderr on its way.
pub(crate) struct Relay {
    kept: Arc<Mutex<VecDeque<u8>>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Relays until the pipe is closed.
    pub(crate) fn start(pipe: Option<ChildStderr>) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT_BYTES)));
        let task = tokio::spawn(relay(pipe, Arc::clone(&kept)));
        Self { kept, task }
    }

    /// The end of stderr as text without control characters.
    pub(crate) async fn last_words(mut self) -> String {
        if tokio::time::timeout(LONGEST_WAIT, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        readable(&kept.iter().copied().collect::<Vec<_>>())
    }
}

async fn relay(pipe: Option<ChildStderr>, kept: Arc<Mutex<VecDeque<u8>>>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let bytes = buffer[..length].to_vec();
        {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(&bytes[length.saturating_sub(KEPT_BYTES)..]);
            let surplus = kept.len().saturating_sub(KEPT_BYTES);
            kept.drain(..surplus);
        }
        // In a thread of its own: a log that nobody takes may hold the function up, as it would
        // without a worker, but neither its timeout nor its stop.
        let written = spawn_blocking(move || std::io::stderr().write_all(&bytes)).await;
        // Nor is it a reason to fail.
        drop(written);
    }
}

/// Text that a terminal and a JSON document can show.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |c: &char| matches!(c, '\n' | '\t') || !c.is_control();
    // A cut in the middle of a character leaves a replacement character at the start.
    text.trim_start_matches('\u{fffd}').chars().filter(shown).collect::<String>().trim().to_owned()
}

/// Writes one line to stderr.
pub(crate) fn tell(line: &str) {
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
