//! Grants on their way to being claimed.

use jiff::Timestamp;
use tracing::debug;

use super::ClusterAdmission;
use crate::queueing::claim_write::{ClaimWrite, next_write};
use crate::queueing::ledger::LedgerKey;
use crate::queueing::state::{Stage, State};

impl ClusterAdmission {
    /// The next write of a ComputeQueue that is due: grants to be claimed; with `numbers` also a queue whose numbers
    /// have changed by half.
    pub(crate) fn next_claim_write(&self, numbers: bool, now: Timestamp) -> Option<ClaimWrite> {
        let mut state = self.lock();
        if !state.may_grant {
            return None;
        }
        self.revert_overcommitted(&mut state, now);
        let write = next_write(&state, &self.identity, numbers, now)?;
        if let Some(ledger) = state.ledger_mut(&write.ledger) {
            ledger.writing = write.granted.iter().map(|(attempt, _)| attempt.clone()).collect();
        }
        Some(write)
    }

    /// Claims were written: their grants may be used.
    pub(crate) fn confirm_claims(&self, write: &ClaimWrite, now: Timestamp) {
        let mut state = self.lock();
        let Some(ledger) = state.ledger_mut(&write.ledger) else { return };
        ledger.writing.clear();
        for (attempt, claimed) in &write.granted {
            let held = state.held.get(attempt);
            let held = held.filter(|held| state.ledger_of(&held.queue) == write.ledger).cloned();
            let is_unclaimed = held.as_ref().is_some_and(|held| held.stage == Stage::Granted);
            if is_unclaimed && held.as_ref() != Some(claimed) {
                // It was given up and granted anew meanwhile, for another queue or with other CPUs: that is claimed next.
                continue;
            }
            if let Some(ledger) = state.ledger_mut(&write.ledger) {
                ledger.granted.remove(attempt);
                if held.is_none() {
                    // Its job was withdrawn meanwhile, or is in another queue.
                    ledger.settled.insert(attempt.clone());
                }
            }
            let Some(held) = state.held.get_mut(attempt).filter(|_| is_unclaimed) else { continue };
            held.stage = Stage::Claimed { since: now };
            held.is_claimed = true;
            debug!(job = %attempt.job_uid, attempt = attempt.number, cpus = held.cpus, "claimed");
            if let Some(request) = state.requests.get(&attempt.job_uid) {
                self.requeue(request.job.clone());
            }
        }
    }

    /// Claims were not written, or may not be before the CPUs in use were counted again: their grants are taken back,
    /// and their jobs wait again.
    pub(crate) fn revert_grants(&self, key: &LedgerKey) {
        self.lock().revert_grants(key);
    }

    /// All attempts of the queues whose claims this process has taken over were counted.
    pub(crate) fn mark_counted(&self, key: &LedgerKey) {
        if let Some(ledger) = self.lock().ledger_mut(key) {
            ledger.counted = true;
        }
    }

    /// No claims are written there before this time.
    pub(crate) fn postpone_writes(&self, key: &LedgerKey, not_before: Timestamp) {
        if let Some(ledger) = self.lock().ledger_mut(key) {
            ledger.not_before = Some(not_before);
        }
    }

    /// Takes back grants that are not claimed yet and do not fit any more: another controller has claimed CPUs since,
    /// or a quota was lowered.
    fn revert_overcommitted(&self, state: &mut State, now: Timestamp) {
        let overcommitted = state.overcommitted_ledgers();
        for key in &overcommitted {
            state.revert_grants(key);
        }
        if !overcommitted.is_empty() {
            self.grant_available(state, now);
        }
    }
}
