//! Who may start, for jobs whose queue is a ComputeQueue. Others pass straight through: their place
//! is found by the Kubernetes scheduler.
//!
//! CPUs in use are derived from the attempts that live in the caches. Between a grant and the moment
//! the cache shows its batch Job, the grant is kept here, so that it is not given twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use futures::FutureExt as _;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tracing::debug;
use windlass_core::plan::{Admission as Answer, Seen, needs_cpus};
use windlass_core::{Capacity, Cpus, Job, Limits, Queue, Share, Waiting, admit, validate};

use crate::cache::{Cache, in_queue};
use crate::crd::ComputeJob;
use crate::observe;

/// The grants that no cache shows yet, and the way to wake the jobs that got one.
pub struct Admission {
    cache: Cache,
    /// By UID of the job.
    granted: Mutex<HashMap<String, Granted>>,
    wake: mpsc::UnboundedSender<ObjectRef<ComputeJob>>,
}

#[derive(Clone, Debug)]
struct Granted {
    namespace: String,
    queue: String,
    cpus: Cpus,
}

impl Admission {
    /// Over these caches. Jobs that are granted CPUs while another job asked are sent to `wake`.
    pub fn new(cache: Cache, wake: mpsc::UnboundedSender<ObjectRef<ComputeJob>>) -> Self {
        Self { cache, granted: Mutex::default(), wake }
    }

    /// Answers a job that needs CPUs now.
    pub fn ask(&self, job: &Job, limits: &Limits, now: Timestamp) -> Answer {
        let (namespace, queue) = (job.metadata.namespace.as_str(), job.spec.queue());
        let Some(object) = self.cache.queue(namespace, queue) else {
            return Answer::Granted(limits.parallelism);
        };
        self.decide(namespace, &object, Some((job, limits)), now);
        match self.lock().get(&job.metadata.uid) {
            Some(granted) => Answer::Granted(granted.cpus),
            None => Answer::Waiting(format!(
                "queue {queue:?} has {} CPUs and none to spare for this job now",
                object.spec.cpus
            )),
        }
    }

    /// Something of this queue has ended or changed: grants what has become free. Nothing before all
    /// caches have filled: what they do not show yet is in use all the same.
    pub fn refresh(&self, namespace: &str, queue: &str, now: Timestamp) {
        if !matches!(self.cache.ready().now_or_never(), Some(Ok(()))) {
            return;
        }
        if let Some(object) = self.cache.queue(namespace, queue) {
            self.decide(namespace, &object, None, now);
        }
    }

    fn decide(
        &self,
        namespace: &str,
        queue: &Queue,
        asking: Option<(&Job, &Limits)>,
        now: Timestamp,
    ) {
        let name = queue.metadata.name.as_str();
        let mut granted = self.lock();
        let live = self.live(namespace, name);
        let jobs = self.waiting(namespace, name, asking, now);
        // A grant ends when the cache shows its attempt, or the job does not want it any more.
        granted.retain(|uid, grant| {
            let mine = grant.namespace == namespace && grant.queue == name;
            !mine || jobs.contains_key(uid)
        });
        let promised: Cpus = granted
            .values()
            .filter(|grant| grant.namespace == namespace && grant.queue == name)
            .map(|grant| grant.cpus)
            .sum();
        let mut line = admit::Admission::new(Capacity(None));
        line.set_queue(
            name,
            Some(Share { quota: Some(queue.spec.cpus), weight: queue.spec.weight }),
        );
        // What is in use belongs to jobs that do not wait here: no UID is needed to tell them apart.
        line.occupy(String::new(), name, live.saturating_add(promised));
        for (uid, (_, waiting)) in &jobs {
            if !granted.contains_key(uid) {
                line.wait(uid.clone(), waiting.clone());
            }
        }
        while let Some(grant) = line.next(now) {
            let Some((job, _)) = jobs.get(&grant.id) else { continue };
            debug!(job = %job.key(), cpus = grant.cpus, queue = name, "granted");
            granted.insert(
                grant.id.clone(),
                Granted {
                    namespace: namespace.to_owned(),
                    queue: name.to_owned(),
                    cpus: grant.cpus,
                },
            );
            if asking.is_none_or(|(asking, _)| asking.metadata.uid != grant.id) {
                let object = ObjectRef::new(&job.metadata.name).within(&job.metadata.namespace);
                if self.wake.send(object).is_err() {
                    debug!("the controller has stopped");
                }
            }
        }
    }

    /// CPUs of the attempts that may run, each counted once whether its batch Job, its pod or both
    /// are there.
    fn live(&self, namespace: &str, queue: &str) -> Cpus {
        let mut attempts: BTreeMap<String, Cpus> = BTreeMap::new();
        let ended = |pod: &k8s_openapi::api::core::v1::Pod| !observe::may_run(pod);
        for carrier in self.cache.carriers.state_filter(|c| in_queue(c, namespace, queue)) {
            let finished = carrier.status.as_ref().is_some_and(|status| {
                status.completion_time.is_some()
                    || status
                        .conditions
                        .iter()
                        .flatten()
                        .any(|c| c.type_ == "Failed" && c.status == "True")
            });
            if !finished {
                attempts.insert(key(carrier.as_ref()), observe::cpus(carrier.as_ref()));
            }
        }
        for pod in self.cache.pods.state_filter(|pod| in_queue(pod, namespace, queue)) {
            if ended(&pod) {
                attempts.remove(&key(pod.as_ref()));
            } else {
                attempts.insert(key(pod.as_ref()), observe::cpus(pod.as_ref()));
            }
        }
        attempts.values().sum()
    }

    /// The jobs of a queue that want CPUs now, by UID.
    fn waiting(
        &self,
        namespace: &str,
        queue: &str,
        asking: Option<(&Job, &Limits)>,
        now: Timestamp,
    ) -> BTreeMap<String, (Job, Waiting)> {
        let mut all = BTreeMap::new();
        for object in self.cache.jobs.state_filter(|object| {
            object.metadata.namespace.as_deref() == Some(namespace)
                && object.spec.0.queue() == queue
                && object.status.as_ref().is_none_or(|status| !status.is_finished())
        }) {
            let job = object.to_core();
            let attempts = observe::attempts(
                &job,
                &self.cache.carriers_of(&job),
                &self.cache.pods_of(&job),
                now,
            );
            let seen = Seen { attempts, ..Seen::default() };
            let limits = match asking {
                Some((asking, limits)) if asking.metadata.uid == job.metadata.uid => limits.clone(),
                _ => {
                    let Some(function) = self.cache.function(&job) else { continue };
                    let queue = self.cache.queue(namespace, queue);
                    let queue = queue.as_ref().map(|queue| &queue.spec);
                    let Ok(limits) = validate(&job.spec, &function.spec, queue) else { continue };
                    limits
                }
            };
            if needs_cpus(&job, &seen.attempts, now) {
                let waiting = Waiting {
                    queue: queue.to_owned(),
                    priority: job.spec.priority,
                    since: job.metadata.creation_timestamp.unwrap_or(now),
                    min: limits.min_parallelism,
                    max: limits.parallelism,
                };
                all.insert(job.metadata.uid.clone(), (job, waiting));
            }
        }
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Granted>> {
        // What a panic in between left behind is a map of grants like any other.
        self.granted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// UID and attempt of a batch Job or pod of ours.
fn key<K: kube::Resource>(object: &K) -> String {
    use crate::attempt::{LABEL_ATTEMPT, LABEL_JOB_UID};
    let label = |key| object.meta().labels.as_ref().and_then(|l| l.get(key)).cloned();
    format!(
        "{}/{}",
        label(LABEL_JOB_UID).unwrap_or_default(),
        label(LABEL_ATTEMPT).unwrap_or_default()
    )
}
