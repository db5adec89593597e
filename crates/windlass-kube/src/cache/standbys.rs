//! The standby batch Jobs and their pods, as the watches have brought them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use tokio::time::Instant;

use super::watch::Change;
use crate::attempt::standby::{Standby, StandbyPod, read_standby, read_standby_pod};

/// How long a standby that was taken is offered to nobody else here, if the watch does not show it claimed.
const TAKEN: Duration = Duration::from_secs(5);

/// All standbys.
#[derive(Default)]
pub(crate) struct StandbyCache {
    state: Mutex<State>,
    /// Whether the cluster can do what standbys need.
    is_usable: AtomicBool,
}

#[derive(Default)]
struct State {
    /// By UID.
    standbys: HashMap<String, Known>,
    /// The pod of each batch Job, by UID of that.
    pods: HashMap<String, StandbyPod>,
}

struct Known {
    standby: Standby,
    taken_until: Option<Instant>,
    /// Since when it is known here to be claimed.
    claimed_since: Option<Instant>,
}

/// A claimed standby whose function is not known to run.
pub(crate) struct Unanswered {
    /// The standby.
    pub standby: Standby,
    /// How long it is claimed.
    pub waited: Duration,
    /// Its pod, once it is known.
    pub pod: Option<StandbyPod>,
}

impl StandbyCache {
    /// Whether the cluster can do what standbys need.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_usable.load(Ordering::Relaxed)
    }

    /// The cluster can do what standbys need.
    pub(crate) fn set_usable(&self) {
        self.is_usable.store(true, Ordering::Relaxed);
    }

    /// Takes in a change of a batch Job.
    pub(crate) fn batch_job_changed(&self, change: &Change<batch::Job>) {
        match change {
            Change::Applied(object) => {
                let Some(standby) = read_standby(object) else { return };
                let mut state = self.lock();
                let before = state.standbys.get(&standby.uid);
                let since =
                    before.and_then(|known| known.claimed_since).unwrap_or_else(Instant::now);
                let claimed_since = standby.is_claimed.then_some(since);
                let taken_until = before.and_then(|known| known.taken_until);
                let known = Known { claimed_since, taken_until, standby };
                state.standbys.insert(known.standby.uid.clone(), known);
            }
            Change::Deleted(gone) => {
                let mut state = self.lock();
                state.standbys.remove(&gone.uid);
                state.pods.remove(&gone.uid);
            }
            Change::Listed | Change::Failed => {}
        }
    }

    /// Takes in a change of a pod.
    pub(crate) fn pod_changed(&self, change: &Change<core_v1::Pod>) {
        match change {
            Change::Applied(object) => {
                if let Some((batch_job, pod)) = read_standby_pod(object) {
                    self.lock().pods.insert(batch_job, pod);
                }
            }
            Change::Deleted(gone) => self.lock().pods.retain(|_, pod| pod.uid != gone.uid),
            Change::Listed | Change::Failed => {}
        }
    }

    /// The oldest standby of a function that may be claimed, for which `may_claim` holds. It is offered to nobody else
    /// for a while.
    pub(crate) fn take(
        &self,
        (namespace, function): (&str, &str),
        digest: &str,
        may_claim: impl Fn(&Standby) -> bool,
    ) -> Option<Standby> {
        let mut state = self.lock();
        let now = Instant::now();
        let State { standbys, pods } = &mut *state;
        let is_up = |uid: &String| pods.get(uid).is_some_and(|pod| pod.is_up && !pod.is_over);
        let fits = |known: &&mut Known| {
            let Standby { namespace: of, function: name, .. } = &known.standby;
            of == namespace
                && name == function
                && known.standby.digest == digest
                && known.standby.is_idle()
                && known.taken_until.is_none_or(|until| until <= now)
                && is_up(&known.standby.uid)
                && may_claim(&known.standby)
        };
        let oldest = standbys.values_mut().filter(fits).min_by(|a, b| {
            (a.standby.created, &a.standby.uid).cmp(&(b.standby.created, &b.standby.uid))
        })?;
        oldest.taken_until = Some(now + TAKEN);
        Some(oldest.standby.clone())
    }

    /// A standby that was taken is not claimed after all.
    pub(crate) fn put_back(&self, uid: &str) {
        if let Some(known) = self.lock().standbys.get_mut(uid) {
            known.taken_until = None;
        }
    }

    /// All of them, in the order of their creation.
    pub(crate) fn all(&self) -> Vec<Standby> {
        let mut all: Vec<_> =
            self.lock().standbys.values().map(|known| known.standby.clone()).collect();
        all.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
        all
    }

    /// The standby of this UID.
    pub(crate) fn get(&self, uid: &str) -> Option<Standby> {
        self.lock().standbys.get(uid).map(|known| known.standby.clone())
    }

    /// The pod of a standby batch Job, if its watch has shown it.
    pub(crate) fn pod_of(&self, uid: &str) -> Option<StandbyPod> {
        self.lock().pods.get(uid).cloned()
    }

    /// Claimed standbys that are not over, and whose functions are not known to run.
    pub(crate) fn unanswered(&self) -> Vec<Unanswered> {
        let state = self.lock();
        let unanswered = state.standbys.values().filter_map(|known| {
            let waited = known.claimed_since?.elapsed();
            let pod = state.pods.get(&known.standby.uid);
            let is_open =
                !known.standby.is_over && pod.is_none_or(|pod| !pod.is_over && !pod.is_working);
            let standby = known.standby.clone();
            is_open.then(|| Unanswered { standby, waited, pod: pod.cloned() })
        });
        unanswered.collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held has left a map like any other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
