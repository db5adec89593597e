//! Times for tests.

use jiff::Timestamp;

/// So many seconds after a moment in 2027.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}
