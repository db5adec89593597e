//! The jobs that hold CPUs or wait for some, as a gateway sees them, and how long those took that have ended: for
//! estimates. Only the controller knows the line; it tells positions now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use windlass_core::estimate::{Estimate, KnownJob, MAX_WAITING, RunTimes, estimate_running};
use windlass_core::{Cpus, JobKey, Phase};

use crate::cache::job::WatchedJob;

/// Most jobs that hold CPUs of which anything is estimated at once.
const MAX_RUNNING: usize = 1000;

const NO_POSITION: &str = "it has no place in the line yet, or waits for its next try";

const START_NOT_TOLD: &str = "a cluster tells in the job's status when it starts, by the rate at which jobs of its queue \
                              have started";

/// All of them.
#[derive(Default)]
pub(super) struct OpenJobs {
    /// Of each namespace, by name, with the UID.
    open: HashMap<String, BTreeMap<String, (String, OpenJob)>>,
    /// How long the jobs of a namespace have held their CPUs.
    times: HashMap<String, Arc<RunTimes>>,
}

#[derive(Clone)]
enum OpenJob {
    Running(Arc<KnownJob>, Cpus),
    /// Its position in the line of its queue, once the controller has told it, and that queue.
    Waiting(Option<u32>, Arc<str>),
}

/// Some jobs of a namespace, from which estimates can be worked out without anything else.
pub(super) struct Snapshot {
    jobs: Vec<(String, OpenJob)>,
    times: Arc<RunTimes>,
    /// Whether these are all.
    pub(super) is_whole: bool,
}

impl OpenJobs {
    /// A job is there, as it is now.
    pub(super) fn keep(&mut self, namespace: &str, uid: &str, job: &WatchedJob) {
        let Some(open) = OpenJob::from_job(job) else {
            return self.forget(namespace, job.name(), uid);
        };
        let jobs = self.open.entry(namespace.to_owned()).or_default();
        jobs.insert(job.name().to_owned(), (uid.to_owned(), open));
    }

    /// A job has ended or is gone. Another one may have its name by now.
    pub(super) fn forget(&mut self, namespace: &str, name: &str, uid: &str) {
        let Some(open) = self.open.get_mut(namespace) else { return };
        if open.get(name).is_some_and(|(known, _)| known == uid) {
            open.remove(name);
        }
        if open.is_empty() {
            self.open.remove(namespace);
        }
    }

    /// A job has just ended.
    pub(super) fn count(&mut self, namespace: &str, job: &WatchedJob) {
        let times = self.times.entry(namespace.to_owned()).or_default();
        Arc::make_mut(times).count(job.function(), job.status());
    }

    /// Forgets how long jobs took, but for those of these namespaces.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.times.retain(|namespace, _| is_kept(namespace));
    }

    /// The jobs of a namespace: the first 1,000 of those that wait, and at most 1,000 that hold CPUs.
    pub(super) fn snapshot(&self, namespace: &str) -> Snapshot {
        let all = self.open.get(namespace).into_iter().flatten();
        let (mut jobs, mut waiting) = (Vec::new(), Vec::new());
        for (name, (_, job)) in all {
            match job {
                OpenJob::Running(..) => jobs.push((name, job)),
                OpenJob::Waiting(position, _) => waiting.push((*position, name, job)),
            }
        }
        let is_whole = jobs.len() <= MAX_RUNNING && waiting.len() <= MAX_WAITING;
        jobs.truncate(MAX_RUNNING);
        // Those without a position come last.
        waiting.sort_unstable_by_key(|(at, name, _)| (at.unwrap_or(u32::MAX), *name));
        waiting.truncate(MAX_WAITING);
        jobs.extend(waiting.into_iter().map(|(_, name, job)| (name, job)));
        let jobs = jobs.into_iter().map(|(name, job)| (name.clone(), job.clone())).collect();
        Snapshot { jobs, times: self.times(namespace), is_whole }
    }

    /// One job.
    pub(super) fn one(&self, JobKey { namespace, name }: &JobKey) -> Option<Snapshot> {
        let (_, job) = self.open.get(namespace)?.get(name)?;
        let jobs = vec![(name.clone(), job.clone())];
        Some(Snapshot { jobs, times: self.times(namespace), is_whole: true })
    }

    fn times(&self, namespace: &str) -> Arc<RunTimes> {
        self.times.get(namespace).cloned().unwrap_or_default()
    }
}

impl OpenJob {
    fn from_job(job: &WatchedJob) -> Option<Self> {
        let status = job.status();
        match status.phase {
            Some(Phase::Starting | Phase::Running) => {
                let job = job.to_core();
                let cpus = status.parallelism.unwrap_or(1);
                let timeout_seconds = job.spec.timeout_seconds.unwrap_or(0);
                Some(Self::Running(Arc::new(KnownJob::from_job(&job, timeout_seconds)), cpus))
            }
            None | Some(Phase::Queued) => {
                let position = status.waiting.as_ref().map(|waiting| waiting.position);
                Some(Self::Waiting(position, job.queue().into()))
            }
            Some(Phase::Succeeded | Phase::Failed | Phase::Cancelled) => None,
        }
    }
}

impl Snapshot {
    /// When those that run are likely to end, and the positions of those that wait.
    pub(super) fn estimates(&self, now: Timestamp) -> Vec<Estimate> {
        let holding = self.jobs.iter().filter_map(|(_, job)| match job {
            OpenJob::Running(known, cpus) => Some((&**known, *cpus)),
            OpenJob::Waiting(..) => None,
        });
        let mut told = estimate_running(holding, &self.times, now);
        told.extend(self.jobs.iter().filter_map(|(name, job)| match job {
            OpenJob::Running(..) => None,
            OpenJob::Waiting(position, queue) => Some(Estimate {
                name: name.clone(),
                queue: Some(queue.to_string()),
                position: *position,
                not_told: Some(position.map_or(NO_POSITION, |_| START_NOT_TOLD).to_owned()),
                ..Estimate::default()
            }),
        }));
        told
    }
}
