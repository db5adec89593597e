//! Creations of batch Jobs and pods that take long, by namespace and function. An admission webhook that does not answer
//! holds up each creation that it is asked about, for as long as its timeout. There are few reconciles at a time: without
//! a bound, the jobs of one function would take all of them, and no other job would start or be cancelled.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::Job;

/// Most creations of a function at a time, and of all. The other reconciles are for what else is to be done, until it is
/// known which creations are slow.
const MOST: usize = 24;
const MOST_OF_ALL: usize = 28;

/// A creation that takes longer than this has the others of its function wait for its end.
const SLOW: Duration = Duration::from_secs(3);

/// Between the end of one that took long and failed, and the next try: until then, jobs are told what was said of it.
const PAUSE: Duration = Duration::from_secs(5);

/// When one that was not tried asks again: where too many are under way at once, or one of them is slow.
const BUSY: Duration = Duration::from_millis(250);
const HELD: Duration = Duration::from_secs(1);

/// Namespace and function.
type Key = (String, String);

/// By namespace and function.
#[derive(Default)]
pub(crate) struct SlowStarts(Mutex<HashMap<Key, Creations>>);

/// Those of one function in one namespace.
#[derive(Default)]
struct Creations {
    /// When those that are under way have begun.
    under_way: Vec<Instant>,
    /// What was said of the last one, if it took long and failed, and when.
    slow: Option<(String, Instant)>,
}

/// This one is not to be tried now: others take long, or one has just failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Later {
    /// What was said of the last one that took long and failed.
    pub(super) why: Option<String>,
    /// When to ask again.
    pub(super) pause: Duration,
}

impl Later {
    /// What is told of a job that waits so. It is of another one: no end of this one, whatever it says.
    pub(super) fn said(&self) -> Option<String> {
        self.why.as_ref().map(|why| format!("held up by another job of its function: {why}"))
    }
}

/// A creation that is under way, until this is dropped.
pub(super) struct Creation<'a> {
    all: &'a SlowStarts,
    key: Key,
    began: Instant,
}

impl SlowStarts {
    /// A creation for this job is to be tried. As long as they take long for its function, only one is at a time.
    pub(super) fn begin(&self, job: &Job, now: Instant) -> Result<Creation<'_>, Later> {
        let key = (job.metadata.namespace.clone(), job.spec.function.clone());
        let mut all = self.lock();
        let is_of_use = |creations: &Creations| {
            let is_recent = |(_, since): &(String, Instant)| now.duration_since(*since) < 2 * PAUSE;
            !creations.under_way.is_empty() || creations.slow.as_ref().is_some_and(is_recent)
        };
        all.retain(|_, creations| is_of_use(creations));
        let of_all: usize = all.values().map(|creations| creations.under_way.len()).sum();
        let creations = all.entry(key.clone()).or_default();
        let is_slow = |began: &Instant| now.duration_since(*began) > SLOW;
        let is_hindered = creations.slow.as_ref().is_some_and(|(_, since)| {
            !creations.under_way.is_empty() || now.duration_since(*since) < PAUSE
        });
        if is_hindered || creations.under_way.iter().any(is_slow) {
            let why = creations.slow.as_ref().map(|(said, _)| said.clone());
            return Err(Later { why, pause: HELD });
        }
        if creations.under_way.len() >= MOST || of_all >= MOST_OF_ALL {
            return Err(Later { why: None, pause: BUSY });
        }
        creations.under_way.push(now);
        Ok(Creation { all: self, key, began: now })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Creations>> {
        // A panic while it was held has left a map like any other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Creation<'_> {
    /// It has ended, with what was said of its failure.
    pub(super) fn ended(&self, failure: Option<&str>, now: Instant) {
        let is_slow = now.duration_since(self.began) > SLOW;
        let said = failure.filter(|_| is_slow).map(|said| (said.to_owned(), now));
        if let Some(creations) = self.all.lock().get_mut(&self.key) {
            creations.slow = said;
        }
    }
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        let Some(creations) = all.get_mut(&self.key) else { return };
        if let Some(own) = creations.under_way.iter().position(|began| *began == self.began) {
            creations.under_way.swap_remove(own);
        }
        if creations.under_way.is_empty() && creations.slow.is_none() {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    /// A job of this function.
    fn job(function: &str) -> Job {
        let metadata = Metadata { namespace: "slow".into(), ..Metadata::default() };
        Job::new(metadata, JobSpec { function: function.into(), ..JobSpec::default() })
    }

    fn begun(starts: &SlowStarts, now: Instant) -> Creation<'_> {
        starts.begin(&job("f"), now).unwrap_or_else(|later| panic!("it may try: {later:?}"))
    }

    fn later(starts: &SlowStarts, now: Instant) -> Option<Option<String>> {
        starts.begin(&job("f"), now).err().map(|later| later.why)
    }

    #[test]
    fn a_function_whose_creations_take_long_tries_one_at_a_time() {
        let starts = SlowStarts::default();
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let two = [begun(&starts, at(0)), begun(&starts, at(1))];
        assert_eq!(later(&starts, at(4)), Some(None), "nobody has said why yet");
        assert!(starts.begin(&job("quick"), at(4)).is_ok(), "it is another function");
        two[0].ended(Some("a webhook"), at(10));
        drop(two);
        assert_eq!(later(&starts, at(11)), Some(Some("a webhook".into())), "it is told first");
        let probe = begun(&starts, at(15));
        assert_eq!(later(&starts, at(15)), Some(Some("a webhook".into())), "one is enough");
        probe.ended(None, at(16));
        drop(probe);
        assert!(starts.lock().is_empty(), "nothing is remembered of those that are quick");
    }

    #[test]
    fn what_was_said_is_forgotten_where_nothing_starts_any_more() {
        let starts = SlowStarts::default();
        let zero = Instant::now();
        let first = begun(&starts, zero);
        first.ended(Some("a webhook"), zero + 2 * SLOW);
        drop(first);
        drop(starts.begin(&job("other"), zero + 10 * PAUSE).ok());
        assert!(starts.lock().is_empty());
    }

    #[test]
    fn functions_that_hang_together_leave_room_for_what_else_is_to_be_done() {
        let starts = SlowStarts::default();
        let now = Instant::now();
        let of = |function: &str| {
            let all = (0..40).map_while(|_| starts.begin(&job(function), now).ok());
            all.collect::<Vec<_>>()
        };
        let (first, second) = (of("first"), of("second"));
        assert_eq!([first.len(), second.len()], [MOST, MOST_OF_ALL - MOST]);
    }

    #[test]
    fn a_quick_failure_holds_up_nobody() {
        let starts = SlowStarts::default();
        let now = Instant::now();
        let first = begun(&starts, now);
        first.ended(Some("a quota"), now);
        drop(first);
        drop([begun(&starts, now), begun(&starts, now)]);
        assert!(starts.lock().is_empty());
    }
}
