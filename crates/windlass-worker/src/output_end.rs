//! The end of what a function says: of stderr for the failure message, and of both streams where it is
//! [kept](windlass_core::kept_log).

use std::collections::VecDeque;

use jiff::Timestamp;
use windlass_core::kept_log::LogEnd;

/// The end of stderr that goes into a failure message, in bytes.
const STDERR_BYTES: usize = 4096;

/// Where a function says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The end of what was said so far.
pub(crate) struct OutputEnd {
    stderr: VecDeque<u8>,
    /// None where it is not to be kept.
    log: Option<LogEnd>,
}

impl OutputEnd {
    /// Of nothing yet. With a number, so many bytes of both streams are to be kept.
    pub(crate) fn new(keep_log_bytes: Option<u64>) -> Self {
        Self { stderr: VecDeque::new(), log: keep_log_bytes.map(LogEnd::new) }
    }

    /// Adds what has come now.
    pub(crate) fn push(&mut self, from: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.push(bytes, Timestamp::now());
        }
        if from == Stream::Stderr {
            self.stderr.extend(&bytes[bytes.len().saturating_sub(STDERR_BYTES)..]);
            let surplus = self.stderr.len().saturating_sub(STDERR_BYTES);
            self.stderr.drain(..surplus);
        }
    }

    /// The end of stderr as text without control characters.
    pub(crate) fn last_words(&self) -> String {
        readable(&self.stderr.iter().copied().collect::<Vec<_>>())
    }

    /// What is to be kept of both streams. Once.
    pub(crate) fn take_log(&mut self) -> Option<Vec<u8>> {
        self.log.take().map(LogEnd::into_bytes)
    }
}

/// Text that a terminal and a JSON document can show.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |c: &char| matches!(c, '\n' | '\t') || !c.is_control();
    // A cut in the middle of a character leaves a replacement character at the start.
    text.trim_start_matches('\u{fffd}').chars().filter(shown).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_stderr_cannot_steer_a_terminal() {
        assert_eq!(readable(b"a\x1b[31mb\r\nc\td\x07\0"), "a[31mb\nc\td");
        assert_eq!(readable(&"ä".as_bytes()[1..]), "");
    }

    #[test]
    fn a_failure_tells_of_stderr_and_a_log_of_both() {
        let mut end = OutputEnd::new(Some(1_000));
        end.push(Stream::Stdout, b"out\n");
        end.push(Stream::Stderr, b"error\n");
        assert_eq!(end.last_words(), "error");
        let log = end.take_log().unwrap();
        assert_eq!(windlass_core::kept_log::without_times(&log), b"out\nerror\n");
        assert!(OutputEnd::new(None).take_log().is_none());
    }
}
