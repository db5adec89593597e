//! When ending attempts helps the jobs of a queue, and which attempts of it may be ended.

use std::cmp::Reverse;

use super::line::QueueLine;
use super::request::{Preemption, Standing};
use super::running::{Attempt, QueuePreemption};
use crate::Cpus;

/// The CPUs that an attempt holds.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) cpus: Cpus,
    /// What is known of the attempt, if it may be ended.
    pub(super) standing: Option<Standing>,
    /// Whether it is ending for another job.
    pub(super) is_ending: bool,
}

impl<Id: Clone + Ord> QueueLine<Id> {
    /// An attempt holds CPUs.
    pub(super) fn add_attempt(&mut self, id: &Id, held: Held) {
        if held.is_ending {
            self.ending += u64::from(held.cpus);
        } else if let Some(standing) = held.standing {
            self.running.insert(id.clone(), standing, held.cpus);
        }
    }

    /// It holds them no more.
    pub(super) fn remove_attempt(&mut self, id: &Id, held: Held) {
        if held.is_ending {
            self.ending -= u64::from(held.cpus);
        } else if let Some(standing) = held.standing {
            self.running.remove(id, standing);
        }
    }

    /// What it holds above what is guaranteed to it, and what is not ending.
    fn above_guarantee(&self) -> u64 {
        let guaranteed = u64::from(self.share.unwrap_or_default().guaranteed);
        self.granted.saturating_sub(guaranteed).saturating_sub(self.ending)
    }

    /// Its attempts that may be ended for the guarantees of other queues: it keeps what is guaranteed to it.
    pub(super) fn reclaimable(&self) -> impl Iterator<Item = Attempt<'_, Id>> {
        let mut above = self.above_guarantee();
        let attempts = self.running.iter().map_while(move |attempt| {
            let cpus = u64::from(attempt.3);
            let may_end = cpus <= above;
            let is_over = above == 0;
            above -= if may_end { cpus } else { 0 };
            (!is_over).then_some(may_end.then_some(attempt))
        });
        attempts.flatten()
    }

    /// Whether a job may have attempts of other queues ended: with it the queue holds no more than its guarantee.
    pub(super) fn reclaims(&self, min: Cpus) -> bool {
        let share = self.share.unwrap_or_default();
        let after = self.granted + self.coming + u64::from(min);
        share.preemption == Preemption::Reclaim
            && min <= self.left()
            && after <= u64::from(share.guaranteed)
    }

    /// When ending attempts helps its jobs, and which of its own may be ended.
    pub(super) fn look_at_preemption(&self) -> QueuePreemption {
        let reclaimable = self.running.cpus_within(self.above_guarantee());
        let mut known = QueuePreemption { own: None, reclaim: None, reclaimable };
        if self.share.unwrap_or_default().preemption.is_none() {
            return known;
        }
        let least = |known: Option<Cpus>, cpus| Some(known.map_or(cpus, |known| known.min(cpus)));
        for (&min, levels) in &self.line {
            let Some((Reverse(priority), _)) = levels.first_key_value() else { continue };
            let own = Cpus::try_from(self.running.cpus_below(*priority)).unwrap_or(Cpus::MAX);
            let lacks = min.saturating_sub(own);
            if own > 0 && lacks <= self.left() {
                known.own = least(known.own, lacks);
            }
            if self.reclaims(min) {
                known.reclaim = least(known.reclaim, lacks);
            }
        }
        known
    }
}
