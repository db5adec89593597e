//! Each parser of the core as a caller uses it: bytes in, whether they were taken out. None may panic on any bytes,
//! and what is taken must be within its bounds.
//!
//! libFuzzer finds the bytes in `tests/run fuzz`, chance finds them in `tests/rings/hostile.rs`; both begin with the
//! good documents in `seeds`. Deliberately absent: whether the right documents are taken, which the core's own tests
//! say.

use windlass_core::assignment::read_termination_message;
use windlass_core::contract::{MAX_PROGRESS_MESSAGE_BYTES, parse_progress_line};
use windlass_core::idempotency::Key;
use windlass_core::{JobSpec, Report, name, parse, quantity};

/// The body of a submission.
pub fn submission(bytes: &[u8]) -> bool {
    parse::submitted(bytes).and_then(parse::value_of::<JobSpec>).is_ok()
}

/// An amount of memory in a function's or queue's resources.
pub fn quantity(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let amount = quantity::bytes(&text);
    assert!(amount.is_none_or(|amount| i64::try_from(amount).is_ok()), "{text:?}");
    amount.is_some()
}

/// The value of an `Idempotency-Key`, which makes a job's name.
pub fn idempotency_key(bytes: &[u8]) -> bool {
    let key = Key::parse(bytes);
    if let Ok(key) = &key {
        assert!(name::problem(&key.job_name()).is_none(), "{bytes:?}");
    }
    key.is_ok()
}

/// One line of a function's progress file.
pub fn progress_line(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let line = parse_progress_line(&text);
    if let Some(line) = &line {
        assert!(line.done <= line.total, "{text:?}");
        assert!(line.message.len() <= MAX_PROGRESS_MESSAGE_BYTES, "{text:?}");
        assert!(!line.message.contains(char::is_control), "{text:?}");
    }
    line.is_some()
}

/// The body of a worker's report.
pub fn report(bytes: &[u8]) -> bool {
    parse::json::<Report>(bytes).is_ok()
}

/// The termination message of a pod.
pub fn termination_message(bytes: &[u8]) -> bool {
    read_termination_message(&String::from_utf8_lossy(bytes)).is_some()
}
