//! A world in memory whose calls can be made to fail.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::sync::watch;
use windlass_core::jobs::{
    Access, Denied, Filter, Jobs, Page, ReportError, Reports, Storing, Submission, Upload, Verb,
    Verdict, Watch,
};
use windlass_core::report::Refused;
use windlass_core::result::{ByteStream, Content, Stored, StoredResult, checked, sha256};
use windlass_core::status::{Failure, FailureReason};
use windlass_core::{
    Error, Function, FunctionSpec, Job, JobKey, JobSpec, Metadata, Phase, Queue, QueueSpec, Report,
};

/// May do everything in `default`.
pub(crate) const GOOD: &str = "good";
/// May do everything, but in another namespace.
pub(crate) const STRANGER: &str = "stranger";
/// May only read in `default`.
pub(crate) const READER: &str = "reader";
/// May only submit in `default`.
pub(crate) const SUBMITTER: &str = "submitter";
/// A token that cannot be judged now.
pub(crate) const UNDECIDED: &str = "undecided";
/// A worker's.
pub(crate) const WORKER: &str = "worker";
/// Another replica.
pub(crate) const PEER: &str = "peer";

/// Most bytes that a worker may store.
pub(crate) const MOST: u64 = 100_000;

/// What every call of the world does instead.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Panic,
    Late(Duration),
    Fails(Error),
}

#[derive(Default)]
pub(crate) struct World {
    jobs: Mutex<BTreeMap<JobKey, watch::Sender<Option<Job>>>>,
    fault: Mutex<Option<Fault>>,
    results: Mutex<BTreeMap<JobKey, FakeResult>>,
    /// The next job is created, and nobody is told.
    pub(crate) loses_replies: Mutex<bool>,
    pub(crate) reports: Mutex<Vec<Report>>,
    pub(crate) refuses: Mutex<Option<Refused>>,
    /// What workers have stored.
    pub(crate) stored: Mutex<Vec<Bytes>>,
}

/// A result, and what is stored of it.
#[derive(Clone)]
struct FakeResult {
    bytes: u64,
    content_type: String,
    sha256: String,
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

impl World {
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

    /// A job that is there already.
    pub(crate) fn put(&self, name: &str) {
        let job = made(name, serde_json::from_value(json!({"function": "price"})).unwrap());
        self.jobs.lock().unwrap().insert(job.key(), watch::Sender::new(Some(job)));
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

    pub(crate) fn fails(&self, name: &str, reason: FailureReason) {
        self.jobs.lock().unwrap()[&JobKey::new("default", name)].send_modify(|job| {
            job.as_mut().unwrap().status.failure = Some(Failure {
                reason,
                message: "the words of the function".into(),
                exit_code: Some(1),
                attempt: 1,
                time: jiff::Timestamp::UNIX_EPOCH,
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

    async fn meet_fault(&self) -> Result<(), Error> {
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

fn made(name: &str, spec: JobSpec) -> Job {
    let metadata = Metadata {
        name: name.into(),
        namespace: "default".into(),
        uid: format!("uid-of-{name}"),
        resource_version: "1".into(),
        ..Metadata::default()
    };
    Job::new(metadata, spec)
}

fn price() -> Function {
    let spec: FunctionSpec = serde_json::from_value(json!({
        "command": ["price"],
        "parallelism": {"default": 1, "max": 4},
        "inputSchema": {
            "type": "object",
            "properties": {
                "paths": {"type": "integer", "minimum": 1},
                "strike": {"type": "number"}
            }
        }
    }))
    .unwrap();
    Function::new("price", spec)
}

/// A function that nobody can call, whatever the input.
fn unusable() -> Function {
    let spec = serde_json::from_value(json!({
        "command": ["unusable"],
        "parallelism": {"default": 1, "max": 4},
        "inputSchema": {"type": "nonsense"}
    }));
    Function::new("unusable", spec.unwrap())
}

#[async_trait]
impl Jobs for World {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        self.meet_fault().await?;
        let annotations = submission.annotations();
        let name = submission.name.unwrap_or_else(|| "made-up".into());
        let mut job = made(&name, submission.spec);
        job.metadata.annotations = annotations;
        match self.jobs.lock().unwrap().entry(job.key()) {
            Entry::Occupied(_) => {
                return Err(Error::Conflict(format!("job {name:?} exists already")));
            }
            Entry::Vacant(place) => drop(place.insert(watch::Sender::new(Some(job.clone())))),
        }
        if std::mem::take(&mut *self.loses_replies.lock().unwrap()) {
            return Err(Error::unavailable("the reply was lost"));
        }
        Ok(job)
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        self.meet_fault().await?;
        self.job(&key.name).ok_or_else(|| Error::no_job(&key.name))
    }

    async fn list(&self, _: &str, filter: &Filter) -> Result<Page, Error> {
        self.meet_fault().await?;
        let names = self.names();
        let from = filter.continue_from.clone().unwrap_or_default();
        let mut items: Vec<_> = names
            .iter()
            .filter(|name| **name > from)
            .filter_map(|name| self.job(name))
            .filter(|job| filter.function.as_ref().is_none_or(|f| *f == job.spec.function))
            .filter(|job| filter.queue.as_deref().is_none_or(|queue| queue == job.spec.queue()))
            .filter(|job| filter.phase.is_none_or(|phase| job.status.phase == Some(phase)))
            .collect();
        let more = items.len() > filter.limit as usize;
        items.truncate(filter.limit as usize);
        let continue_from = items.last().filter(|_| more).map(|job| job.metadata.name.clone());
        Ok(Page { items, continue_from })
    }

    async fn cancel(&self, key: &JobKey) -> Result<Job, Error> {
        self.get(key).await?;
        let jobs = self.jobs.lock().unwrap();
        jobs[key].send_modify(|job| job.as_mut().unwrap().spec.cancel = true);
        Ok(jobs[key].borrow().clone().unwrap())
    }

    async fn delete(&self, key: &JobKey) -> Result<(), Error> {
        self.get(key).await?;
        if let Some(job) = self.jobs.lock().unwrap().remove(key) {
            job.send_replace(None);
        }
        Ok(())
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        self.get(key).await?;
        let mut changes = self.jobs.lock().unwrap()[key].subscribe();
        changes.mark_changed();
        Ok(Box::new(Changes(changes, key.name.clone())))
    }

    async fn result(&self, key: &JobKey) -> Result<StoredResult, Error> {
        self.get(key).await?;
        let found = self.results.lock().unwrap().get(key).cloned();
        let found = found.ok_or_else(|| Error::Conflict("the job has no result".into()))?;
        Ok(StoredResult {
            bytes: found.bytes,
            content_type: found.content_type.clone(),
            sha256: found.sha256.clone(),
            content: Content::Stored(Box::new(found)),
        })
    }

    async fn logs(&self, key: &JobKey, limit: u64) -> Result<Vec<u8>, Error> {
        self.get(key).await?;
        let all = b"<script>one line</script>\n";
        Ok(all[all.len().saturating_sub(limit as usize)..].to_vec())
    }

    async fn follow_logs(&self, key: &JobKey, tail: u64) -> Result<ByteStream, Error> {
        let first = self.logs(key, tail).await?;
        let changes = self.watch(key).await?;
        let next = async |mut changes: Box<dyn Watch>| match changes.next().await {
            Ok(job) if !job.status.is_finished() => Ok(Some((Bytes::from("more\n"), changes))),
            _ => Ok(None),
        };
        let more = futures::stream::try_unfold(changes, next);
        Ok(Box::pin(futures::stream::iter([Ok(first.into())]).chain(more)))
    }

    async fn function(&self, _: &str, name: &str) -> Result<Function, Error> {
        self.meet_fault().await?;
        let missing = Error::NotFound { kind: Function::KIND, name: name.into() };
        [price(), unusable()].into_iter().find(|f| f.metadata.name == name).ok_or(missing)
    }

    async fn functions(&self, _: &str) -> Result<Vec<Function>, Error> {
        self.meet_fault().await?;
        Ok(vec![price()])
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        self.meet_fault().await?;
        Ok(self.queue(namespace, "small").await?.into_iter().collect())
    }

    async fn queue(&self, _: &str, name: &str) -> Result<Option<Queue>, Error> {
        let spec: QueueSpec = serde_json::from_value(json!({"cpus": 2})).unwrap();
        let metadata = Metadata { name: name.into(), ..Metadata::default() };
        Ok((name == "small").then(|| Queue {
            api_version: windlass_core::API_VERSION.into(),
            kind: "ComputeQueue".into(),
            metadata,
            spec,
            status: None,
        }))
    }

    async fn ready(&self) -> Result<(), Error> {
        self.meet_fault().await
    }
}

struct Changes(watch::Receiver<Option<Job>>, String);

#[async_trait]
impl Watch for Changes {
    async fn next(&mut self) -> Result<Job, Error> {
        let gone = || Error::no_job(&self.1);
        self.0.changed().await.map_err(|_| gone())?;
        self.0.borrow_and_update().clone().ok_or_else(gone)
    }
}

/// The same as [`Tokens`], until all tokens are taken back.
#[derive(Default)]
pub(crate) struct Revocable(pub(crate) AtomicBool);

#[async_trait]
impl Access for Revocable {
    async fn check(&self, token: Option<&str>, verb: Verb, namespace: &str) -> Result<(), Denied> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Denied::Unauthenticated);
        }
        Tokens.check(token, verb, namespace).await
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        Tokens.check_metrics(token).await
    }

    async fn caller(&self, token: Option<&str>) -> Result<String, Denied> {
        Tokens.caller(token).await
    }
}

/// Who may do what in the tests.
pub(crate) struct Tokens;

#[async_trait]
impl Access for Tokens {
    async fn check(&self, token: Option<&str>, verb: Verb, namespace: &str) -> Result<(), Denied> {
        let reads = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
        let may = match token {
            Some(GOOD) => namespace == "default",
            Some(READER) => namespace == "default" && reads,
            Some(SUBMITTER) => namespace == "default" && verb == Verb::Create,
            Some(STRANGER) => namespace == "elsewhere",
            Some(UNDECIDED) => {
                return Err(Denied::Unavailable {
                    message: "nobody can say".into(),
                    retry_after: Duration::from_millis(2_500),
                });
            }
            _ => return Err(Denied::Unauthenticated),
        };
        if may { Ok(()) } else { Err(Denied::Forbidden(verb)) }
    }

    async fn check_peer(&self, token: Option<&str>) -> Result<(), Denied> {
        match token {
            Some(PEER) => Ok(()),
            Some(UNDECIDED) => self.check(token, Verb::Get, "").await,
            _ => Err(Denied::Unauthenticated),
        }
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        match self.check(token, Verb::Get, "default").await {
            Ok(()) if token == Some(GOOD) => Ok(()),
            Ok(()) | Err(Denied::Forbidden(_)) => Err(Denied::NoMetrics),
            other => other,
        }
    }

    async fn caller(&self, token: Option<&str>) -> Result<String, Denied> {
        match self.check(token, Verb::Get, "default").await {
            Ok(()) | Err(Denied::Forbidden(_)) => Ok(token.unwrap_or_default().to_owned()),
            Err(other) => Err(other),
        }
    }
}

/// The world as a worker sees it.
pub(crate) struct Desk(pub(crate) Arc<World>);

#[async_trait]
impl Reports for Desk {
    async fn report(&self, token: Option<&str>, report: Report) -> Result<Verdict, ReportError> {
        if token != Some(WORKER) {
            return Err(Denied::Unauthenticated.into());
        }
        self.0.meet_fault().await?;
        if let Some(reason) = *self.0.refuses.lock().unwrap() {
            return Ok(Verdict::Refused(reason));
        }
        self.0.reports.lock().unwrap().push(report);
        Ok(Verdict::Accepted)
    }

    async fn store(
        &self,
        token: Option<&str>,
        upload: &Upload,
        content: ByteStream,
    ) -> Result<Storing, ReportError> {
        if token != Some(WORKER) {
            return Err(Denied::Unauthenticated.into());
        }
        self.0.meet_fault().await?;
        if let Some(reason) = *self.0.refuses.lock().unwrap() {
            return Ok(Storing::Refused(reason));
        }
        if upload.bytes > MOST {
            return Ok(Storing::TooLarge(format!("at most {MOST} bytes")));
        }
        let mut content = checked(content, upload.bytes, upload.sha256.clone());
        let mut bytes = Vec::new();
        loop {
            match content.try_next().await {
                Ok(Some(piece)) => bytes.extend(piece),
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return Ok(Storing::Refused(Refused::Damaged));
                }
                Err(error) => return Err(Error::unavailable(error.to_string()).into()),
            }
        }
        self.0.stored.lock().unwrap().push(bytes.into());
        Ok(Storing::At(format!("{}/{}", upload.job_uid, upload.attempt)))
    }
}
