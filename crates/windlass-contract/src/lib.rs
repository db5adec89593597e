//! The worker contract, version 1: what a worker gives to a function's process, and what the process gives back.
//!
//! In: the names of the environment variables that the worker sets. Out: an exit status, an output file, and lines
//! in the progress file. The worker, the SDK and functions in any other language share these names and nothing else.
//!
//! This crate depends on the standard library alone, because every function in Rust links it. Deliberately absent:
//! anything that reads a variable or a file.
//!
//! | end of the process | means |
//! | --- | --- |
//! | exit 0 and a file at [`OUTPUT`] | success |
//! | exit [`EXIT_BAD_INPUT`] | the input can never work; not retried |
//! | exit [`EXIT_FUNCTION_ERROR`] | the function has raised an error that it would raise again; not retried |
//! | anything else, or exit 0 without a file | a failed attempt, retried under the job's policy |
//!
//! SIGTERM means stop; [`STOP_GRACE_SECONDS`] later the whole process group is killed.

/// Path of the input: the bytes of the request, for most functions a JSON text. The file is read-only to the function.
pub const INPUT: &str = "WINDLASS_INPUT";

/// Media type of the input, such as `application/json` or `image/png`.
pub const INPUT_TYPE: &str = "WINDLASS_INPUT_TYPE";

/// Path of the directory with the job's files, each under its name. Set only where there are any.
pub const FILES: &str = "WINDLASS_FILES";

/// Path of a file into which the function may write the media type of its result. It does not exist at the start.
pub const OUTPUT_TYPE: &str = "WINDLASS_OUTPUT_TYPE";

/// Path to write the result to. It does not exist at the start; its directory does and is writable.
pub const OUTPUT: &str = "WINDLASS_OUTPUT";

/// Path of the file that progress lines are appended to, see [`progress_line`]. One `write` per line, opened with
/// `O_APPEND`, so that lines of several processes do not mix.
pub const PROGRESS: &str = "WINDLASS_PROGRESS";

/// The CPUs granted, a whole number >= 1 in decimal. The function runs this many busy threads, no more.
pub const PARALLELISM: &str = "WINDLASS_PARALLELISM";

/// Path of the Unix socket over which a function that serves gets one job after another: version 2 of the contract, which
/// `docs/warm-functions.md` describes. Where it is set, no other variable above is.
pub const SERVE: &str = "WINDLASS_SERVE";

/// The version that a function that serves says when it is ready.
pub const SERVE_VERSION: u32 = 2;

/// The longest line over that socket in bytes, with its newline, in either direction.
pub const MAX_SERVE_LINE_BYTES: usize = 64 * 1024;

/// When the worker will stop this attempt: an RFC 3339 timestamp in UTC. For information, the worker keeps the time.
pub const DEADLINE: &str = "WINDLASS_DEADLINE";

/// The name of the job.
pub const JOB: &str = "WINDLASS_JOB";

/// Which attempt this is, counted from 1.
pub const ATTEMPT: &str = "WINDLASS_ATTEMPT";

/// The job's trace (W3C Trace Context), for a function that tells spans of its own: its parent is the job.
pub const TRACEPARENT: &str = "TRACEPARENT";

/// Variables by which common runtimes size their thread pools. The worker sets each to the parallelism, so that a
/// function that never heard of Windlass still starts as many threads as it was granted CPUs.
pub const THREAD_COUNT_VARIABLES: [&str; 8] = [
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "POLARS_MAX_THREADS",
    "GOMAXPROCS",
    "JULIA_NUM_THREADS",
];

/// Exit status of a function that refuses its input (`EX_DATAERR` of sysexits.h). Never retried.
pub const EXIT_BAD_INPUT: u8 = 65;

/// Exit status of a function that has raised an error of its own, and would raise it again (`EX_SOFTWARE` of sysexits.h).
/// Retried only where the job itself says `retries`.
pub const EXIT_FUNCTION_ERROR: u8 = 70;

/// Exit status of a function that stopped because it was asked to: 128 + SIGTERM, as a shell would report it.
pub const EXIT_CANCELLED: u8 = 143;

/// Seconds between SIGTERM to the function's process group and SIGKILL.
pub const STOP_GRACE_SECONDS: u64 = 30;

/// The longest progress message in bytes. A longer one is cut at a character boundary.
pub const MAX_PROGRESS_MESSAGE_BYTES: usize = 1024;

/// The longest progress line in bytes, without its newline: two numbers of at most 20 digits, two spaces, a message.
/// A reader may drop a longer line unread.
pub const MAX_PROGRESS_LINE_BYTES: usize = 20 + 1 + 20 + 1 + MAX_PROGRESS_MESSAGE_BYTES;

/// One line of the progress file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressLine {
    /// Units of work done, never more than `total`.
    pub done: u64,
    /// Units of work in all, in whatever unit the function counts. 0 means that it is not known yet.
    pub total: u64,
    /// What is being done now, for people. One line of at most [`MAX_PROGRESS_MESSAGE_BYTES`] bytes, may be empty.
    pub message: String,
}

/// One line to append to [`PROGRESS`], with its newline: `done total [message]`.
///
/// Whatever the arguments, the line obeys the bounds that [`parse_progress_line`] enforces: `done` is capped at
/// `total`, control characters (newlines too) become spaces, the message is trimmed and cut.
///
/// ```
/// assert_eq!(windlass_contract::progress_line(3, 10, "pricing"), "3 10 pricing\n");
/// assert_eq!(windlass_contract::progress_line(11, 10, ""), "10 10\n");
/// ```
#[must_use]
pub fn progress_line(done: u64, total: u64, message: &str) -> String {
    let done = done.min(total);
    let message = clean_message(message);
    if message.is_empty() {
        format!("{done} {total}\n")
    } else {
        format!("{done} {total} {message}\n")
    }
}

/// Reads one line of the progress file, with or without its line end. Total on hostile bytes that are valid UTF-8
/// (the caller decodes lossily): whatever is not a progress line is `None`, and what is returned is within bounds.
///
/// Both numbers are plain decimal digits that fit into 64 bits. `done > total` is refused rather than capped: a
/// function that counts wrongly should not look finished. A long message is cut, control characters are removed.
#[must_use]
pub fn parse_progress_line(line: &str) -> Option<ProgressLine> {
    let line = line.trim_matches([' ', '\t', '\r', '\n']);
    let (done, rest) = split_word(line);
    let (total, message) = split_word(rest);
    let (done, total) = (parse_count(done)?, parse_count(total)?);
    (done <= total).then(|| ProgressLine { done, total, message: clean_message(message) })
}

/// The first word and the rest without leading blanks.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim_start_matches([' ', '\t'])),
        None => (text, ""),
    }
}

/// Digits only: `u64::from_str` would also take a leading `+`.
fn parse_count(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

/// One line without control characters, trimmed, cut at a character boundary. C1 controls (U+0080 to U+009F) count:
/// a terminal may obey them.
fn clean_message(message: &str) -> String {
    // Looks at no more of a hostile message than could end up in the result, plus the trimmed edges.
    let mut clean = String::new();
    for character in message.trim().chars() {
        let character = if character.is_control() { ' ' } else { character };
        if clean.len() + character.len_utf8() > MAX_PROGRESS_MESSAGE_BYTES {
            break;
        }
        clean.push(character);
    }
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(done: u64, total: u64, message: &str) -> Option<ProgressLine> {
        Some(ProgressLine { done, total, message: message.to_owned() })
    }

    #[test]
    fn a_line_has_two_counts_and_an_optional_message() {
        assert_eq!(parse_progress_line("3 10 pricing option 4\n"), line(3, 10, "pricing option 4"));
        assert_eq!(parse_progress_line("3 10\r\n"), line(3, 10, ""));
        assert_eq!(parse_progress_line("0 0"), line(0, 0, ""));
        assert_eq!(parse_progress_line("  3\t10   two  words "), line(3, 10, "two  words"));
        assert_eq!(
            parse_progress_line("18446744073709551615 18446744073709551615"),
            line(u64::MAX, u64::MAX, "")
        );
    }

    #[test]
    fn what_is_no_progress_line_is_refused() {
        for bad in [
            "", " ", "\n", "3", "3 ", "x 10", "3 x", "-1 10", "+1 10", "1.5 10", "11 10", "0x1 2",
            "3,10",
        ] {
            assert_eq!(parse_progress_line(bad), None, "{bad:?}");
        }
        assert_eq!(
            parse_progress_line("1 18446744073709551616"),
            None,
            "does not fit into 64 bits"
        );
        assert_eq!(parse_progress_line("١ ٢"), None, "only ASCII digits");
    }

    #[test]
    fn a_message_cannot_steer_a_terminal_or_start_a_new_line() {
        assert_eq!(progress_line(1, 2, "a\n2 2 b\u{1b}[2J\u{9b}c"), "1 2 a 2 2 b [2J c\n");
        assert_eq!(parse_progress_line("1 2 a\u{1b}[31mb\u{7}"), line(1, 2, "a [31mb"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let parsed =
            parse_progress_line(&format!("1 2 {}", "é".repeat(4000))).expect("a progress line");
        assert_eq!(parsed.message, "é".repeat(MAX_PROGRESS_MESSAGE_BYTES / 2));
        let odd =
            parse_progress_line(&format!("1 2 x{}", "é".repeat(4000))).expect("a progress line");
        assert_eq!(odd.message.len(), MAX_PROGRESS_MESSAGE_BYTES - 1);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back_within_bounds(done: u64, total: u64, message in any::<String>()) {
            let text = progress_line(done, total, &message);
            prop_assert!(text.len() <= MAX_PROGRESS_LINE_BYTES + 1);
            prop_assert_eq!(text.matches('\n').count(), 1);
            let parsed = parse_progress_line(&text).expect("our own line");
            prop_assert_eq!((parsed.done, parsed.total), (done.min(total), total));
            prop_assert_eq!(&progress_line(parsed.done, parsed.total, &parsed.message), &text);
        }

        #[test]
        fn any_text_is_parsed_or_refused_but_never_panics(text in any::<String>()) {
            if let Some(parsed) = parse_progress_line(&text) {
                prop_assert!(parsed.done <= parsed.total);
                prop_assert!(parsed.message.len() <= MAX_PROGRESS_MESSAGE_BYTES);
                prop_assert!(!parsed.message.chars().any(char::is_control));
            }
        }
    }
}
