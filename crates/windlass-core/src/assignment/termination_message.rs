//! The last word of a worker in a pod, which the kubelet keeps where no report has arrived.

use crate::report::{Ending, Outcome};
use crate::status::FailureReason;

/// Largest termination message that a kubelet keeps, in bytes.
pub const MAX_TERMINATION_MESSAGE_BYTES: usize = 4096;

/// Largest result that travels in a termination message, in bytes.
pub const MAX_TERMINATION_RESULT_BYTES: u64 = 3 * 1024;

/// The text that a worker leaves in its termination message: the ending as JSON, at most
/// [`MAX_TERMINATION_MESSAGE_BYTES`]. A result above [`MAX_TERMINATION_RESULT_BYTES`] leaves only its
/// length and digest. What was computed before a failure is left out where it has no room.
pub fn termination_message(ending: &Ending) -> String {
    let mut ending = ending.clone();
    let write = |ending: &Ending| serde_json::to_string(ending).unwrap_or_default();
    match &mut ending.outcome {
        Outcome::Succeeded(result) if result.bytes > MAX_TERMINATION_RESULT_BYTES => {
            (result.text, result.base64) = (None, None);
        }
        Outcome::Failed { partial, .. } => {
            partial.take_if(|it| it.location.is_none() && it.bytes > MAX_TERMINATION_RESULT_BYTES);
        }
        Outcome::Succeeded(_) => {}
    }
    ending.progress = None;
    let mut text = write(&ending);
    // JSON escapes can make a short text long: halve until it fits.
    while text.len() > MAX_TERMINATION_MESSAGE_BYTES {
        match &mut ending.outcome {
            Outcome::Succeeded(result) => (result.text, result.base64) = (None, None),
            Outcome::Failed { partial: partial @ Some(_), .. } => *partial = None,
            Outcome::Failed { message, .. } => {
                // The end of stderr says most.
                let start = message.ceil_char_boundary(message.len() / 2);
                *message = message.split_off(start);
            }
        }
        text = write(&ending);
    }
    text
}

/// Reads a termination message. A result that was too large for it is `ResultLost`. `None` for
/// what no worker wrote.
pub fn read_termination_message(text: &str) -> Option<Ending> {
    let mut ending: Ending = serde_json::from_str(text).ok()?;
    if let Outcome::Succeeded(result) = &ending.outcome
        && result.text.is_none()
        && result.base64.is_none()
        && result.location.is_none()
    {
        let why = format!("a result of {} bytes could not be delivered", result.bytes);
        ending.outcome = Outcome::failed(FailureReason::ResultLost, why);
    }
    Some(ending)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::result::inline_result;

    fn ending(outcome: Outcome) -> Ending {
        Ending {
            outcome,
            started: Timestamp::UNIX_EPOCH,
            running: None,
            finished: Timestamp::UNIX_EPOCH,
            parallelism: 2,
            usage: None,
            progress: None,
        }
    }

    #[test]
    fn a_small_result_survives_in_the_termination_message() {
        for bytes in [&b""[..], b"{}", &[0, 255, 7], "ä".repeat(1500).as_bytes()] {
            let told = ending(Outcome::Succeeded(inline_result(bytes, "a/b").unwrap()));
            let text = termination_message(&told);
            assert!(text.len() <= MAX_TERMINATION_MESSAGE_BYTES);
            assert_eq!(read_termination_message(&text), Some(told));
        }
    }

    #[test]
    fn a_large_result_is_lost_and_says_so() {
        let told = ending(Outcome::Succeeded(inline_result(&[b'x'; 3073], "a/b").unwrap()));
        let read = read_termination_message(&termination_message(&told)).unwrap();
        let Outcome::Failed { reason, message, .. } = read.outcome else { panic!() };
        assert_eq!(reason, FailureReason::ResultLost);
        assert!(message.contains("3073"), "{message}");
    }

    #[test]
    fn what_was_computed_before_a_failure_is_told_where_it_has_room() {
        let failed = |bytes: &[u8]| {
            let mut outcome = Outcome::failed(FailureReason::FunctionError, "raised an error");
            let Outcome::Failed { partial, .. } = &mut outcome else { panic!() };
            *partial = inline_result(bytes, "a/b");
            ending(outcome)
        };
        let small = failed(b"[1]");
        assert_eq!(read_termination_message(&termination_message(&small)), Some(small));
        for large in [failed(&[b'x'; 3073]), failed(&[1; 3000])] {
            let told = read_termination_message(&termination_message(&large)).unwrap();
            let Outcome::Failed { message, partial: None, .. } = told.outcome else { panic!() };
            assert_eq!(message, "raised an error");
        }
    }

    #[test]
    fn a_long_failure_keeps_its_end_and_fits() {
        let told =
            ending(Outcome::failed(FailureReason::Crashed, "\u{1}".repeat(4096) + "the end"));
        let text = termination_message(&told);
        assert!(text.len() <= MAX_TERMINATION_MESSAGE_BYTES);
        let Outcome::Failed { message, .. } = read_termination_message(&text).unwrap().outcome
        else {
            panic!()
        };
        assert!(message.ends_with("the end"));
    }

    #[test]
    fn what_no_worker_wrote_is_no_ending() {
        for text in ["", "{}", "null", "{\"outcome\":{}}", "OOM"] {
            assert_eq!(read_termination_message(text), None);
        }
    }
}
