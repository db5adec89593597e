//! The traces of all attempts, by job: what the watches of batch Jobs and pods have brought.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use windlass_core::AttemptNumber;
use windlass_core::plan::Attempt;

use crate::attempt::observe::{self, AttemptId, Origin, Trace};
use crate::cache::watch::Change;

/// Objects that are gone and remembered, so that an older list does not bring them back.
const REMEMBERED: usize = 4096;

/// All traces. A look at one job costs what that job has.
#[derive(Default)]
pub struct Traces(Mutex<State>);

#[derive(Default)]
struct State {
    /// By UID of the job.
    jobs: HashMap<Arc<str>, BTreeMap<AttemptNumber, Trace>>,
    /// By UID of a batch Job or pod, what it belongs to.
    origins: HashMap<String, Origin>,
    /// UIDs of what is gone, the latest last.
    gone: VecDeque<String>,
    is_gone: HashSet<String>,
    /// UIDs that a list beside the watches has told and no watch has: what was deleted before a watch began
    /// again is never told to be gone.
    unconfirmed: HashSet<String>,
}

/// What a change means for one attempt.
#[derive(Clone, Debug)]
pub struct Touched {
    /// Whose it is.
    pub origin: Origin,
    /// Whether processes of it may run.
    pub is_live: bool,
}

impl Traces {
    /// Takes a change of a batch Job. `None` when it is a stranger's, or nothing of one.
    pub fn carrier_changed(&self, change: &Change<batch::Job>) -> Option<Touched> {
        match change {
            Change::Applied(object) => {
                let (origin, carrier) = observe::carrier(object)?;
                self.lock().touch(object.uid()?, origin, |trace| trace.carrier = Some(carrier))
            }
            Change::Deleted(gone) => self.lock().gone(&gone.uid),
            Change::Listed | Change::Failed => None,
        }
    }

    /// Takes a change of a pod.
    pub fn body_changed(&self, change: &Change<core_v1::Pod>, now: Timestamp) -> Option<Touched> {
        match change {
            Change::Applied(pod) => {
                let uid = pod.uid()?;
                let (origin, body) = observe::body(pod, now)?;
                self.lock().touch(uid.clone(), origin, |trace| {
                    trace.pod = Some(body.name().to_owned());
                    trace.node = body.node().map(str::to_owned).or(trace.node.take());
                    trace.bodies.insert(uid, body);
                })
            }
            Change::Deleted(gone) => self.lock().gone(&gone.uid),
            Change::Listed | Change::Failed => None,
        }
    }

    /// Whether a list that was asked for beside the watches tells something new by this object. What a
    /// watch has told of it, or of its end, is newer or will be followed by what is.
    pub fn is_news<K: kube::Resource>(&self, object: &K) -> bool {
        let state = self.lock();
        let known = |uid: &String| state.origins.contains_key(uid) || state.is_gone.contains(uid);
        object.meta().uid.as_ref().is_some_and(|uid| !known(uid))
    }

    /// This object is told by a list beside the watches: until a watch tells it, too, it is in doubt.
    pub(crate) fn doubt(&self, uid: String) {
        self.lock().unconfirmed.insert(uid);
    }

    /// A watch has told this object.
    pub(crate) fn confirm(&self, uid: &str) {
        let mut state = self.lock();
        if !state.unconfirmed.is_empty() {
            state.unconfirmed.remove(uid);
        }
    }

    /// Whether there is a trace of this object.
    fn knows(&self, uid: &str) -> bool {
        self.lock().origins.contains_key(uid)
    }

    /// What no watch has told and the API server, asked just now, has not: it is gone.
    pub(crate) fn forget_unconfirmed(&self, attempt: &AttemptId, found: &Self) -> Vec<Touched> {
        let mut state = self.lock();
        let of = |uid: &&String| state.origins.get(*uid).is_some_and(|o| o.attempt == *attempt);
        let gone = state.unconfirmed.iter().filter(of).filter(|uid| !found.knows(uid));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().filter_map(|uid| state.gone(uid)).collect()
    }

    /// Pods whose batch Jobs have left them: what they are of, their UIDs and names.
    pub(crate) fn orphans(&self) -> Vec<(Origin, String, String)> {
        let state = self.lock();
        let bodies = state.jobs.values().flat_map(BTreeMap::values).flat_map(|t| &t.bodies);
        let orphans = bodies.filter(|(_, body)| body.is_orphan() && body.is_to_be_deleted());
        let named = orphans.filter_map(|(uid, body)| {
            Some((state.origins.get(uid)?.clone(), uid.clone(), body.name().to_owned()))
        });
        named.collect()
    }

    /// The attempts of a job that left a trace.
    pub fn attempts(&self, job_uid: &str, now: Timestamp) -> Vec<Attempt> {
        let state = self.lock();
        state.jobs.get(job_uid).map_or_else(Vec::new, |traces| observe::attempts(traces, now))
    }

    /// The trace of an attempt, if there is one.
    pub fn trace(&self, job_uid: &str, number: AttemptNumber) -> Option<Trace> {
        self.lock().jobs.get(job_uid)?.get(&number).cloned()
    }

    /// Attempts of which nothing can be seen, and whose pods nobody has seen, or of which no watch has told:
    /// whether they are over is to be asked at the API server.
    pub fn in_doubt(&self) -> Vec<AttemptId> {
        let state = self.lock();
        let all = state.jobs.iter().flat_map(|(job_uid, traces)| {
            traces
                .iter()
                .filter(|(_, trace)| trace.is_invisible())
                .map(|(number, _)| AttemptId { job_uid: Arc::clone(job_uid), number: *number })
        });
        let listed = state.unconfirmed.iter().filter_map(|uid| state.origins.get(uid));
        all.chain(listed.map(|origin| origin.attempt.clone())).collect()
    }

    /// Nothing of this attempt is there: the API server said so. False when a watch has shown it since.
    pub fn is_over(&self, attempt: &AttemptId) -> bool {
        let mut state = self.lock();
        let trace = state.jobs.get(&attempt.job_uid).and_then(|traces| traces.get(&attempt.number));
        let is_over = trace.is_none_or(Trace::is_invisible);
        if is_over {
            state.forget(attempt);
        }
        is_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic in between left behind is a map of traces like any other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn touch(
        &mut self,
        uid: String,
        origin: Origin,
        change: impl FnOnce(&mut Trace),
    ) -> Option<Touched> {
        let AttemptId { job_uid, number } = &origin.attempt;
        let trace = self.jobs.entry(Arc::clone(job_uid)).or_default().entry(*number).or_default();
        change(trace);
        let is_live = trace.is_live();
        if trace.is_invisible() {
            self.origins.remove(&uid);
            if !is_live {
                self.forget(&origin.attempt);
            }
        } else {
            self.origins.insert(uid, origin.clone());
        }
        Some(Touched { origin, is_live })
    }

    fn gone(&mut self, uid: &str) -> Option<Touched> {
        if self.is_gone.insert(uid.to_owned()) {
            self.gone.push_back(uid.to_owned());
        }
        if self.gone.len() > REMEMBERED
            && let Some(oldest) = self.gone.pop_front()
        {
            self.is_gone.remove(&oldest);
        }
        self.unconfirmed.remove(uid);
        let origin = self.origins.remove(uid)?;
        let touched = self.touch(uid.to_owned(), origin, |trace| {
            trace.carrier.take_if(|carrier| carrier.uid() == uid);
            trace.bodies.remove(uid);
        });
        self.origins.remove(uid);
        touched
    }

    fn forget(&mut self, attempt: &AttemptId) {
        if let Some(traces) = self.jobs.get_mut(&attempt.job_uid) {
            traces.remove(&attempt.number);
            if traces.is_empty() {
                self.jobs.remove(&attempt.job_uid);
            }
        }
    }
}

#[cfg(test)]
mod tests;
