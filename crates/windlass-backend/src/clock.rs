//! Reads the clocks of this machine, as [`EvenClock`] says. `windlass-core` reads no clock: its decisions are functions
//! of a time that is handed in.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;
use windlass_core::clock::EvenClock;

/// The clock that a back end decides with.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    system: fn() -> Timestamp,
    even: Mutex<EvenClock>,
}

impl Clock {
    /// Starts at the time that the system's clock shows now.
    pub fn start() -> Self {
        Self::reading(Timestamp::now)
    }

    /// The same with what reads the system's clock: a test in which time is virtual has its own. What has elapsed is read
    /// from tokio's clock in any case.
    pub fn reading(system: fn() -> Timestamp) -> Self {
        let even = Mutex::new(EvenClock::starting_at(system()));
        Self { started: Instant::now(), system, even }
    }

    /// The time, in whole milliseconds. It never goes back.
    pub fn now(&self) -> Timestamp {
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = even.now(self.started.elapsed(), (self.system)());
        if let Some(jump) = reading.jump {
            let seconds = jump.as_secs();
            tracing::warn!(seconds, "the system's clock was set; going on by elapsed time");
        }
        reading.now
    }
}
