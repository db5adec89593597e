//! Whether many jobs are being started just now. While they are, what ended jobs leave is removed later: the CPUs of
//! these are free already, and the API server's time belongs to jobs that somebody waits for.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_core::{Action, Job, Observed};

/// What an ended job leaves is removed at the latest after this time.
const REMOVAL_DELAY: SignedDuration = SignedDuration::from_secs(30);

/// So many starts within [`MANY_STARTS_WITHIN`] are many. A Job controller at its default limit never comes to it: it
/// makes 20 requests a second, and a pod takes two of them. There jobs wait for that limit, and a batch Job that is
/// removed takes nothing of it any more.
const MANY_STARTS: usize = 32;

/// See [`MANY_STARTS`].
const MANY_STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// When the last [`MANY_STARTS`] attempts, or pods of attempts, were created.
#[derive(Default)]
pub(crate) struct StartRate(Mutex<VecDeque<Timestamp>>);

impl StartRate {
    /// An attempt has been created, or its pod has come: until then the cluster has work to do for it.
    pub(crate) fn record(&self, now: Timestamp) {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.len() == MANY_STARTS {
            starts.pop_front();
        }
        starts.push_back(now);
    }

    /// While many jobs are being started, what an ended job leaves is removed a little later. When to reconcile
    /// again, if something was left for then.
    pub(crate) fn postpone_removals(
        &self,
        job: &Job,
        observed: &Observed,
        actions: &mut Vec<Action>,
        now: Timestamp,
    ) -> Option<Duration> {
        if !self.postpones_removal(job, now) {
            return None;
        }
        let before = actions.len();
        let is_live = |number| observed.attempts.iter().any(|a| a.number == number && a.is_live());
        // What still runs holds CPUs.
        actions.retain(|action| action.removed().is_none_or(is_live));
        (actions.len() < before).then_some(MANY_STARTS_WITHIN.unsigned_abs())
    }

    /// Whether what an ended job leaves is removed later, as many others are being started.
    fn postpones_removal(&self, job: &Job, now: Timestamp) -> bool {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = starts.front().filter(|_| starts.len() == MANY_STARTS);
        let within = |since: Option<&Timestamp>, limit| {
            since.is_some_and(|since| now.duration_since(*since) < limit)
        };
        job.status.is_finished()
            && within(oldest, MANY_STARTS_WITHIN)
            && within(job.status.timeline.finished.as_ref(), REMOVAL_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::{JobSpec, Metadata, Phase};

    use super::*;
    use crate::test_times::at;

    #[test]
    fn what_an_ended_job_leaves_waits_while_many_others_start() {
        let mut ended = Job::new(Metadata::default(), JobSpec::default());
        ended.status.phase = Some(Phase::Succeeded);
        ended.status.timeline.finished = Some(at(0));
        let running = Job::new(Metadata::default(), JobSpec::default());
        let rate = StartRate::default();
        (1..MANY_STARTS).for_each(|_| rate.record(at(1)));
        assert!(!rate.postpones_removal(&ended, at(1)), "one start less than many");
        rate.record(at(1));
        assert!(rate.postpones_removal(&ended, at(2)));
        assert!(!rate.postpones_removal(&running, at(2)), "it has not ended");
        assert!(!rate.postpones_removal(&ended, at(3)), "they started two seconds ago");
        (0..MANY_STARTS).for_each(|_| rate.record(at(30)));
        assert!(!rate.postpones_removal(&ended, at(30)), "it has waited long enough");
    }
}
