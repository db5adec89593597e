//! Who may start, for jobs whose queue is a ComputeQueue. Others pass straight through: their place
//! is found by the Kubernetes scheduler.
//!
//! Core's line decides; this keeps it in step with the world. CPUs in use are those of the attempts
//! that live in the caches. A grant is worth nothing until it is [claimed](crate::controller::claims) on the
//! ComputeQueue by compare-and-set, so that two controllers never grant the same CPUs; from then on
//! it counts until the attempt was seen and is over.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tracing::debug;
use windlass_core::plan::{AdmissionDecision, is_other};
use windlass_core::status::Place;
use windlass_core::{Capacity, Cpus, Job, JobLimits, QueueSpec, Share, Waiting, admit};

use crate::attempt::observe::{AttemptId, Origin};
use crate::cache::attempts::Touched;
use crate::crd::{Claim, ComputeQueue, QueueStatus};

/// Namespace and name of a ComputeQueue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Namespace and name of a ComputeJob.
pub type JobRef = (String, String);

/// The line, and the way to wake the jobs that got a grant.
pub struct Admission {
    state: Mutex<State>,
    wake: mpsc::UnboundedSender<JobRef>,
    /// There are grants to be claimed.
    pub(crate) claims_wanted: Notify,
    /// Who claims: this process, over all time.
    identity: String,
}

struct State {
    /// Whether all that is in use is counted and every job that waits has joined.
    open: bool,
    line: admit::Admission<AttemptId>,
    queues: BTreeMap<QueueKey, QueueState>,
    /// What holds CPUs, beside what `line` knows of it.
    held: HashMap<AttemptId, Held>,
    /// The jobs that have asked, by UID.
    asking: HashMap<Arc<str>, Asking>,
}

#[derive(Clone, Debug)]
struct Held {
    queue: QueueKey,
    cpus: Cpus,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The line has granted it; nobody may use it yet.
    Granted,
    /// It is written down on the ComputeQueue, since then; its attempt was not seen yet.
    Claimed { since: Timestamp },
    /// Its attempt was seen and lives.
    Live,
}

struct Asking {
    attempt: AttemptId,
    queue: QueueKey,
    job: JobRef,
    waiting: Waiting,
    /// The place that was last answered.
    told: Option<u32>,
    /// The place at the last count.
    place: Option<u32>,
}

struct QueueState {
    spec: QueueSpec,
    resource_version: String,
    uid: String,
    status: QueueStatus,
    /// Grants to be claimed.
    granted: BTreeSet<AttemptId>,
    /// Grants whose claim is being written. One that is not held any more was given up meanwhile, and its
    /// claim means nothing.
    writing: BTreeSet<AttemptId>,
    /// Attempts that are over and that the object still names.
    settled: BTreeSet<AttemptId>,
    pace: Pace,
    /// Whether all that the holder before this process has made was counted.
    counted: bool,
    /// Whether places may have changed since they were counted.
    moved: bool,
    /// No write before this time: the last one was refused.
    not_before: Option<Timestamp>,
}

/// At what rate the jobs of a queue start.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    last: Option<Timestamp>,
    /// Mean time between two starts, in seconds: each counts a tenth.
    seconds: Option<f64>,
}

impl Pace {
    fn start(&mut self, now: Timestamp) {
        if let Some(last) = self.last {
            let taken = now.duration_since(last).as_secs_f64().max(0.0);
            self.seconds = Some(self.seconds.map_or(taken, |mean| 0.9 * mean + 0.1 * taken));
        }
        self.last = Some(now);
    }

    fn estimate(&self, position: u32, now: Timestamp) -> Option<Timestamp> {
        let seconds = (self.seconds? * f64::from(position)).min(1e9);
        let whole = SignedDuration::from_secs(seconds.ceil() as i64);
        now.checked_add(whole).ok()
    }
}

/// Most claims of a queue that are written and whose attempts were not seen yet: far below what the
/// definition of a ComputeQueue takes, and so few that the object stays small.
const MOST_CLAIMS: usize = 500;

/// Shortest time that a queue is left to another controller, in milliseconds; the longest is twice as long.
const RETAKE_MILLISECONDS: u128 = 500;

/// A write of a ComputeQueue's status that is due.
#[derive(Clone, Debug)]
pub(crate) struct ClaimWrite {
    pub(crate) queue: QueueKey,
    /// UID of the queue.
    pub(crate) uid: String,
    /// The version that it may replace.
    pub(crate) resource_version: String,
    /// Whether this process made the last claim, so that it knows of every attempt of this queue; or there is
    /// no claim in it.
    pub(crate) may_replace: bool,
    pub(crate) status: QueueStatus,
    /// The grants that are claimed with it.
    granted: Vec<AttemptId>,
}

impl Admission {
    /// Grants nothing before it is [opened](Self::open). Jobs that are granted CPUs, or whose place has
    /// changed, are sent to `wake`.
    pub fn new(identity: String, wake: mpsc::UnboundedSender<JobRef>) -> Self {
        let state = State {
            open: false,
            line: admit::Admission::new(Capacity(None)),
            queues: BTreeMap::new(),
            held: HashMap::new(),
            asking: HashMap::new(),
        };
        Self { state: Mutex::new(state), wake, claims_wanted: Notify::new(), identity }
    }

    /// Everything in use is counted, and whoever waits has joined: grants may begin.
    pub fn open(&self, now: Timestamp) {
        let mut state = self.lock();
        state.open = true;
        self.pump(&mut state, now);
    }

    /// This process does not lead any more: it grants nothing, and gives back what is not claimed.
    pub fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        for key in state.queues.keys().cloned().collect::<Vec<_>>() {
            state.give_back(&key);
        }
    }

    /// A ComputeQueue is there, or has changed. Whether it was not known before. `was_over` says of an
    /// attempt whether it was seen to have ended: an old claim of it means nothing.
    pub fn queue_changed(
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
        let spec = &queue.spec.0;
        let share = Share { quota: Some(spec.cpus), weight: spec.weight };
        state.line.set_queue(&key.in_line(), Some(share));
        let status = queue.status.clone().unwrap_or_default();
        // Claims of another controller whose attempts nobody here has seen yet.
        for claim in &status.claims {
            let attempt = claim.attempt();
            let held = state.held.get(&attempt).map(|held| held.stage);
            let means_nothing = |known: &QueueState| {
                let was_given_up = held.is_none() && known.writing.contains(&attempt);
                was_given_up || known.settled.contains(&attempt)
            };
            // A grant of ours is claimed when it stands here, also when the answer to its claim was lost.
            if held.is_some_and(|stage| stage != Stage::Granted)
                || state.queues.get(&key).is_some_and(means_nothing)
                || was_over(&attempt)
            {
                continue;
            }
            // One of ours, when the answer to its claim was lost; or whoever acts first makes it.
            if let Some(asking) = state.asking.get(&attempt.job_uid)
                && asking.attempt == attempt
            {
                self.wake(asking.job.clone());
            }
            state.hold(attempt, &key, claim.cpus, Stage::Claimed { since: now });
        }
        let is_new = !state.queues.contains_key(&key);
        let known = state.queues.entry(key).or_insert_with(|| QueueState {
            spec: spec.clone(),
            resource_version: String::new(),
            uid: String::new(),
            status: QueueStatus::default(),
            granted: BTreeSet::new(),
            writing: BTreeSet::new(),
            settled: BTreeSet::new(),
            pace: Pace::default(),
            counted: false,
            moved: true,
            not_before: None,
        });
        known.spec = spec.clone();
        known.resource_version = queue.metadata.resource_version.clone().unwrap_or_default();
        known.uid = queue.metadata.uid.clone().unwrap_or_default();
        let holder = |status: &QueueStatus| status.holder.as_ref() == Some(&self.identity);
        if holder(&known.status) && !holder(&status) {
            // Another acts too. It gets some time for its claims, or each would undo the other's for ever.
            known.not_before = Some(now + until_retaken());
        }
        known.counted &= holder(&status);
        known.settled.retain(|attempt| is_claimed(&status, attempt));
        known.status = status;
        known.moved = true;
        self.pump(&mut state, now);
        is_new
    }

    /// A ComputeQueue of this UID is gone: whoever waited in it passes straight through.
    pub fn queue_deleted(&self, key: &QueueKey, uid: &str) {
        let mut state = self.lock();
        if state.queues.get(key).is_none_or(|known| known.uid != uid) {
            return;
        }
        state.give_back(key);
        state.queues.remove(key);
        state.line.set_queue(&key.in_line(), None);
        let waited: Vec<_> = state
            .asking
            .values()
            .filter(|asking| asking.queue == *key)
            .map(|a| a.attempt.clone())
            .collect();
        for attempt in waited {
            state.line.leave(&attempt);
            if let Some(asking) = state.asking.remove(&attempt.job_uid) {
                self.wake(asking.job);
            }
        }
    }

    /// A trace of an attempt has changed: its CPUs are in use, or free.
    pub fn attempt_changed(&self, touched: &Touched, now: Timestamp) {
        let Origin { attempt, namespace, queue, cpus, .. } = &touched.origin;
        let key = QueueKey { namespace: namespace.clone(), name: queue.clone() };
        let mut state = self.lock();
        if touched.is_live {
            let known = state.held.get(attempt);
            if known.is_none_or(|held| held.stage != Stage::Live) {
                state.hold(attempt.clone(), &key, *cpus, Stage::Live);
                state.asking.remove(&attempt.job_uid);
                // There is room for another claim.
                if state.queues.get(&key).is_some_and(|queue| !queue.granted.is_empty()) {
                    self.claims_wanted.notify_one();
                }
            }
        } else if state.held.get(attempt).is_some_and(|held| held.stage != Stage::Granted) {
            state.end(attempt);
            self.pump(&mut state, now);
        }
    }

    /// Whether the queue of this job is a ComputeQueue.
    pub(crate) fn has_queue(&self, job: &Job) -> bool {
        self.lock().queues.contains_key(&QueueKey::of(job))
    }

    /// Answers a job that needs CPUs for this attempt now.
    pub fn ask(
        &self,
        job: &Job,
        attempt: AttemptId,
        limits: &JobLimits,
        now: Timestamp,
    ) -> AdmissionDecision {
        let key = QueueKey::of(job);
        let mut state = self.lock();
        if !state.queues.contains_key(&key) {
            return AdmissionDecision::Granted(limits.parallelism);
        }
        if !state.held.contains_key(&attempt) {
            state.join(job, attempt.clone(), &key, limits, now);
            self.pump(&mut state, now);
        }
        match state.held.get(&attempt) {
            Some(held) if held.stage == Stage::Granted => return AdmissionDecision::NotAsked,
            Some(held) => return AdmissionDecision::Granted(held.cpus),
            None => {}
        }
        let State { queues, asking, .. } = &mut *state;
        let (Some(queue), Some(asking)) = (queues.get(&key), asking.get_mut(&attempt.job_uid))
        else {
            return AdmissionDecision::NotAsked;
        };
        asking.told = asking.place;
        AdmissionDecision::Waiting {
            why: format!(
                "queue {:?} has {} CPUs and none to spare for this job now",
                key.name, queue.spec.cpus
            ),
            place: asking.place.map(|position| Place {
                position,
                estimated_start: queue.pace.estimate(position, now),
            }),
        }
    }

    /// A job that waits joins the line without being answered: before the line is opened.
    pub fn join(&self, job: &Job, attempt: AttemptId, limits: &JobLimits, now: Timestamp) {
        let key = QueueKey::of(job);
        let mut state = self.lock();
        if state.queues.contains_key(&key) && !state.held.contains_key(&attempt) {
            state.join(job, attempt, &key, limits, now);
        }
    }

    /// A job wants no CPUs any more: it has ended, is cancelled, cannot run or is gone. What it was
    /// granted is free, unless an attempt may have been made of it.
    pub fn leave(&self, job_uid: &str, now: Timestamp) {
        let mut state = self.lock();
        let Some(asking) = state.asking.remove(job_uid) else { return };
        let left = state.line.leave(&asking.attempt);
        let unused = (state.held.get(&asking.attempt)).is_some_and(|h| h.stage == Stage::Granted);
        if unused {
            state.release(&asking.attempt);
        }
        if let Some(queue) = state.queues.get_mut(&asking.queue).filter(|_| left || unused) {
            queue.moved = true;
        }
        self.pump(&mut state, now);
    }

    /// Claims whose attempts were not seen yet, and since when they are known.
    pub fn unseen_claims(&self) -> Vec<(AttemptId, Timestamp)> {
        let state = self.lock();
        let since = |held: &Held| match held.stage {
            Stage::Claimed { since } => Some(since),
            Stage::Granted | Stage::Live => None,
        };
        state.held.iter().filter_map(|(id, held)| Some((id.clone(), since(held)?))).collect()
    }

    /// Nothing of an attempt is there and nobody will make it.
    pub fn is_over(&self, attempt: &AttemptId, now: Timestamp) {
        let mut state = self.lock();
        state.end(attempt);
        self.pump(&mut state, now);
    }

    /// The queue of which a write is due: grants to be claimed; with `numbers` also what is told of it
    /// that has changed by half.
    pub(crate) fn due(&self, numbers: bool, now: Timestamp) -> Option<ClaimWrite> {
        let mut state = self.lock();
        if !state.open {
            return None;
        }
        self.reconsider(&mut state, now);
        let write = self.next_write(&state, numbers, now)?;
        if let Some(queue) = state.queues.get_mut(&write.queue) {
            queue.writing = write.granted.iter().cloned().collect();
        }
        Some(write)
    }

    fn next_write(&self, state: &State, numbers: bool, now: Timestamp) -> Option<ClaimWrite> {
        state.queues.iter().find_map(|(key, queue)| {
            let (waiting, used) =
                (state.line.waiting_in(&key.in_line()), state.line.used_in(&key.in_line()));
            let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
            let told = queue.status.waiting;
            let full = |n: u32| n >= queue.spec.max_queued;
            let other = is_other(told, waiting)
                || full(told) != full(waiting)
                || is_other(queue.status.granted, used);
            let tells = numbers && other;
            let waits = queue.not_before.is_some_and(|not_before| now < not_before);
            if waits || (queue.granted.is_empty() && !tells) {
                return None;
            }
            let ours = || state.held.iter().filter(|(_, held)| held.queue == *key);
            let claimed = ours().filter(|(_, held)| matches!(held.stage, Stage::Claimed { .. }));
            // The others are claimed once these are seen.
            let room = MOST_CLAIMS.saturating_sub(claimed.count());
            let granted: BTreeSet<_> = queue.granted.iter().take(room).cloned().collect();
            if granted.is_empty() && !tells {
                return None;
            }
            let mut claims: Vec<_> = ours()
                .filter(|(id, held)| match held.stage {
                    Stage::Claimed { .. } => true,
                    Stage::Granted => granted.contains(*id),
                    Stage::Live => false,
                })
                .map(|(id, held)| Claim::new(id, held.cpus))
                .collect();
            claims.sort_by(|a, b| (&a.job_uid, a.attempt).cmp(&(&b.job_uid, b.attempt)));
            let holder = Some(self.identity.clone());
            let is_ours = queue.counted && queue.status.holder == holder;
            // Numbers alone are anybody's to tell: taking the queue over for them, two would go on for ever.
            let only_tells = granted.is_empty() && !is_ours;
            let status = if only_tells {
                QueueStatus { granted: used, waiting, ..queue.status.clone() }
            } else {
                QueueStatus { holder, claims, granted: used, waiting }
            };
            Some(ClaimWrite {
                queue: key.clone(),
                uid: queue.uid.clone(),
                resource_version: queue.resource_version.clone(),
                may_replace: is_ours || only_tells,
                status,
                granted: granted.into_iter().collect(),
            })
        })
    }

    /// A claim was written: its grants may be used.
    pub(crate) fn claimed(&self, write: &ClaimWrite, now: Timestamp) {
        let mut state = self.lock();
        let State { queues, held, asking, .. } = &mut *state;
        let Some(queue) = queues.get_mut(&write.queue) else { return };
        queue.writing.clear();
        for attempt in &write.granted {
            queue.granted.remove(attempt);
            let Some(held) = held.get_mut(attempt) else {
                // Its job has left meanwhile.
                queue.settled.insert(attempt.clone());
                continue;
            };
            if held.stage != Stage::Granted {
                continue;
            }
            held.stage = Stage::Claimed { since: now };
            debug!(job = %attempt.job_uid, attempt = attempt.number, cpus = held.cpus, "claimed");
            if let Some(asking) = asking.get(&attempt.job_uid) {
                self.wake(asking.job.clone());
            }
        }
    }

    /// A claim was not written, or may not be made before what is in use was counted again: its grants
    /// go back into the line.
    pub(crate) fn give_back(&self, key: &QueueKey) {
        self.lock().give_back(key);
    }

    /// All attempts of a queue that this process has taken were counted.
    pub(crate) fn was_counted(&self, key: &QueueKey) {
        if let Some(queue) = self.lock().queues.get_mut(key) {
            queue.counted = true;
        }
    }

    /// Writes nothing of a queue before this time.
    pub(crate) fn delay(&self, key: &QueueKey, not_before: Timestamp) {
        if let Some(queue) = self.lock().queues.get_mut(key) {
            queue.not_before = Some(not_before);
        }
    }

    /// Grants again what was given back.
    pub(crate) fn again(&self, now: Timestamp) {
        let mut state = self.lock();
        self.pump(&mut state, now);
    }

    /// Counts the places of the queues in which something has moved, and wakes the jobs whose place is
    /// to be told.
    pub fn count_places(&self) {
        let mut state = self.lock();
        let State { queues, line, asking, .. } = &mut *state;
        for (key, queue) in queues.iter_mut() {
            if !std::mem::take(&mut queue.moved) {
                continue;
            }
            for (index, attempt) in line.line(&key.in_line()).into_iter().enumerate() {
                let Some(asking) = asking.get_mut(&attempt.job_uid) else { continue };
                let place = u32::try_from(index + 1).unwrap_or(u32::MAX);
                asking.place = Some(place);
                if asking.told.is_some_and(|told| is_other(told, place)) {
                    self.wake(asking.job.clone());
                }
            }
        }
    }

    /// CPUs that attempts hold, in whatever queue.
    pub(crate) fn cpus_in_use(&self) -> u64 {
        self.lock().held.values().map(|held| u64::from(held.cpus)).sum()
    }

    /// Every queue with the number of jobs that wait in it and the CPUs that its jobs hold.
    pub fn queues(&self) -> Vec<(QueueKey, usize, Cpus)> {
        let state = self.lock();
        let line = &state.line;
        let numbers = |key: &QueueKey| {
            let name = key.in_line();
            (key.clone(), line.waiting_in(&name), line.used_in(&name))
        };
        state.queues.keys().map(numbers).collect()
    }

    /// Grants that are not claimed yet and do not fit any more go back into the line: what another
    /// controller has claimed or made was seen since, or a quota was lowered.
    fn reconsider(&self, state: &mut State, now: Timestamp) {
        let does_not_fit = |(key, queue): &(&QueueKey, &QueueState)| {
            !queue.granted.is_empty() && state.line.used_in(&key.in_line()) > queue.spec.cpus
        };
        let over: Vec<_> =
            state.queues.iter().filter(does_not_fit).map(|(key, _)| key.clone()).collect();
        for key in &over {
            state.give_back(key);
        }
        if !over.is_empty() {
            self.pump(state, now);
        }
    }

    /// Lets the line decide as long as there is somebody who may start.
    fn pump(&self, state: &mut State, now: Timestamp) {
        if !state.open {
            return;
        }
        let mut any = false;
        while let Some(grant) = state.line.next(now) {
            let Some(asking) = state.asking.get(&grant.id.job_uid) else {
                state.line.release(&grant.id);
                continue;
            };
            let held =
                Held { queue: asking.queue.clone(), cpus: grant.cpus, stage: Stage::Granted };
            if let Some(queue) = state.queues.get_mut(&held.queue) {
                queue.granted.insert(grant.id.clone());
                queue.pace.start(now);
                queue.moved = true;
            }
            state.held.insert(grant.id, held);
            any = true;
        }
        if any {
            self.claims_wanted.notify_one();
        }
    }

    /// Has a job looked at.
    pub(crate) fn wake(&self, job: JobRef) {
        if self.wake.send(job).is_err() {
            debug!("the controller has stopped");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic in between left behind is a line like any other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn join(
        &mut self,
        job: &Job,
        attempt: AttemptId,
        key: &QueueKey,
        limits: &JobLimits,
        now: Timestamp,
    ) {
        let waiting = Waiting {
            queue: key.in_line(),
            priority: job.spec.priority,
            since: job.metadata.creation_timestamp.unwrap_or(now),
            min: limits.min_parallelism,
            max: limits.parallelism,
        };
        let known = self.asking.get(&attempt.job_uid);
        if known.is_some_and(|known| known.attempt == attempt && known.waiting == waiting) {
            return;
        }
        let told = job.status.waiting.as_ref().map(|place| place.position);
        let asking = Asking {
            attempt: attempt.clone(),
            queue: key.clone(),
            job: (job.metadata.namespace.clone(), job.metadata.name.clone()),
            waiting: waiting.clone(),
            told,
            place: None,
        };
        if let Some(before) = self.asking.insert(Arc::clone(&attempt.job_uid), asking) {
            self.line.leave(&before.attempt);
        }
        self.line.wait(attempt, waiting);
        if let Some(queue) = self.queues.get_mut(key) {
            queue.moved = true;
        }
    }

    fn hold(&mut self, attempt: AttemptId, key: &QueueKey, cpus: Cpus, stage: Stage) {
        self.line.occupy(attempt.clone(), &key.in_line(), cpus);
        if let Some(queue) = self.queues.get_mut(key) {
            queue.granted.remove(&attempt);
        }
        self.held.insert(attempt, Held { queue: key.clone(), cpus, stage });
    }

    fn release(&mut self, attempt: &AttemptId) {
        self.line.release(attempt);
        if let Some(held) = self.held.remove(attempt)
            && let Some(queue) = self.queues.get_mut(&held.queue)
        {
            if !queue.granted.remove(attempt) && is_claimed(&queue.status, attempt) {
                queue.settled.insert(attempt.clone());
            }
            queue.moved = true;
        }
    }

    /// An attempt is over. Should the job ask for one of the same number, it joins the line anew.
    fn end(&mut self, attempt: &AttemptId) {
        self.release(attempt);
        if self.asking.get(&attempt.job_uid).is_some_and(|asking| asking.attempt == *attempt) {
            self.asking.remove(&attempt.job_uid);
        }
    }

    /// Grants of a queue that are not claimed go back into the line.
    fn give_back(&mut self, key: &QueueKey) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        queue.writing.clear();
        for attempt in std::mem::take(&mut queue.granted) {
            self.release(&attempt);
            if let Some(asking) = self.asking.get(&attempt.job_uid) {
                self.line.wait(attempt, asking.waiting.clone());
            }
        }
    }
}

/// How long a queue is left to another controller that has taken it: of two each time another one waits
/// longer.
fn until_retaken() -> SignedDuration {
    let jitter = uuid::Uuid::new_v4().as_u128() % RETAKE_MILLISECONDS;
    SignedDuration::from_millis((RETAKE_MILLISECONDS + jitter) as i64)
}

fn is_claimed(status: &QueueStatus, attempt: &AttemptId) -> bool {
    status.claims.iter().any(|claim| claim.attempt() == *attempt)
}

impl QueueKey {
    /// The queue that a job names.
    fn of(job: &Job) -> Self {
        Self { namespace: job.metadata.namespace.clone(), name: job.spec.queue().to_owned() }
    }

    /// The queue's name among those of all namespaces.
    fn in_line(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
