//! Jobs to reconcile again although nothing happens to them, by time.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// Each job once.
#[derive(Default)]
pub(super) struct DelayQueue {
    by_time: BTreeSet<(Instant, Uuid)>,
    by_job: HashMap<Uuid, Instant>,
}

impl DelayQueue {
    /// The job's turn comes after this delay, whatever was set before; `None` for never.
    pub(super) fn set(&mut self, uid: Uuid, delay: Option<Duration>) {
        if let Some(old) = self.by_job.remove(&uid) {
            self.by_time.remove(&(old, uid));
        }
        if let Some(delay) = delay {
            let at = Instant::now() + delay;
            self.by_job.insert(uid, at);
            self.by_time.insert((at, uid));
        }
    }

    /// When the next job's turn comes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The next job whose turn has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Uuid> {
        self.next().filter(|at| *at <= now)?;
        let (_, uid) = self.by_time.pop_first()?;
        self.by_job.remove(&uid);
        Some(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_comes_once_and_at_the_time_set_last() {
        const HOUR: Duration = Duration::from_secs(3600);
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let start = Instant::now();
        let mut queue = DelayQueue::default();
        queue.set(first, Some(HOUR));
        queue.set(second, Some(HOUR * 3));
        queue.set(first, Some(HOUR * 5));
        assert!(queue.next().is_some_and(|at| at >= start + HOUR * 3));
        assert_eq!(queue.pop_due(start + HOUR * 2), None);
        assert_eq!(queue.pop_due(start + HOUR * 6), Some(second));
        assert_eq!(queue.pop_due(start + HOUR * 6), Some(first));
        assert_eq!(queue.pop_due(start + HOUR * 6), None);
        queue.set(first, Some(HOUR));
        queue.set(first, None);
        assert_eq!(queue.next(), None);
    }
}
