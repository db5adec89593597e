//! How long a batch Job that is suspended before it is deleted waits for the word of its Job controller. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::resync::LATE_POD;
use crate::attempt::objects::AttemptObjects;

/// How long a batch Job that is to go still waits for that word.
pub(super) fn word_to_come(objects: &AttemptObjects, now: Timestamp) -> Option<Duration> {
    left(objects.removal_asked.unwrap_or(now), now).filter(|_| objects.may_get_late_pod())
}

/// How long a batch Job that is to go since then may still wait.
pub(super) fn left(asked: Timestamp, now: Timestamp) -> Option<Duration> {
    LATE_POD.checked_sub(now.duration_since(asked).unsigned_abs()).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_times::at;

    #[test]
    fn the_word_of_a_job_controller_is_waited_for_five_seconds() {
        let seconds = |now| left(at(10), at(now)).map(|left| left.as_secs());
        assert_eq!([10, 14, 15, 60].map(seconds), [Some(5), Some(1), None, None]);
    }
}
