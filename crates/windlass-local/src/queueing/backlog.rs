//! How many jobs may wait: a place in the backlog is reserved before a submission is committed, so
//! that the bound holds however many come at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_core::Error;

/// Weight of the latest interval between two starts in their mean.
const LATEST_WEIGHT: f64 = 0.1;

/// Longest time after which a caller may try again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// How many jobs wait in each queue, and how many may.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// Most jobs that wait on this machine.
    max: u32,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    /// Queues in which somebody waits.
    by_queue: HashMap<String, u32>,
    /// Mean time between two starts, in seconds.
    start_interval: Option<f64>,
}

/// A place in the backlog, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    backlog: Arc<Backlog>,
    queue: Option<String>,
}

impl Backlog {
    /// On a machine on which so many jobs may wait.
    pub(crate) fn new(max: u32) -> Self {
        Self { max, counts: Mutex::default() }
    }

    /// Reserves a place for a new job in a queue in which `max` may wait, or says when there may be one.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        queue: &str,
        max: Option<u32>,
    ) -> Result<Reservation, Error> {
        let mut counts = self.lock();
        let here = counts.by_queue.get(queue).copied().unwrap_or(0);
        let full = match max {
            Some(max) if here >= max => {
                Some((here, format!("queue {queue:?} holds {here} waiting jobs, the most it may")))
            }
            _ if counts.all >= self.max => {
                let all = counts.all;
                Some((all, format!("this server holds {all} waiting jobs, the most it may")))
            }
            _ => None,
        };
        if let Some((ahead, why)) = full {
            return Err(busy(why, ahead, counts.start_interval));
        }
        counts.add(queue);
        Ok(Reservation { backlog: Arc::clone(self), queue: Some(queue.to_owned()) })
    }

    /// Counts a job that was accepted before, whatever the bound is now.
    pub(crate) fn add(&self, queue: &str) {
        self.lock().add(queue);
    }

    /// A job waits no more.
    pub(crate) fn remove(&self, queue: &str) {
        let mut counts = self.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(count) = counts.by_queue.get_mut(queue) {
            *count -= 1;
            if *count == 0 {
                counts.by_queue.remove(queue);
            }
        }
    }

    /// A job has started, so long after the one before it.
    pub(super) fn record_start(&self, since_the_last: Duration) {
        let mut counts = self.lock();
        let latest = since_the_last.as_secs_f64();
        counts.start_interval = Some(
            counts.start_interval.map_or(latest, |mean| mean + LATEST_WEIGHT * (latest - mean)),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts stay counts when a thread panics elsewhere.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, queue: &str) {
        self.all += 1;
        *self.by_queue.entry(queue.to_owned()).or_default() += 1;
    }
}

impl Reservation {
    /// The job is accepted: its place is given back when it starts.
    pub(crate) fn keep(mut self) {
        self.queue = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            self.backlog.remove(queue);
        }
    }
}

/// A place is free after the next start; all that wait take as many starts as they are.
fn busy(why: String, ahead: u32, start_interval: Option<f64>) -> Error {
    let Some(interval) = start_interval else {
        return Error::Busy { message: why, retry_after: Duration::from_secs(1) };
    };
    let wait = (interval * f64::from(ahead)).ceil();
    let retry_after =
        Duration::try_from_secs_f64(interval).unwrap_or(MAX_RETRY_AFTER).min(MAX_RETRY_AFTER);
    Error::Busy { message: format!("{why}; a new one would wait for about {wait} s"), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_jobs_wait_than_may() {
        let backlog = Arc::new(Backlog::new(3));
        backlog.reserve("a", Some(1)).unwrap().keep();
        let refused = backlog.reserve("a", Some(1)).unwrap_err();
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        drop(backlog.reserve("b", None).unwrap());
        backlog.reserve("b", None).unwrap().keep();
        backlog.add("a");
        assert!(backlog.reserve("b", None).is_err(), "the machine's bound");
        backlog.remove("a");
        backlog.remove("a");
        backlog.reserve("a", Some(1)).unwrap().keep();
    }

    #[test]
    fn the_answer_estimates_the_wait() {
        let backlog = Arc::new(Backlog::new(10));
        for _ in 0..10 {
            backlog.reserve("a", None).unwrap().keep();
        }
        for _ in 0..100 {
            backlog.record_start(Duration::from_secs(4));
        }
        let Err(Error::Busy { message, retry_after }) = backlog.reserve("a", None) else {
            panic!()
        };
        assert_eq!(retry_after, Duration::from_secs(4));
        assert!(message.ends_with("a new one would wait for about 40 s"), "{message}");
    }
}
