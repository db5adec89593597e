//! Who waits, what is granted and what holds CPUs, for all ComputeQueues of the cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use windlass_core::plan::{AdmissionDecision, is_other};
use windlass_core::status::Place;
use windlass_core::{Capacity, Cpus, Job, JobLimits, QueueSpec, Waiting, admit};

use super::pace::Pace;
use crate::crd::{ComputeQueue, QueueStatus};
use crate::labels::AttemptId;
use crate::version::{is_older, version_of};

/// Namespace and name of a ComputeQueue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Namespace and name of a ComputeJob.
pub(crate) type JobRef = (String, String);

impl QueueKey {
    /// The queue that a job names.
    pub(super) fn of_job(job: &Job) -> Self {
        Self { namespace: job.metadata.namespace.clone(), name: job.spec.queue().to_owned() }
    }

    /// The name by which core's admission knows the queue: unique among all namespaces.
    pub(super) fn scheduler_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// All of it.
pub(super) struct State {
    /// Whether grants may be made: all CPUs in use are counted, and every waiting job is enqueued.
    pub(super) may_grant: bool,
    /// Core's decision who comes next.
    pub(super) scheduler: admit::Admission<AttemptId>,
    pub(super) queues: BTreeMap<QueueKey, QueueState>,
    /// What holds CPUs: the stage of each, which `scheduler` does not know.
    pub(super) held: HashMap<AttemptId, Held>,
    /// The jobs that wait for CPUs or were just granted some, by UID.
    pub(super) requests: HashMap<Arc<str>, CpuRequest>,
}

/// CPUs that an attempt holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) queue: QueueKey,
    pub(super) cpus: Cpus,
    pub(super) stage: Stage,
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
    pub(super) resource_version: String,
    pub(super) uid: String,
    pub(super) status: QueueStatus,
    /// Grants that are not claimed yet.
    pub(super) granted: BTreeSet<AttemptId>,
    /// Grants whose claims are being written. The claim of a grant that is not held any more means nothing: the grant
    /// was given up meanwhile.
    pub(super) writing: BTreeSet<AttemptId>,
    /// Attempts that are over and that the ComputeQueue still names.
    pub(super) settled: BTreeSet<AttemptId>,
    pub(super) pace: Pace,
    /// Whether all attempts that the previous holder of the queue has made were counted.
    pub(super) counted: bool,
    /// Whether places may have changed since they were last counted.
    pub(super) places_changed: bool,
    /// No write before this time: the last one was refused, or another controller has taken the queue.
    pub(super) not_before: Option<Timestamp>,
}

impl QueueState {
    /// A queue that was not known before.
    pub(super) fn new(spec: QueueSpec) -> Self {
        Self {
            spec,
            is_gone: false,
            resource_version: String::new(),
            uid: String::new(),
            status: QueueStatus::default(),
            granted: BTreeSet::new(),
            writing: BTreeSet::new(),
            settled: BTreeSet::new(),
            pace: Pace::default(),
            counted: false,
            places_changed: true,
            not_before: None,
        }
    }

    /// Whether a watch that is late shows a version that is older than what was seen, or written, before. Its claims may
    /// be of attempts that are over and forgotten: they would be held, and used, once more.
    pub(super) fn is_newer_than(&self, shown: &ComputeQueue) -> bool {
        self.uid == shown.metadata.uid.as_deref().unwrap_or_default()
            && is_older(version_of(&shown.metadata), self.resource_version.parse().ok())
    }
}

impl State {
    /// Nothing waits, and nothing is held.
    pub(super) fn new() -> Self {
        Self {
            may_grant: false,
            scheduler: admit::Admission::with_open(Capacity(None), |_| false),
            queues: BTreeMap::new(),
            held: HashMap::new(),
            requests: HashMap::new(),
        }
    }

    /// Whether a claim on a ComputeQueue holds CPUs from now on: it is not known yet, and its attempt may still come.
    pub(super) fn is_new_claim(&self, key: &QueueKey, attempt: &AttemptId) -> bool {
        let held_here = self.held.get(attempt).filter(|held| held.queue == *key);
        let stage = held_here.map(|held| held.stage);
        let means_nothing = self.queues.get(key).is_some_and(|known| {
            let was_given_up = stage.is_none() && known.writing.contains(attempt);
            was_given_up || known.settled.contains(attempt)
        });
        // A grant of ours is claimed when it stands there, also when the answer to its claim was lost.
        stage.is_none_or(|stage| stage == Stage::Granted) && !means_nothing
    }

    /// Queues with grants that are not claimed yet and whose CPUs in use are more than their quota.
    pub(super) fn overcommitted_queues(&self) -> Vec<QueueKey> {
        let is_overcommitted = |(key, queue): &(&QueueKey, &QueueState)| {
            !queue.granted.is_empty()
                && self.scheduler.used_in(&key.scheduler_name()) > queue.spec.quota()
        };
        self.queues.iter().filter(is_overcommitted).map(|(key, _)| key.clone()).collect()
    }

    /// Every queue with the number of jobs that wait in it and the CPUs that its jobs hold.
    pub(super) fn numbers(&self) -> Vec<(QueueKey, usize, Cpus)> {
        let numbers = |key: &QueueKey| {
            let name = key.scheduler_name();
            (key.clone(), self.scheduler.waiting_in(&name), self.scheduler.used_in(&name))
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
            job: (job.metadata.namespace.clone(), job.metadata.name.clone()),
            waiting: waiting.clone(),
            reported_place,
            place: None,
        };
        if let Some(before) = self.requests.insert(Arc::clone(&attempt.job_uid), request) {
            self.scheduler.leave(&before.attempt);
        }
        self.scheduler.wait(attempt.clone(), waiting);
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
        let Self { queues, requests, .. } = self;
        let (Some(queue), Some(request)) = (queues.get(key), requests.get_mut(&attempt.job_uid))
        else {
            return AdmissionDecision::NotAsked;
        };
        request.reported_place = request.place;
        AdmissionDecision::Waiting {
            why: queue.spec.why_jobs_wait(&key.name),
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
            for (index, attempt) in scheduler.line(&key.scheduler_name()).into_iter().enumerate() {
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
        self.scheduler.occupy(attempt.clone(), &key.scheduler_name(), cpus);
        // A job that has changed its queue may have been granted CPUs in another one.
        let before = self.held.get(&attempt).map_or(key, |held| &held.queue);
        if let Some(queue) = self.queues.get_mut(before) {
            queue.granted.remove(&attempt);
        }
        self.held.insert(attempt, Held { queue: key.clone(), cpus, stage });
    }

    /// An attempt holds no CPUs any more.
    pub(super) fn release(&mut self, attempt: &AttemptId) {
        self.scheduler.release(attempt);
        if let Some(held) = self.held.remove(attempt)
            && let Some(queue) = self.queues.get_mut(&held.queue)
        {
            if !queue.granted.remove(attempt) && is_claimed(&queue.status, attempt) {
                queue.settled.insert(attempt.clone());
            }
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

    /// The grants of a queue that are not claimed are taken back, and their jobs wait again.
    pub(super) fn revert_grants(&mut self, key: &QueueKey) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        queue.writing.clear();
        for attempt in std::mem::take(&mut queue.granted) {
            self.release(&attempt);
            if let Some(request) = self.requests.get(&attempt.job_uid) {
                self.scheduler.wait(attempt, request.waiting.clone());
            }
        }
    }
}

/// Whether the status of a ComputeQueue names this attempt.
pub(super) fn is_claimed(status: &QueueStatus, attempt: &AttemptId) -> bool {
    status.claims.iter().any(|claim| claim.attempt() == *attempt)
}
