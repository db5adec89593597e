//! The trait `Jobs` of the back end.

use std::collections::btree_map::Entry;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use windlass_core::estimate::Estimates;
use windlass_core::history::{History, HistoryReport};
use windlass_core::jobs::{
    Drain, Draining, Filter, Jobs, MachineCapacity, Page, Submission, Watch, check_uid,
};
use windlass_core::log_tail::{LogRange, LogTail, WantedLog, wanted_attempt};
use windlass_core::result::{ByteStream, Content, StoredResult};
use windlass_core::usage_over_time::UsageOverTime;
use windlass_core::{
    Error, Function, FunctionSpec, Job, JobKey, Metadata, Phase, Queue, QueueSpec,
};

use super::backend::{FakeBackend, made};

fn price() -> Function {
    let spec: FunctionSpec = serde_json::from_value(json!({
        "command": ["price"],
        "env": [{"name": "PASSWORD", "value": "hunter2"}],
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

/// A function that takes pictures and any JSON. Only its pods' template has variables.
fn any() -> Function {
    let container = json!({ "name": "function", "env": [{ "name": "KEY", "value": "hunter3" }] });
    let spec = serde_json::from_value(json!({
        "command": ["any"], "inputTypes": ["image/*", "application/json"], "maxInputBytes": 100,
        "podTemplate": { "spec": { "containers": [container] } },
    }));
    Function::new("any", spec.unwrap())
}

/// Is for all namespaces.
fn shared() -> Function {
    let mut function = price();
    function.kind = Function::CLUSTER_KIND.into();
    function.metadata.name = "shared".into();
    function
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
impl Drain for FakeBackend {
    async fn drain(&self) -> Result<Draining, Error> {
        Ok(Draining { running: 1, waiting: 2 })
    }
}

#[async_trait]
impl Jobs for FakeBackend {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        self.meet_fault().await?;
        let annotations = submission.annotations();
        let name = submission.name.unwrap_or_else(|| "made-up".into());
        let mut job = made(&name, submission.spec);
        job.metadata.annotations = annotations;
        job.metadata.labels = submission.labels;
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
            .filter(|job| filter.labels.matches(&job.metadata.labels))
            .filter(|job| filter.phase.is_none_or(|phase| job.status.phase == Some(phase)))
            .collect();
        let more = items.len() > filter.limit as usize;
        items.truncate(filter.limit as usize);
        let continue_from = items.last().filter(|_| more).map(|job| job.metadata.name.clone());
        Ok(Page { items, continue_from })
    }

    async fn cancel(&self, key: &JobKey, uid: Option<&str>) -> Result<Job, Error> {
        check_uid(&self.get(key).await?, uid)?;
        let jobs = self.jobs.lock().unwrap();
        jobs[key].send_modify(|job| job.as_mut().unwrap().spec.cancel = true);
        Ok(jobs[key].borrow().clone().unwrap())
    }

    async fn delete(&self, key: &JobKey, uid: Option<&str>) -> Result<(), Error> {
        check_uid(&self.get(key).await?, uid)?;
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

    async fn result(&self, key: &JobKey, partial: bool) -> Result<StoredResult, Error> {
        let job = self.get(key).await?;
        if job.status.phase == Some(Phase::Failed) && !partial {
            return Err(Error::no_result(&job));
        }
        let found = self.results.lock().unwrap().get(key).cloned();
        let found = found.ok_or_else(|| Error::Conflict("the job has no result".into()))?;
        Ok(StoredResult {
            bytes: found.bytes,
            content_type: found.content_type.clone(),
            sha256: found.sha256.clone(),
            content: Content::Stored(Box::new(found)),
        })
    }

    async fn logs(&self, key: &JobKey, wanted: WantedLog) -> Result<Vec<u8>, Error> {
        let WantedLog { attempt, range } = wanted;
        let job = self.get(key).await?;
        let attempt = wanted_attempt(&job, attempt)?;
        if attempt < job.status.attempt {
            return Err(Error::Gone("nothing is kept of it".into()));
        }
        let mut end = LogTail::new(range);
        if range.timestamps {
            end.push(b"2026-01-02T03:04:05.678901Z ");
        }
        end.push(b"<script>one line</script>\n");
        Ok(end.into_bytes())
    }

    async fn follow_logs(&self, key: &JobKey, range: LogRange) -> Result<ByteStream, Error> {
        let first = self.logs(key, WantedLog { attempt: None, range }).await?;
        let changes = self.watch(key).await?;
        let next = async |mut changes: Box<dyn Watch>| match changes.next().await {
            Ok(job) if !job.status.is_finished() => Ok(Some((Bytes::from("more\n"), changes))),
            _ => Ok(None),
        };
        let more = futures::stream::try_unfold(changes, next);
        Ok(Box::pin(futures::stream::iter([Ok(first.into())]).chain(more)))
    }

    async fn usage(&self, _: &Job) -> Result<UsageOverTime, Error> {
        Ok(self.usage.lock().unwrap().clone())
    }

    async fn function(&self, _: &str, name: &str) -> Result<Function, Error> {
        self.meet_fault().await?;
        let missing = Error::NotFound { kind: Function::KIND, name: name.into() };
        [price(), unusable(), any(), shared()]
            .into_iter()
            .find(|f| f.metadata.name == name)
            .ok_or(missing)
    }

    async fn functions(&self, _: &str) -> Result<Vec<Function>, Error> {
        self.meet_fault().await?;
        Ok(vec![price(), shared()])
    }

    async fn capacity(&self, _: &str) -> Result<MachineCapacity, Error> {
        self.meet_fault().await?;
        Ok(MachineCapacity { cpus: Some(8), ..MachineCapacity::default() })
    }

    async fn estimates(&self, _: &str) -> Result<Estimates, Error> {
        self.meet_fault().await?;
        Ok(Estimates { since: None, complete: true, items: Vec::new() })
    }

    async fn history(&self, _: &str) -> Result<HistoryReport, Error> {
        self.meet_fault().await?;
        Ok(History::default().report(None, Timestamp::from_second(100_000).unwrap()))
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        self.meet_fault().await?;
        Ok(self.queue(namespace, "small").await?.into_iter().collect())
    }

    async fn hold_queue(&self, key: &JobKey, hold: bool) -> Result<Queue, Error> {
        let missing = || Error::NotFound { kind: Queue::KIND, name: key.name.clone() };
        let mut queue = self.queue(&key.namespace, &key.name).await?.ok_or_else(missing)?;
        queue.spec.hold = hold;
        Ok(queue)
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
