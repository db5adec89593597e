//! The clocks of this machine, read as core's [`EvenClock`] says.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use windlass_core::clock::EvenClock;

pub(crate) struct Clock {
    started: Instant,
    even: Mutex<EvenClock>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let even = Mutex::new(EvenClock::starting_at(Timestamp::now()));
        Self { started: Instant::now(), even }
    }

    /// The time, in whole milliseconds. It never goes back.
    pub(crate) fn now(&self) -> Timestamp {
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = even.now(self.started.elapsed(), Timestamp::now());
        if let Some(jump) = reading.jump {
            let seconds = jump.as_secs();
            tracing::warn!(seconds, "the system's clock was set; going on by elapsed time");
        }
        reading.now
    }
}
