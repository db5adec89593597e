//! At what rate the jobs of a queue start, from which the start of a waiting job is estimated.

use jiff::{SignedDuration, Timestamp};

/// At what rate the jobs of a queue start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<Timestamp>,
    /// Mean time between two starts, in seconds: each counts a tenth.
    seconds: Option<f64>,
}

impl Pace {
    /// A job starts.
    pub(super) fn record_start(&mut self, now: Timestamp) {
        if let Some(last) = self.last {
            let taken = now.duration_since(last).as_secs_f64().max(0.0);
            self.seconds = Some(self.seconds.map_or(taken, |mean| 0.9 * mean + 0.1 * taken));
        }
        self.last = Some(now);
    }

    /// When the job at this place in the queue, counted from 1, is expected to start. None before two jobs have started.
    pub(super) fn estimate(&self, position: u32, now: Timestamp) -> Option<Timestamp> {
        let seconds = (self.seconds? * f64::from(position)).min(1e9);
        let whole = SignedDuration::from_secs(seconds.ceil() as i64);
        now.checked_add(whole).ok()
    }
}
