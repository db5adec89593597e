//! The time that decisions are made with. It follows the wall clock while that runs evenly, and
//! elapsed time when somebody sets it: a clock that jumps ends no back-off and expires no result.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

/// Largest difference that is taken for the drift and slewing of a clock; a larger one is a jump.
const DRIFT: SignedDuration = SignedDuration::from_secs(2);

/// A clock that reads none: whoever has the two clocks of a machine hands them in.
#[derive(Clone, Debug)]
pub struct EvenClock {
    /// The wall clock's time at the start, as far as this clock follows it.
    anchor: Timestamp,
    last: Timestamp,
    jumped: bool,
}

/// One look at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time, in whole milliseconds: what is told is read by people. It never goes back.
    pub now: Timestamp,
    /// By how much somebody has set the wall clock, the first time that it is seen.
    pub jump: Option<SignedDuration>,
}

impl EvenClock {
    /// Starts when the wall clock shows this.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { anchor: wall, last: wall, jumped: false }
    }

    /// The time, `elapsed` after the start on a clock that nobody sets, when the wall clock shows
    /// `wall`.
    pub fn now(&mut self, elapsed: Duration, wall: Timestamp) -> Reading {
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        let expected = self.anchor.checked_add(elapsed).unwrap_or(Timestamp::MAX);
        let difference = wall.duration_since(expected);
        let mut jump = None;
        let now = if difference.abs() <= DRIFT {
            self.anchor = self.anchor.checked_add(difference).unwrap_or(self.anchor);
            wall
        } else {
            jump = (!std::mem::replace(&mut self.jumped, true)).then_some(difference);
            expected
        };
        self.last = self.last.max(now);
        Reading { now: self.last.round(Unit::Millisecond).unwrap_or(self.last), jump }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing_and_is_told_once() {
        for jump in [-86_400_000, -3_000, 3_000, 86_400_000] {
            let mut clock = EvenClock::starting_at(at(1_000_000_000));
            let mut read =
                |seconds, wall| clock.now(Duration::from_secs(seconds), at(1_000_000_000 + wall));
            assert_eq!(read(10, 10_000), Reading { now: at(1_000_010_000), jump: None });
            let set = read(11, 11_000 + jump);
            let told = Some(SignedDuration::from_millis(jump));
            assert_eq!(set, Reading { now: at(1_000_011_000), jump: told });
            assert_eq!(read(12, 12_000 + jump), Reading { now: at(1_000_012_000), jump: None });
        }
    }

    #[test]
    fn drift_is_followed_and_time_never_goes_back() {
        let mut clock = EvenClock::starting_at(at(0));
        // 100 parts in a million too slow, for a week.
        let mut last = at(0);
        for minute in 1..=7 * 24 * 60_i64 {
            let wall = at(minute * 60_006);
            let now = clock.now(Duration::from_secs(minute.cast_unsigned() * 60), wall).now;
            assert_eq!(now, wall);
            assert!(now > last);
            last = now;
        }
        let back = clock.now(Duration::from_secs(7 * 24 * 60 * 60), at(7 * 24 * 60 * 60_006 - 500));
        assert_eq!(back.now, last);
    }
}
