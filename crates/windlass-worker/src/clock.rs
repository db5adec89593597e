//! The time, as it is told.

use jiff::{Timestamp, Unit};

/// The time, in whole milliseconds: what is told is read by people.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}
