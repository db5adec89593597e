//! What the function says on stderr: relayed as it is, and its end kept for the failure message.

use std::collections::VecDeque;
use std::io::Write as _;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// The end of stderr that goes into a failure message, in bytes.
const KEPT_BYTES: usize = 4096;

/// How long to wait for the end of a pipe that a process outside of the group may hold open.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Relays until the pipe is closed and returns the end of it.
pub(crate) async fn relay(pipe: Option<ChildStderr>) -> VecDeque<u8> {
    let mut kept = VecDeque::with_capacity(KEPT_BYTES);
    let Some(mut pipe) = pipe else { return kept };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let bytes = &buffer[..length];
        // A log that nobody takes is no reason to fail the function.
        std::io::stderr().write_all(bytes).unwrap_or_default();
        kept.extend(&bytes[length.saturating_sub(KEPT_BYTES)..]);
        kept.drain(..kept.len().saturating_sub(KEPT_BYTES));
    }
    kept
}

/// The end of stderr as text without control characters.
pub(crate) async fn last_words(relay: JoinHandle<VecDeque<u8>>) -> String {
    let abort = relay.abort_handle();
    match tokio::time::timeout(LONGEST_WAIT, relay).await {
        Ok(Ok(kept)) => readable(&kept.into_iter().collect::<Vec<_>>()),
        _ => {
            abort.abort();
            String::from("(stderr is held open by a process that left its group)")
        }
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
