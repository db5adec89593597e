//! Workers whose function serves and waits for its next job: started ahead, kept between jobs, ended when nobody
//! needs them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::assignment::Program;
use windlass_core::warm::Warm;

use super::worker::Worker;

/// After a function could not be started ahead, it is not tried again for so long, unless its manifest changes.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// A function that is kept warm: whose process may have another's job is decided by this alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WarmKey {
    /// Name of the function.
    pub(crate) function: String,
    /// How its process is started.
    pub(crate) program: Program,
}

/// How a function is kept warm.
pub(crate) struct WarmFunction {
    pub(crate) policy: Warm,
    /// Memory of an attempt with one CPU.
    pub(crate) memory_bytes: u64,
}

/// A worker whose function waits for its next job.
#[derive(Debug)]
pub(crate) struct WarmWorker {
    pub(crate) key: Arc<WarmKey>,
    pub(super) worker: Worker,
    /// Resident bytes of its function.
    pub(crate) memory_bytes: u64,
    pub(crate) age: WarmAge,
}

/// How much a process has behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WarmAge {
    pub(crate) jobs: u32,
    pub(crate) born: Instant,
    /// Since when it waits.
    pub(crate) idle_since: Instant,
}

impl WarmAge {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { jobs: 0, born: now, idle_since: now }
    }
}

/// Those that wait, and how many there are of each function.
pub(super) struct WarmPool {
    functions: HashMap<Arc<WarmKey>, WarmFunction>,
    /// The ones that waited longest are first.
    idle: Vec<WarmWorker>,
    /// Those that wait, work or start, by function.
    alive: HashMap<Arc<WarmKey>, u32>,
    /// Functions that could not be started ahead, and when.
    failed: HashMap<Arc<WarmKey>, Instant>,
    /// Functions for which there was no memory while they waited: none is started ahead any more.
    too_large: HashSet<Arc<WarmKey>>,
    /// Most resident bytes of all that wait.
    memory_bytes: u64,
}

impl WarmPool {
    /// One whose waiting processes may hold so much memory together.
    pub(super) fn new(memory_bytes: u64) -> Self {
        Self {
            functions: HashMap::new(),
            idle: Vec::new(),
            alive: HashMap::new(),
            failed: HashMap::new(),
            too_large: HashSet::new(),
            memory_bytes,
        }
    }

    /// Takes over the functions that are kept warm. Returns those that are not needed any more.
    pub(super) fn set_functions(
        &mut self,
        functions: HashMap<Arc<WarmKey>, WarmFunction>,
    ) -> Vec<WarmWorker> {
        self.functions = functions;
        self.failed.clear();
        self.too_large.clear();
        let (kept, gone) = std::mem::take(&mut self.idle)
            .into_iter()
            .partition(|worker| self.functions.contains_key(&worker.key));
        self.idle = kept;
        gone
    }

    /// The one that waits for a job of this function and has waited least: its memory is most likely in use.
    pub(super) fn take(&mut self, key: &WarmKey) -> Option<WarmWorker> {
        let index = self.idle.iter().rposition(|worker| *worker.key == *key)?;
        Some(self.idle.remove(index))
    }

    /// One process more of a function: it starts.
    pub(super) fn add(&mut self, key: &Arc<WarmKey>) {
        *self.alive.entry(Arc::clone(key)).or_default() += 1;
    }

    /// One less: it has ended, or is being ended.
    pub(super) fn remove(&mut self, key: &WarmKey) {
        if let Some(count) = self.alive.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.alive.remove(key);
            }
        }
    }

    /// It could not be started ahead.
    pub(super) fn note_failure(&mut self, key: Arc<WarmKey>) {
        self.failed.insert(key, Instant::now());
    }

    /// Why a worker may have no further job, if it has had so many or is so old.
    pub(super) fn worn_out(&self, worker: &WarmWorker) -> Option<&'static str> {
        let WarmFunction { policy, .. } = self.functions.get(&worker.key)?;
        let WarmAge { jobs, born, .. } = worker.age;
        if jobs >= policy.max_jobs {
            return Some("it has had as many jobs as maxJobs says");
        }
        (born.elapsed() >= seconds(policy.max_age_seconds))
            .then_some("it is as old as maxAgeSeconds says")
    }

    /// Keeps a worker whose function waits, if it may be kept and is not [worn out](Self::worn_out). Returns those that are
    /// to be ended.
    pub(super) fn keep(&mut self, worker: WarmWorker) -> Vec<WarmWorker> {
        let Some(WarmFunction { policy, .. }) = self.functions.get(&worker.key) else {
            return vec![worker];
        };
        let waiting = self.waiting_of(&worker.key);
        if waiting >= policy.max as usize {
            return vec![worker];
        }
        self.failed.remove(&worker.key);
        self.idle.push(worker);
        self.over_budget()
    }

    /// Those that have waited longest, as many as keep the others within the memory for all.
    fn over_budget(&mut self) -> Vec<WarmWorker> {
        let mut used: u64 = self.idle.iter().map(|worker| worker.memory_bytes).sum();
        let mut ended = Vec::new();
        while used > self.memory_bytes && !self.idle.is_empty() {
            let worker = self.idle.remove(0);
            used -= worker.memory_bytes;
            self.too_large.insert(Arc::clone(&worker.key));
            ended.push(worker);
        }
        ended
    }

    /// Those that have waited for too long, or are too old. At least `min` of each function stay, unless they are too
    /// old.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<WarmWorker> {
        let mut expired = Vec::new();
        let mut index = 0;
        while index < self.idle.len() {
            if self.expiry(&self.idle[index]).is_some_and(|at| at <= now) {
                let worker = self.idle.remove(index);
                expired.push(worker);
            } else {
                index += 1;
            }
        }
        expired
    }

    /// Those whose worker has ended by itself.
    pub(super) fn take_ended(&mut self) -> Vec<WarmWorker> {
        let has_ended =
            |waiting: &mut WarmWorker| !matches!(waiting.worker.child.try_wait(), Ok(None));
        self.idle.extract_if(.., has_ended).collect()
    }

    /// When the next one has waited for too long, or is too old.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.idle.iter().filter_map(|worker| self.expiry(worker)).min()
    }

    fn expiry(&self, worker: &WarmWorker) -> Option<Instant> {
        let WarmFunction { policy, .. } = self.functions.get(&worker.key)?;
        let old = worker.age.born + seconds(policy.max_age_seconds);
        let waiting = self.waiting_of(&worker.key);
        let surplus = waiting > policy.min as usize;
        let idle = surplus.then(|| worker.age.idle_since + seconds(policy.idle_seconds));
        Some(idle.map_or(old, |idle| idle.min(old)))
    }

    fn waiting_of(&self, key: &WarmKey) -> usize {
        self.idle.iter().filter(|idle| *idle.key == *key).count()
    }

    /// A function that is kept warm.
    pub(super) fn function(&self, key: &WarmKey) -> Option<&WarmFunction> {
        self.functions.get(key)
    }

    /// The functions of which one more is to be started ahead.
    pub(super) fn missing(&self) -> Vec<Arc<WarmKey>> {
        let is_missing = |(key, function): &(&Arc<WarmKey>, &WarmFunction)| {
            let failed = self.failed.get(*key).is_some_and(|at| at.elapsed() < FAILURE_PAUSE);
            let is_kept_out = failed || self.too_large.contains(*key);
            !is_kept_out && self.alive.get(*key).copied().unwrap_or(0) < function.policy.min
        };
        self.functions.iter().filter(is_missing).map(|(key, _)| Arc::clone(key)).collect()
    }

    /// All that wait, to be ended. No function is kept warm any more.
    pub(super) fn close(&mut self) -> Vec<WarmWorker> {
        self.functions.clear();
        std::mem::take(&mut self.idle)
    }

    /// How many wait, and their resident bytes.
    pub(super) fn idle(&self) -> (usize, u64) {
        (self.idle.len(), self.idle.iter().map(|worker| worker.memory_bytes).sum())
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(u64::from(number))
}
