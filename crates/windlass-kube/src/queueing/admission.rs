//! Who may start. A job whose namespace has no ComputeQueue passes straight through, and the Kubernetes scheduler finds
//! its node.
//!
//! Core's admission decides; this keeps it in step with the cluster. CPUs in use are those of the live attempts in the
//! cache. A grant may not be used before it is [claimed](crate::controller::claims): written on the ComputeQueue by
//! compare-and-set, so that two controllers never grant the same CPUs. From then on it counts until its attempt was
//! observed and is over.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tracing::debug;
use windlass_core::plan::AdmissionDecision;
use windlass_core::{Job, JobLimits};
use windlass_metrics::QueueNumbers;

use super::key::{JobRef, QueueKey};
use super::ledger::LedgerKey;
use super::state::{Candidate, Held, QueueState, Stage, State};
use crate::cache::attempts::ChangedAttempt;
use crate::crd::{Claim, ComputeQueue};
use crate::labels::{AttemptId, AttemptLabels};

/// Decides who may start, and has those jobs reconciled.
pub(crate) struct ClusterAdmission {
    state: Mutex<State>,
    /// Jobs that are to be reconciled.
    requeued: mpsc::UnboundedSender<JobRef>,
    /// There are grants to be claimed.
    pub(crate) claims_wanted: Notify,
    /// Who claims: unique to this process, over all time.
    identity: String,
    /// Whether a job whose namespace has no ComputeQueue waits for one.
    require_queue: bool,
}

impl ClusterAdmission {
    /// Grants nothing before [`start_granting`](Self::start_granting). Jobs that are granted CPUs, or whose place has
    /// changed, are sent to `requeued`.
    pub(crate) fn new(
        identity: String,
        require_queue: bool,
        requeued: mpsc::UnboundedSender<JobRef>,
    ) -> Self {
        let state = Mutex::new(State::new());
        Self { state, requeued, claims_wanted: Notify::new(), identity, require_queue }
    }

    /// Grants begin. All CPUs in use were counted before, and all waiting jobs were enqueued.
    pub(crate) fn start_granting(&self, now: Timestamp) {
        let mut state = self.lock();
        state.may_grant = true;
        self.grant_available(&mut state, now);
    }

    /// This process does not lead any more: it grants nothing, and takes back what is not claimed.
    pub(crate) fn stop_granting(&self) {
        let mut state = self.lock();
        state.may_grant = false;
        let queues = state.queues.keys().cloned().map(LedgerKey::Queue);
        let shared = state.cluster_queues.iter().map(|(name, _)| name.clone());
        let all: Vec<_> = queues.chain(shared.map(LedgerKey::ClusterQueue)).collect();
        all.iter().for_each(|key| state.revert_grants(key));
    }

    /// A ComputeQueue is there, or has changed. Whether its jobs are to hear of it: it was not there before, or something
    /// starts in it again or does not any more. `was_over` says of an
    /// attempt whether it was observed to have ended: an old claim of it means nothing.
    pub(crate) fn queue_changed(
        &self,
        queue: &ComputeQueue,
        was_over: impl Fn(&AttemptId) -> bool,
        now: Timestamp,
    ) -> bool {
        let mut state = self.lock();
        let key = QueueKey {
            namespace: queue.metadata.namespace.clone().unwrap_or_default(),
            name: queue.metadata.name.clone().unwrap_or_default(),
        };
        if state.queues.get(&key).is_some_and(|known| known.ledger.is_newer_than(&queue.metadata)) {
            return false;
        }
        let spec = &queue.spec.0;
        state.scheduler.set_queue(&key, Some(spec.share()));
        let status = queue.status.clone().unwrap_or_default();
        self.adopt_claims(
            &mut state,
            &LedgerKey::Queue(key.clone()),
            &status.claims,
            was_over,
            now,
        );
        let is_same =
            |known: &QueueState| !known.is_gone && (known.spec.quota() == 0) == (spec.quota() == 0);
        let concerns_jobs = !state.queues.get(&key).is_some_and(is_same);
        let known = state.queues.entry(key).or_insert_with(|| QueueState::new(spec.clone()));
        known.spec = spec.clone();
        known.is_gone = false;
        known.ledger.observe(&queue.metadata, status, &self.identity, now);
        known.places_changed = true;
        self.grant_available(&mut state, now);
        concerns_jobs
    }

    /// Claims hold CPUs also while this process has observed no attempt of them. They are another controller's, or ours
    /// when the answer to the write was lost. A job that asks for CPUs here is reconciled: whoever acts first creates
    /// the attempt.
    fn adopt_claims(
        &self,
        state: &mut State,
        ledger: &LedgerKey,
        claims: &[Claim],
        was_over: impl Fn(&AttemptId) -> bool,
        now: Timestamp,
    ) {
        for claim in claims {
            let attempt = claim.attempt();
            let Some(queue) = ledger.queue_of(claim) else { continue };
            // The namespace of the queue has another pool now: what was made of the claim counts there, by its attempt.
            if state.ledger_of(&queue) != *ledger {
                continue;
            }
            if !state.is_new_claim(ledger, &queue, &attempt) || was_over(&attempt) {
                continue;
            }
            if let Some(request) = state.requests.get(&attempt.job_uid)
                && request.attempt == attempt
            {
                self.requeue(request.job.clone());
            }
            state.hold(attempt, &queue, claim.cpus, Stage::Claimed { since: now });
        }
    }

    /// A ComputeQueue of this UID is gone: the jobs that waited in it wait until it is there again.
    pub(crate) fn queue_deleted(&self, key: &QueueKey, uid: &str, now: Timestamp) {
        let mut state = self.lock();
        if state.queues.get(key).is_none_or(|known| known.ledger.uid != uid) {
            return;
        }
        state.mark_gone(key);
        state.jobs_in(key).into_iter().for_each(|job| self.requeue(job));
        // Another queue of the same pool may have what is free now.
        self.grant_available(&mut state, now);
    }

    /// An attempt has changed: its CPUs are in use, or free.
    pub(crate) fn attempt_changed(&self, changed: &ChangedAttempt, now: Timestamp) {
        let AttemptLabels { attempt, namespace, queue, cpus, .. } = &changed.labels;
        let key = QueueKey { namespace: namespace.clone(), name: queue.clone() };
        let mut state = self.lock();
        if changed.is_live {
            let known = state.held.get(attempt);
            let cpus = state.cpus_of_attempt(attempt, *cpus);
            // A pod may be seen before its batch Job, which alone is believed.
            if known.is_none_or(|held| held.stage != Stage::Live || held.cpus != cpus) {
                state.hold(attempt.clone(), &key, cpus, Stage::Live);
                state.requests.remove(&attempt.job_uid);
                // There is room for another claim.
                let ledger = state.ledger(&state.ledger_of(&key));
                if ledger.is_some_and(|ledger| !ledger.granted.is_empty()) {
                    self.claims_wanted.notify_one();
                }
            }
        } else if state.held.get(attempt).is_some_and(|held| held.stage != Stage::Granted) {
            state.end(attempt);
            self.grant_available(&mut state, now);
        }
    }

    /// Whether the queue of this job is a ComputeQueue.
    pub(crate) fn has_queue(&self, job: &Job) -> bool {
        self.lock().has_queue(&QueueKey::of_job(job))
    }

    /// Whether a claim of this attempt, if there is one, is in the queue that its job is in now.
    pub(crate) fn is_claimed_where_it_waits(&self, job: &Job, attempt: &AttemptId) -> bool {
        self.lock().held.get(attempt).is_none_or(|held| held.queue == QueueKey::of_job(job))
    }

    /// A job needs CPUs for this attempt now: it is enqueued, if it is not yet, and gets an answer.
    pub(crate) fn request_cpus(
        &self,
        job: &Job,
        attempt: AttemptId,
        limits: &JobLimits,
        now: Timestamp,
    ) -> AdmissionDecision {
        let key = &QueueKey::of_job(job);
        let mut state = self.lock();
        if !state.held.contains_key(&attempt) && state.cluster_queues.has_to_wait(job) {
            let why = "its namespace is new: whose CPUs it shares is not known yet".to_owned();
            return AdmissionDecision::Waiting { why, place: None };
        }
        if state.leave_other_queues(&attempt, key) {
            return AdmissionDecision::NotAsked;
        }
        let candidate = Candidate { job, attempt, key, limits };
        let attempt = &candidate.attempt;
        // A claim stands also when its queue was deleted.
        if !state.has_queue(key) && !state.held.contains_key(attempt) {
            return if !self.require_queue && state.passes_without_queue(job, key) {
                AdmissionDecision::Granted(limits.parallelism)
            } else {
                let told = state.without_queue(&candidate, now);
                // It may have left CPUs in the queue that it was in.
                self.grant_available(&mut state, now);
                told
            };
        }
        if !state.held.contains_key(attempt) {
            state.enqueue(&candidate, now);
            self.grant_available(&mut state, now);
        }
        match state.held.get(attempt) {
            Some(held) if held.stage == Stage::Granted => return AdmissionDecision::NotAsked,
            Some(held) => return AdmissionDecision::Granted(held.cpus),
            None => {}
        }
        state.why_it_waits(attempt, key, now)
    }

    /// A waiting job is enqueued and gets no answer: before grants begin.
    pub(crate) fn enqueue(
        &self,
        job: &Job,
        attempt: AttemptId,
        limits: &JobLimits,
        now: Timestamp,
    ) {
        let key = &QueueKey::of_job(job);
        let mut state = self.lock();
        if state.held.contains_key(&attempt) || state.cluster_queues.has_to_wait(job) {
            return;
        }
        let candidate = Candidate { job, attempt, key, limits };
        if state.has_queue(key) {
            state.enqueue(&candidate, now);
        } else {
            state.keep_place(&candidate, now);
        }
    }

    /// A job wants no CPUs any more: it has ended, is cancelled, cannot run or is gone. A grant of it is free, unless
    /// the grant was claimed: then an attempt may exist.
    pub(crate) fn withdraw(&self, job_uid: &str, now: Timestamp) {
        let mut state = self.lock();
        let Some(request) = state.requests.remove(job_uid) else { return };
        let left = state.scheduler.leave(&request.attempt);
        let unused = (state.held.get(&request.attempt)).is_some_and(|h| h.stage == Stage::Granted);
        if unused {
            state.release(&request.attempt);
        }
        if let Some(queue) = state.queues.get_mut(&request.queue).filter(|_| left || unused) {
            queue.places_changed = true;
        }
        self.grant_available(&mut state, now);
    }

    /// Claims whose attempts were not observed yet, and since when they are known.
    pub(crate) fn unobserved_claims(&self) -> Vec<(AttemptId, Timestamp)> {
        let state = self.lock();
        let since = |held: &Held| match held.stage {
            Stage::Claimed { since } => Some(since),
            Stage::Granted | Stage::Live => None,
        };
        state.held.iter().filter_map(|(id, held)| Some((id.clone(), since(held)?))).collect()
    }

    /// An attempt does not exist and nobody is going to create it: its CPUs are free.
    pub(crate) fn release_attempt(&self, attempt: &AttemptId, now: Timestamp) {
        let mut state = self.lock();
        state.end(attempt);
        self.grant_available(&mut state, now);
    }

    /// Grants again what was taken back.
    pub(crate) fn grant_again(&self, now: Timestamp) {
        let mut state = self.lock();
        self.grant_available(&mut state, now);
    }

    /// Counts the places in the queues that have changed. Jobs whose place has changed by half are reconciled.
    pub(crate) fn update_places(&self) {
        let mut state = self.lock();
        state.forget_gone();
        state.count_places().into_iter().for_each(|job| self.requeue(job));
    }

    /// CPUs that attempts hold, in whatever queue.
    pub(crate) fn cpus_in_use(&self) -> u64 {
        self.lock().held.values().map(|held| u64::from(held.cpus)).sum()
    }

    /// Every queue, for the metrics.
    pub(crate) fn queues(&self) -> Vec<QueueNumbers> {
        self.lock().numbers()
    }

    /// Grants CPUs as long as there is a job that may start.
    fn grant_available(&self, state: &mut State, now: Timestamp) {
        if !state.may_grant {
            return;
        }
        let mut any = false;
        while let Some(grant) = state.scheduler.next(now) {
            let Some(request) = state.requests.get(&grant.id.job_uid) else {
                state.scheduler.release(&grant.id);
                continue;
            };
            let held = Held {
                queue: request.queue.clone(),
                cpus: grant.cpus,
                stage: Stage::Granted,
                is_claimed: false,
            };
            let ledger = state.ledger_of(&held.queue);
            if let Some(ledger) = state.ledger_mut(&ledger) {
                ledger.granted.insert(grant.id.clone());
            }
            if let Some(queue) = state.queues.get_mut(&held.queue) {
                queue.pace.record_start(now);
                queue.places_changed = true;
            }
            state.held.insert(grant.id, held);
            any = true;
        }
        if any {
            self.claims_wanted.notify_one();
        }
        self.preempt(state, now);
    }

    /// Has a job reconciled.
    pub(crate) fn requeue(&self, job: JobRef) {
        if self.requeued.send(job).is_err() {
            debug!("the controller has stopped");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held has left a state like any other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

mod claiming;
mod cluster_queues;
mod preemption;
#[cfg(test)]
mod tests;
