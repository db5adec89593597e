//! The jobs of the back end, and what a test does to them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::mpsc;
use serde_json::json;
use tokio::sync::watch;
use windlass_core::changes::Change;
use windlass_core::report::ReportRefusal;
use windlass_core::result::{ByteStream, Stored, sha256};
use windlass_core::status::{Condition, ConditionType, Failure, FailureReason, Truth};
use windlass_core::usage_over_time::UsageOverTime;
use windlass_core::{Error, Job, JobKey, JobSpec, Metadata, Phase, Report};

/// What every call of the back end does instead.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Panic,
    Late(Duration),
    Fails(Error),
}

#[derive(Default)]
pub(crate) struct FakeBackend {
    pub(super) jobs: Mutex<BTreeMap<JobKey, watch::Sender<Option<Job>>>>,
    fault: Mutex<Option<Fault>>,
    pub(super) results: Mutex<BTreeMap<JobKey, FakeResult>>,
    /// The next job is created, and nobody is told.
    pub(crate) loses_replies: Mutex<bool>,
    pub(crate) reports: Mutex<Vec<Report>>,
    pub(crate) refuses: Mutex<Option<ReportRefusal>>,
    /// What workers have stored.
    pub(crate) stored: Mutex<Vec<Bytes>>,
    /// Where changes are told, while somebody follows them.
    pub(super) changes: Mutex<Option<mpsc::UnboundedSender<Result<Change, Error>>>>,
    /// The samples of every job.
    pub(crate) usage: Mutex<UsageOverTime>,
    /// By their digests.
    pub(crate) blobs: Mutex<BTreeMap<String, Bytes>>,
}

/// A result, and what is stored of it.
#[derive(Clone)]
pub(super) struct FakeResult {
    pub(super) bytes: u64,
    pub(super) content_type: String,
    pub(super) sha256: String,
    stored: Bytes,
}

#[async_trait]
impl Stored for FakeResult {
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<ByteStream, Error> {
        let end = (range.end as usize).min(self.stored.len());
        let part = self.stored.slice(range.start as usize..end);
        let pieces: Vec<_> =
            part.chunks(4).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(Box::pin(futures::stream::iter(pieces)))
    }
}

impl FakeBackend {
    pub(crate) fn fail(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().unwrap() = fault.into();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.jobs.lock().unwrap().keys().map(|key| key.name.clone()).collect()
    }

    pub(crate) fn job(&self, name: &str) -> Option<Job> {
        let jobs = self.jobs.lock().unwrap();
        jobs.get(&JobKey::new("default", name)).and_then(|job| job.borrow().clone())
    }

    /// Tells whoever follows all jobs.
    pub(crate) fn tell(&self, change: Result<Change, Error>) {
        self.changes.lock().unwrap().as_ref().unwrap().unbounded_send(change).unwrap();
    }

    /// A blob that is there already.
    pub(crate) fn keep_blob(&self, bytes: &'static [u8]) {
        self.blobs.lock().unwrap().insert(sha256(bytes), Bytes::from_static(bytes));
    }

    /// A job that is there already.
    pub(crate) fn put(&self, name: &str) {
        let job = made(name, serde_json::from_value(json!({"function": "price"})).unwrap());
        self.jobs.lock().unwrap().insert(job.key(), watch::Sender::new(Some(job)));
    }

    /// So many attempts of a job were made.
    pub(crate) fn attempted(&self, name: &str, attempts: u32) {
        self.jobs.lock().unwrap()[&JobKey::new("default", name)].send_modify(|job| {
            job.as_mut().unwrap().status.attempt = Some(attempts);
        });
    }

    pub(crate) fn change(&self, name: &str, phase: Phase) {
        let jobs = self.jobs.lock().unwrap();
        jobs[&JobKey::new("default", name)].send_modify(|job| {
            let job = job.as_mut().unwrap();
            job.status.phase = Some(phase);
            let version: u32 = job.metadata.resource_version.parse().unwrap();
            job.metadata.resource_version = (version + 1).to_string();
        });
    }

    /// It waits for this reason.
    pub(crate) fn waits(&self, name: &str, reason: &str) {
        self.jobs.lock().unwrap()[&JobKey::new("default", name)].send_modify(|job| {
            job.as_mut().unwrap().status.conditions = vec![Condition {
                kind: ConditionType::Admitted,
                status: Truth::False,
                reason: reason.into(),
                message: "the words of admission".into(),
                last_transition_time: jiff::Timestamp::UNIX_EPOCH,
            }];
        });
        self.change(name, Phase::Queued);
    }

    pub(crate) fn fails(&self, name: &str, reason: FailureReason) {
        self.jobs.lock().unwrap()[&JobKey::new("default", name)].send_modify(|job| {
            job.as_mut().unwrap().status.failure = Some(Failure {
                reason,
                message: "the words of the function".into(),
                exit_code: Some(1),
                attempt: 1,
                time: jiff::Timestamp::UNIX_EPOCH,
                refused_since: None,
            });
        });
        self.change(name, Phase::Failed);
    }

    pub(crate) fn finish(&self, name: &str, bytes: &[u8], content_type: &str) {
        let result = FakeResult {
            bytes: bytes.len() as u64,
            content_type: content_type.into(),
            sha256: sha256(bytes),
            stored: Bytes::copy_from_slice(bytes),
        };
        self.results.lock().unwrap().insert(JobKey::new("default", name), result);
        self.change(name, Phase::Succeeded);
    }

    /// What is stored is not the result any more.
    pub(crate) fn damage(&self, name: &str, stored: &[u8]) {
        let mut results = self.results.lock().unwrap();
        let result = results.get_mut(&JobKey::new("default", name)).unwrap();
        result.stored = Bytes::copy_from_slice(stored);
    }

    /// How many follow a job.
    pub(crate) fn watchers(&self, name: &str) -> usize {
        self.jobs.lock().unwrap()[&JobKey::new("default", name)].receiver_count()
    }

    /// Another job has its name now; nobody has been told.
    pub(crate) fn rename(&self, name: &str, uid: &str) {
        self.jobs.lock().unwrap()[&JobKey::new("default", name)].send_if_modified(|job| {
            job.as_mut().unwrap().metadata.uid = uid.into();
            false
        });
    }

    pub(super) async fn meet_fault(&self) -> Result<(), Error> {
        let fault = self.fault.lock().unwrap().clone();
        match fault {
            None => Ok(()),
            Some(Fault::Panic) => panic!("the panic of a test"),
            Some(Fault::Late(by)) => {
                tokio::time::sleep(by).await;
                Ok(())
            }
            Some(Fault::Fails(error)) => Err(error),
        }
    }
}

pub(super) fn made(name: &str, spec: JobSpec) -> Job {
    let metadata = Metadata {
        name: name.into(),
        namespace: "default".into(),
        uid: format!("uid-of-{name}"),
        resource_version: "1".into(),
        ..Metadata::default()
    };
    Job::new(metadata, spec)
}
