//! Creations of batch Jobs that take long, by namespace. An admission webhook that does not answer holds up each creation
//! that it is asked about, for as long as its timeout. There are few reconciles at a time: without a bound, the jobs of
//! one namespace would take all of them, and no job of another would start or be cancelled.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::apply::Applied;

/// Most creations of a namespace at a time. The other reconciles are for other namespaces, until it is known which are slow.
const MOST: usize = 24;

/// A creation that takes longer than this has the others of its namespace wait for its end.
const SLOW: Duration = Duration::from_secs(3);

/// Between the end of one that took long and failed, and the next try: until then, jobs are told what was said of it.
const PAUSE: Duration = Duration::from_secs(5);

/// By namespace.
#[derive(Default)]
pub(crate) struct SlowStarts(Mutex<HashMap<String, Creations>>);

/// Those of one namespace.
#[derive(Default)]
struct Creations {
    /// When those that are under way have begun.
    under_way: Vec<Instant>,
    /// What became of the last one, if it took long and failed, and when.
    hindrance: Option<(Applied, Instant)>,
}

/// Another creation of the namespace takes long, or has just failed: this one is not to be tried now. What became of the
/// last one, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Later(pub(super) Option<Applied>);

/// A creation that is under way, until this is dropped.
pub(super) struct Creation<'a> {
    all: &'a SlowStarts,
    namespace: &'a str,
    began: Instant,
}

impl SlowStarts {
    /// A creation in this namespace is to be tried. As long as they take long there, only one is at a time.
    pub(super) fn begin<'a>(
        &'a self,
        namespace: &'a str,
        now: Instant,
    ) -> Result<Creation<'a>, Later> {
        let mut all = self.lock();
        let creations = all.entry(namespace.to_owned()).or_default();
        let is_slow = |began: &Instant| now.duration_since(*began) > SLOW;
        let is_hindered = creations.hindrance.as_ref().is_some_and(|(_, since)| {
            !creations.under_way.is_empty() || now.duration_since(*since) < PAUSE
        });
        let is_full = creations.under_way.len() >= MOST;
        if is_hindered || is_full || creations.under_way.iter().any(is_slow) {
            return Err(Later(creations.hindrance.as_ref().map(|(last, _)| last.clone())));
        }
        creations.under_way.push(now);
        Ok(Creation { all: self, namespace, began: now })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Creations>> {
        // A panic while it was held has left a map like any other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Creation<'_> {
    /// What has become of it.
    pub(super) fn ended(&self, applied: &Applied, now: Instant) {
        let has_failed = matches!(applied, Applied::Refused { .. } | Applied::Unanswered { .. });
        let is_slow = now.duration_since(self.began) > SLOW;
        if let Some(creations) = self.all.lock().get_mut(self.namespace) {
            creations.hindrance = (has_failed && is_slow).then(|| (applied.clone(), now));
        }
    }
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        let Some(creations) = all.get_mut(self.namespace) else { return };
        if let Some(own) = creations.under_way.iter().position(|began| *began == self.began) {
            creations.under_way.swap_remove(own);
        }
        if creations.under_way.is_empty() && creations.hindrance.is_none() {
            all.remove(self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun<'a>(starts: &'a SlowStarts, now: Instant) -> Creation<'a> {
        starts.begin("slow", now).unwrap_or_else(|later| panic!("it may try: {later:?}"))
    }

    fn later(starts: &SlowStarts, now: Instant) -> Option<Option<Applied>> {
        starts.begin("slow", now).err().map(|Later(last)| last)
    }

    #[test]
    fn a_namespace_whose_creations_take_long_tries_one_at_a_time() {
        let starts = SlowStarts::default();
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let failed = Applied::Unanswered { message: "a webhook".into() };
        let two = [begun(&starts, at(0)), begun(&starts, at(1))];
        assert_eq!(later(&starts, at(4)), Some(None), "nobody has said why yet");
        assert!(starts.begin("quick", at(4)).is_ok(), "it is another namespace");
        two[0].ended(&failed, at(10));
        drop(two);
        assert_eq!(later(&starts, at(11)), Some(Some(failed.clone())), "it is told first");
        let probe = begun(&starts, at(15));
        assert_eq!(later(&starts, at(15)), Some(Some(failed)), "one is enough");
        probe.ended(&Applied::Done, at(16));
        drop(probe);
        assert!(starts.lock().is_empty(), "nothing is remembered of those that are quick");
    }

    #[test]
    fn a_quick_failure_holds_up_nobody() {
        let starts = SlowStarts::default();
        let now = Instant::now();
        let first = begun(&starts, now);
        first.ended(&Applied::Unanswered { message: "a quota".into() }, now);
        drop(first);
        drop([begun(&starts, now), begun(&starts, now)]);
        assert!(starts.lock().is_empty());
    }
}
