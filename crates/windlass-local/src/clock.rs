//! The time that decisions are made with. It follows the wall clock while that runs evenly, and
//! elapsed time when somebody sets it: a clock that jumps ends no back-off and expires no result.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, Unit};

/// Largest difference that is taken for the drift and slewing of a clock; a larger one is a jump.
const DRIFT: SignedDuration = SignedDuration::from_secs(2);

pub(crate) struct Clock {
    state: Mutex<State>,
}

struct State {
    started: Instant,
    /// The wall clock's time at `started`, as far as this clock follows it.
    anchor: Timestamp,
    last: Timestamp,
    jumped: bool,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let now = Timestamp::now();
        let state = State { started: Instant::now(), anchor: now, last: now, jumped: false };
        Self { state: Mutex::new(state) }
    }

    /// The time, in whole milliseconds: what is told is read by people. It never goes back.
    pub(crate) fn now(&self) -> Timestamp {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = state.started.elapsed();
        let now = state.now(elapsed, Timestamp::now());
        now.round(Unit::Millisecond).unwrap_or(now)
    }
}

impl State {
    fn now(&mut self, elapsed: Duration, wall: Timestamp) -> Timestamp {
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        let expected = self.anchor.checked_add(elapsed).unwrap_or(Timestamp::MAX);
        let difference = wall.duration_since(expected);
        let now = if difference.abs() <= DRIFT {
            self.anchor = self.anchor.checked_add(difference).unwrap_or(self.anchor);
            wall
        } else {
            if !self.jumped {
                self.jumped = true;
                let seconds = difference.as_secs();
                tracing::warn!(seconds, "the system's clock was set; going on by elapsed time");
            }
            expected
        };
        self.last = self.last.max(now);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn started_at(milliseconds: i64) -> State {
        let now = at(milliseconds);
        State { started: Instant::now(), anchor: now, last: now, jumped: false }
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing() {
        for jump in [-86_400_000, -3_000, 3_000, 86_400_000] {
            let mut state = started_at(1_000_000_000);
            let before = state.now(Duration::from_secs(10), at(1_000_010_000));
            let after = state.now(Duration::from_secs(11), at(1_000_011_000 + jump));
            assert_eq!((before, after), (at(1_000_010_000), at(1_000_011_000)), "{jump}");
        }
    }

    #[test]
    fn drift_is_followed_and_time_never_goes_back() {
        let mut state = started_at(0);
        // 100 parts in a million too slow, for a week.
        let mut last = at(0);
        for minute in 1..=7 * 24 * 60_i64 {
            let wall = at(minute * 60_006);
            let now = state.now(Duration::from_secs(minute.cast_unsigned() * 60), wall);
            assert_eq!(now, wall);
            assert!(now > last);
            last = now;
        }
        let back = state.now(Duration::from_secs(7 * 24 * 60 * 60), at(7 * 24 * 60 * 60_006 - 500));
        assert_eq!(back, last);
    }
}
