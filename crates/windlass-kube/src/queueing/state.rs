//! Who waits, what is granted and what holds CPUs, for all ComputeQueues of the cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use windlass_core::plan::{AdmissionDecision, is_other};
use windlass_core::status::Place;
use windlass_core::{Cpus, Job, JobLimits, QueueSpec, Waiting};
use windlass_metrics::QueueNumbers;

use super::cluster_queues::ClusterQueues;
use super::key::{JobRef, QueueKey, reference};
use super::ledger::{Ledger, LedgerKey};
use super::pace::Pace;
use super::schedulers::Schedulers;
use crate::labels::AttemptId;

/// The most CPUs of a job, as the definition of a ComputeJob has it.
const MAX_PARALLELISM: Cpus = 1024;

/// All of it.
pub(super) struct State {
    /// Whether grants may be made: all CPUs in use are counted, and every waiting job is enqueued.
    pub(super) may_grant: bool,
    /// Core's decision who comes next.
    pub(super) scheduler: Schedulers,
    pub(super) queues: BTreeMap<QueueKey, QueueState>,
    pub(super) cluster_queues: ClusterQueues,
    /// What holds CPUs: the stage of each, which `scheduler` does not know.
    pub(super) held: HashMap<AttemptId, Held>,
    /// The jobs that wait for CPUs or were just granted some, by UID.
    pub(super) requests: HashMap<Arc<str>, CpuRequest>,
    /// The jobs of attempts that hold CPUs, as far as these jobs were reconciled.
    pub(super) running: HashMap<AttemptId, JobRef>,
}

/// CPUs that an attempt holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) queue: QueueKey,
    pub(super) cpus: Cpus,
    pub(super) stage: Stage,
    /// Whether they are as the claim said. Otherwise a label says so, which whoever may write batch Jobs can change.
    pub(super) is_claimed: bool,
}

/// How far a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The scheduler has granted the CPUs; nobody may use them yet.
    Granted,
    /// The ComputeQueue names the grant, since then. Its attempt was not observed yet.
    Claimed { since: Timestamp },
    /// Its attempt was observed and is live.
    Live,
}

/// A job that asks for CPUs for an attempt, in a queue.
pub(super) struct Candidate<'a> {
    pub(super) job: &'a Job,
    pub(super) attempt: AttemptId,
    pub(super) key: &'a QueueKey,
    pub(super) limits: &'a JobLimits,
}

/// A job that waits for CPUs.
pub(super) struct CpuRequest {
    pub(super) attempt: AttemptId,
    pub(super) queue: QueueKey,
    pub(super) job: JobRef,
    pub(super) waiting: Waiting,
    /// The place in the queue that was last answered.
    pub(super) reported_place: Option<u32>,
    /// The place in the queue when places were last counted.
    pub(super) place: Option<u32>,
}

/// One ComputeQueue.
pub(super) struct QueueState {
    pub(super) spec: QueueSpec,
    /// Whether it was deleted while jobs waited in it, which wait on.
    pub(super) is_gone: bool,
    /// Its object, where its grants are claimed unless its namespace shares the CPUs of a ClusterComputeQueue.
    pub(super) ledger: Ledger,
    pub(super) pace: Pace,
    /// Whether places may have changed since they were last counted.
    pub(super) places_changed: bool,
}

impl QueueState {
    /// A queue that was not known before.
    pub(super) fn new(spec: QueueSpec) -> Self {
        let (ledger, pace) = (Ledger::default(), Pace::default());
        Self { spec, is_gone: false, ledger, pace, places_changed: true }
    }
}

impl State {
    /// Nothing waits, and nothing is held.
    pub(super) fn new() -> Self {
        Self {
            may_grant: false,
            scheduler: Schedulers::new(),
            queues: BTreeMap::new(),
            cluster_queues: ClusterQueues::default(),
            held: HashMap::new(),
            requests: HashMap::new(),
            running: HashMap::new(),
        }
    }

    /// The object on which the grants of a queue are claimed.
    pub(super) fn ledger_of(&self, key: &QueueKey) -> LedgerKey {
        match self.scheduler.pool_of(&key.namespace) {
            Some(pool) => LedgerKey::ClusterQueue(pool.to_owned()),
            None => LedgerKey::Queue(key.clone()),
        }
    }

    /// What is known of an object on which grants are claimed.
    pub(super) fn ledger(&self, key: &LedgerKey) -> Option<&Ledger> {
        match key {
            LedgerKey::Queue(key) => self.queues.get(key).map(|queue| &queue.ledger),
            LedgerKey::ClusterQueue(name) => self.cluster_queues.get(name).map(|q| &q.ledger),
        }
    }

    /// The same, to be changed.
    pub(super) fn ledger_mut(&mut self, key: &LedgerKey) -> Option<&mut Ledger> {
        match key {
            LedgerKey::Queue(key) => self.queues.get_mut(key).map(|queue| &mut queue.ledger),
            LedgerKey::ClusterQueue(name) => {
                self.cluster_queues.get_mut(name).map(|queue| &mut queue.ledger)
            }
        }
    }

    /// The grants of a queue that are not claimed yet.
    pub(super) fn unclaimed_in(&self, key: &QueueKey) -> Vec<AttemptId> {
        let Some(ledger) = self.ledger(&self.ledger_of(key)) else { return Vec::new() };
        let is_its = |id: &&AttemptId| self.held.get(*id).is_some_and(|held| held.queue == *key);
        ledger.granted.iter().filter(is_its).cloned().collect()
    }

    /// Whether a claim holds CPUs of a queue from now on: it is not known yet, and its attempt may still come.
    pub(super) fn is_new_claim(
        &self,
        ledger: &LedgerKey,
        queue: &QueueKey,
        attempt: &AttemptId,
    ) -> bool {
        let held_here = self.held.get(attempt).filter(|held| held.queue == *queue);
        let stage = held_here.map(|held| held.stage);
        let means_nothing = self.ledger(ledger).is_some_and(|known| {
            let was_given_up = stage.is_none() && known.writing.contains(attempt);
            was_given_up || known.settled.contains(attempt)
        });
        // A grant of ours is claimed when it stands there, also when the answer to its claim was lost.
        stage.is_none_or(|stage| stage == Stage::Granted) && !means_nothing
    }

    /// Objects with grants that are not claimed yet, where more CPUs are in use than there are.
    pub(super) fn overcommitted_ledgers(&self) -> Vec<LedgerKey> {
        let exceeds = |key: &QueueKey| {
            let queue = self.queues.get(key);
            queue.is_some_and(|queue| self.scheduler.used_in(key) > queue.spec.quota())
        };
        let queues = self.queues.iter();
        let queues = queues.filter(|(key, queue)| !queue.ledger.granted.is_empty() && exceeds(key));
        let queues = queues.map(|(key, _)| LedgerKey::Queue(key.clone()));
        let pools = self.cluster_queues.iter().filter(|(name, pool)| {
            let granted = pool.ledger.granted.iter().filter_map(|id| self.held.get(id));
            let queues: BTreeSet<_> = granted.map(|held| &held.queue).collect();
            let used = self.scheduler.used_of(name);
            !queues.is_empty() && (used > pool.spec.capacity() || queues.into_iter().any(exceeds))
        });
        let pools = pools.map(|(name, _)| LedgerKey::ClusterQueue(name.clone()));
        queues.chain(pools).collect()
    }

    /// Every queue, for the metrics.
    pub(super) fn numbers(&self) -> Vec<QueueNumbers> {
        let numbers = |key: &QueueKey| QueueNumbers {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            waiting: self.scheduler.waiting_in(key),
            granted: self.scheduler.held_in(key),
            reserved: self.scheduler.reserved_in(key),
        };
        self.queues.iter().filter(|(_, queue)| !queue.is_gone).map(|(k, _)| numbers(k)).collect()
    }

    /// The jobs that wait in a queue, or were just granted CPUs there.
    pub(super) fn jobs_in(&self, key: &QueueKey) -> Vec<JobRef> {
        let in_queue = self.requests.values().filter(|request| request.queue == *key);
        in_queue.map(|request| request.job.clone()).collect()
    }

    /// Puts a job into the queue, or changes what it asks for.
    pub(super) fn enqueue(&mut self, candidate: &Candidate<'_>, now: Timestamp) {
        let &Candidate { job, ref attempt, key, limits } = candidate;
        let known = self.requests.get(&attempt.job_uid);
        // The API server gives times in seconds. Its versions go up: that in which a job is first seen is, for a new
        // job, that of its creation.
        let version = || job.metadata.resource_version.parse().unwrap_or(u64::MAX);
        let waiting = Waiting {
            queue: key.scheduler_name(),
            priority: job.spec.priority,
            since: job.metadata.creation_timestamp.unwrap_or(now),
            sequence: known.map_or_else(version, |known| known.waiting.sequence),
            min: limits.min_parallelism,
            max: limits.parallelism,
        };
        if known.is_some_and(|known| known.attempt == *attempt && known.waiting == waiting) {
            return;
        }
        let reported_place = job.status.waiting.as_ref().map(|place| place.position);
        let request = CpuRequest {
            attempt: attempt.clone(),
            queue: key.clone(),
            job: reference(job),
            waiting: waiting.clone(),
            reported_place,
            place: None,
        };
        if let Some(before) = self.requests.insert(Arc::clone(&attempt.job_uid), request) {
            self.scheduler.leave(&before.attempt);
        }
        self.scheduler.wait(attempt.clone(), key, waiting);
        if let Some(queue) = self.queues.get_mut(key) {
            queue.places_changed = true;
        }
    }

    /// What is said to a job that waits in a queue that is there.
    pub(super) fn why_it_waits(
        &mut self,
        attempt: &AttemptId,
        key: &QueueKey,
        now: Timestamp,
    ) -> AdmissionDecision {
        let Self { queues, cluster_queues, scheduler, requests, .. } = self;
        let (Some(queue), Some(request)) = (queues.get(key), requests.get_mut(&attempt.job_uid))
        else {
            return AdmissionDecision::NotAsked;
        };
        request.reported_place = request.place;
        let min = request.waiting.min;
        let has_room = queue.spec.quota().saturating_sub(scheduler.used_in(key)) >= min;
        let pool = scheduler.pool_of(&key.namespace).filter(|_| has_room);
        let pool = pool.and_then(|name| Some((name, cluster_queues.get(name)?)));
        AdmissionDecision::Waiting {
            why: match pool {
                Some((name, pool)) => pool.spec.why_jobs_wait(name, min),
                None => queue.spec.why_jobs_wait(&key.name),
            },
            place: request.place.map(|position| Place {
                position,
                estimated_start: queue.pace.estimate(position, now),
            }),
        }
    }

    /// Counts the places in the queues that have changed. The jobs whose place has changed by half.
    pub(super) fn count_places(&mut self) -> Vec<JobRef> {
        let Self { queues, scheduler, requests, .. } = self;
        let mut changed = Vec::new();
        for (key, queue) in queues.iter_mut() {
            if !std::mem::take(&mut queue.places_changed) {
                continue;
            }
            for (index, attempt) in scheduler.line(key).into_iter().enumerate() {
                let Some(request) = requests.get_mut(&attempt.job_uid) else { continue };
                let place = u32::try_from(index + 1).unwrap_or(u32::MAX);
                request.place = Some(place);
                if request.reported_place.is_some_and(|reported| is_other(reported, place)) {
                    changed.push(request.job.clone());
                }
            }
        }
        changed
    }

    /// An attempt holds CPUs from now on, or is at another stage.
    pub(super) fn hold(&mut self, attempt: AttemptId, key: &QueueKey, cpus: Cpus, stage: Stage) {
        self.scheduler.occupy(attempt.clone(), key, cpus);
        // A job that has changed its queue may have been granted CPUs in another one.
        let before = self.ledger_of(self.held.get(&attempt).map_or(key, |held| &held.queue));
        if let Some(ledger) = self.ledger_mut(&before) {
            ledger.granted.remove(&attempt);
        }
        let was_claimed = self.held.get(&attempt).is_some_and(|held| held.is_claimed);
        let is_claimed = was_claimed || matches!(stage, Stage::Claimed { .. });
        self.held.insert(attempt, Held { queue: key.clone(), cpus, stage, is_claimed });
    }

    /// The CPUs that a live attempt holds whose label says so many. The claim is believed first. A label takes no more than a
    /// job may have, and gives nothing back.
    pub(super) fn cpus_of_attempt(&self, attempt: &AttemptId, label: Cpus) -> Cpus {
        let held = self.held.get(attempt);
        if let Some(held) = held.filter(|held| held.is_claimed) {
            return held.cpus;
        }
        let before = held.filter(|held| held.stage == Stage::Live).map_or(0, |held| held.cpus);
        label.min(MAX_PARALLELISM).max(before)
    }

    /// An attempt holds no CPUs any more.
    pub(super) fn release(&mut self, attempt: &AttemptId) {
        self.scheduler.release(attempt);
        self.running.remove(attempt);
        let Some(Held { queue: key, .. }) = self.held.remove(attempt) else { return };
        if let LedgerKey::ClusterQueue(name) = self.ledger_of(&key)
            && let Some(shared) = self.cluster_queues.get_mut(&name)
        {
            shared.ledger.release(attempt);
        }
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.ledger.release(attempt);
            queue.places_changed = true;
        }
    }

    /// An attempt is over. A job that asks for an attempt of the same number is enqueued anew.
    pub(super) fn end(&mut self, attempt: &AttemptId) {
        self.release(attempt);
        if self.requests.get(&attempt.job_uid).is_some_and(|request| request.attempt == *attempt) {
            self.requests.remove(&attempt.job_uid);
        }
    }

    /// The grants that are not claimed on an object are taken back, and their jobs wait again.
    pub(super) fn revert_grants(&mut self, key: &LedgerKey) {
        let Some(ledger) = self.ledger_mut(key) else { return };
        ledger.writing.clear();
        let granted = std::mem::take(&mut ledger.granted);
        granted.into_iter().for_each(|attempt| self.revert(attempt));
    }

    /// The same for one queue.
    pub(super) fn revert_grants_in(&mut self, key: &QueueKey) {
        self.unclaimed_in(key).into_iter().for_each(|attempt| self.revert(attempt));
    }

    fn revert(&mut self, attempt: AttemptId) {
        self.release(&attempt);
        if let Some(request) = self.requests.get(&attempt.job_uid) {
            self.scheduler.wait(attempt, &request.queue, request.waiting.clone());
        }
    }
}
