//! `Jobs` on ComputeJob resources: what the gateway asks of a cluster.

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::json;
use windlass_core::jobs::{Filter, Page, Submission, Watch};
use windlass_core::queue::DEFAULT_QUEUE;
use windlass_core::result::{ByteStream, Content, StoredResult, inline_bytes, location};
use windlass_core::{Error, Function, Job, JobKey, Jobs, Queue, name};
use windlass_results::Results;

use crate::crd::{ComputeFunction, ComputeJob, ComputeJobSpec, ComputeQueue};
use crate::error::{from_kube, is_status, within_deadline};
use crate::gateway::logs;

/// Jobs on a page, when the caller does not say, and at most.
const PAGE: u32 = 500;

/// Most pages that are looked at for one on which something is.
const EMPTY_PAGES: u32 = 10;

/// Most lines of a log that are read from a node.
pub(crate) const LOG_LINES: i64 = 10_000;

/// Tries at a name that is made up.
const NAME_TRIES: u32 = 5;

/// A cluster.
pub struct Cluster {
    client: Client,
    /// Where large results are, if there is such a place.
    results: Option<Results>,
}

impl Cluster {
    /// With this client, and the place of large results.
    pub fn new(client: Client, results: Option<Results>) -> Self {
        Self { client, results }
    }

    fn jobs(&self, namespace: &str) -> Api<ComputeJob> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn create(
        &self,
        namespace: &str,
        name: &str,
        submission: &Submission,
    ) -> Result<Job, kube::Error> {
        let object = ComputeJob {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                annotations: Some(submission.annotations()).filter(|all| !all.is_empty()),
                ..ObjectMeta::default()
            },
            spec: ComputeJobSpec(submission.spec.clone()),
            status: None,
        };
        let created = self.jobs(namespace).create(&PostParams::default(), &object).await?;
        Ok(created.to_core())
    }
}

#[async_trait]
impl Jobs for Cluster {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        let namespace = &submission.namespace;
        if let Some(name) = &submission.name {
            let created = within_deadline(self.create(namespace, name, &submission)).await?;
            return created.map_err(|error| match error {
                error if is_status(&error, 409) => {
                    Error::Conflict(format!("a job {name:?} exists already"))
                }
                error => from_kube(error),
            });
        }
        for _ in 0..NAME_TRIES {
            let name = generated_name(&submission.spec.function);
            match within_deadline(self.create(namespace, &name, &submission)).await? {
                Err(error) if is_status(&error, 409) => {}
                created => return created.map_err(from_kube),
            }
        }
        Err(Error::unavailable("no free name was found"))
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        let found = within_deadline(self.jobs(&key.namespace).get_opt(&key.name)).await?;
        let found = found.map_err(from_kube)?;
        found.map(|job| job.to_core()).ok_or_else(|| Error::no_job(&key.name))
    }

    async fn list(&self, namespace: &str, filter: &Filter) -> Result<Page, Error> {
        let mut fields = Vec::new();
        if let Some(function) = &filter.function {
            fields.push(format!("spec.function={function}"));
        }
        if let Some(phase) = filter.phase {
            fields.push(format!("status.phase={}", phase.as_str()));
        }
        // A job that names no queue is of the default one, which no selector can say.
        let mut is_wanted: fn(&Job) -> bool = |_| true;
        match filter.queue.as_deref() {
            None => {}
            Some(DEFAULT_QUEUE) => is_wanted = |job| job.spec.queue() == DEFAULT_QUEUE,
            Some(queue) => fields.push(format!("spec.queue={queue}")),
        }
        let limit = if filter.limit == 0 { PAGE } else { filter.limit.min(PAGE) };
        let mut params = ListParams::default().fields(&fields.join(",")).limit(limit);
        let mut continue_from = filter.continue_from.clone();
        // A page on which nothing is wanted is not worth an answer, up to a bound.
        for _ in 0..EMPTY_PAGES {
            params.continue_token = continue_from.take();
            let page = within_deadline(self.jobs(namespace).list(&params)).await?;
            let page = page.map_err(from_kube)?;
            let items = page.items.iter().map(ComputeJob::to_core);
            let items: Vec<_> = items.filter(is_wanted).collect();
            continue_from = page.metadata.continue_.filter(|token| !token.is_empty());
            if !items.is_empty() || continue_from.is_none() {
                return Ok(Page { items, continue_from });
            }
        }
        Ok(Page { items: Vec::new(), continue_from })
    }

    async fn cancel(&self, key: &JobKey) -> Result<Job, Error> {
        let job = self.get(key).await?;
        if job.status.is_finished() {
            return Ok(job);
        }
        let jobs = self.jobs(&key.namespace);
        let patch = Patch::Merge(json!({ "spec": { "cancel": true } }));
        let params = PatchParams::default();
        match within_deadline(jobs.patch(&key.name, &params, &patch)).await? {
            Ok(job) => Ok(job.to_core()),
            Err(error) if is_status(&error, 404) => Err(Error::no_job(&key.name)),
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn delete(&self, key: &JobKey) -> Result<(), Error> {
        let jobs = self.jobs(&key.namespace);
        match within_deadline(jobs.delete(&key.name, &DeleteParams::background())).await? {
            Ok(deleted) => {
                let uid = deleted.either(
                    |job| job.metadata.uid,
                    |status| status.details.map(|details| details.uid),
                );
                if let (Some(results), Some(uid)) = (&self.results, uid)
                    && let Err(error) = results.forget(&key.namespace, &uid).await
                {
                    tracing::warn!(job = %key, %error, "its result is left to the sweep");
                }
                Ok(())
            }
            Err(error) if is_status(&error, 404) => Err(Error::no_job(&key.name)),
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        let first = self.get(key).await?;
        let config =
            watcher::Config::default().fields(&format!("metadata.name={}", key.name)).timeout(50);
        let changes = watcher(self.jobs(&key.namespace), config).default_backoff().boxed();
        let (uid, name) = (first.metadata.uid.clone(), key.name.clone());
        Ok(Box::new(JobWatch { first: Some(first), uid, name, listing: false, changes }))
    }

    async fn result(&self, key: &JobKey) -> Result<StoredResult, Error> {
        let job = self.get(key).await?;
        let Some(result) = &job.status.result else { return Err(Error::no_result(&job)) };
        let content = match (&result.location, &self.results) {
            (None, _) => {
                let bytes = inline_bytes(result).ok_or_else(|| Error::damaged(key))?;
                Content::Inline(bytes.into())
            }
            (Some(_), None) => {
                return Err(Error::unavailable("the gateway has no object store any more"));
            }
            (Some(said), Some(results)) => {
                // What the status says is not believed: it may have been written by somebody else.
                let (uid, attempt) = (&job.metadata.uid, job.status.attempt.unwrap_or(1));
                let own = location(&key.namespace, uid, attempt, &result.sha256);
                if *said != own {
                    return Err(Error::damaged(key));
                }
                Content::Stored(results.stored_at(&own))
            }
        };
        Ok(StoredResult {
            bytes: result.bytes,
            content_type: result.content_type.clone(),
            sha256: result.sha256.clone(),
            content,
        })
    }

    async fn logs(&self, key: &JobKey, limit: u64) -> Result<Vec<u8>, Error> {
        let job = self.get(key).await?;
        let Some(pod) = &job.status.pod else { return Ok(Vec::new()) };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = LogParams { tail_lines: Some(LOG_LINES), ..LogParams::default() };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match within_deadline(end_of_log(&pods, pod, &params, limit)).await? {
            Ok(end) => Ok(end?),
            // The pod of a job that has ended is deleted, and its log with it; that of one that
            // starts has none yet.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => Ok(Vec::new()),
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn follow_logs(&self, key: &JobKey, tail: u64) -> Result<ByteStream, Error> {
        let pods = Api::namespaced(self.client.clone(), &key.namespace);
        logs::follow(pods, self.watch(key).await?, tail).await
    }

    async fn function(&self, namespace: &str, name: &str) -> Result<Function, Error> {
        let functions: Api<ComputeFunction> = Api::namespaced(self.client.clone(), namespace);
        let found = within_deadline(functions.get_opt(name)).await?.map_err(from_kube)?;
        let missing = || Error::NotFound { kind: Function::KIND, name: name.to_owned() };
        found.map(|function| function.to_core()).ok_or_else(missing)
    }

    async fn functions(&self, namespace: &str) -> Result<Vec<Function>, Error> {
        let functions: Api<ComputeFunction> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().limit(PAGE);
        let found = within_deadline(functions.list(&params)).await?.map_err(from_kube)?;
        Ok(found.items.iter().map(ComputeFunction::to_core).collect())
    }

    async fn queue(&self, namespace: &str, name: &str) -> Result<Option<Queue>, Error> {
        let queues: Api<ComputeQueue> = Api::namespaced(self.client.clone(), namespace);
        let found = within_deadline(queues.get_opt(name)).await?.map_err(from_kube)?;
        Ok(found.map(|queue| queue.to_core()))
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        let queues: Api<ComputeQueue> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().limit(PAGE);
        let found = within_deadline(queues.list(&params)).await?.map_err(from_kube)?;
        Ok(found.items.iter().map(ComputeQueue::to_core).collect())
    }

    async fn ready(&self) -> Result<(), Error> {
        within_deadline(self.client.apiserver_version()).await?.map_err(from_kube)?;
        Ok(())
    }
}

/// The last bytes of a log, whatever they are, in memory of twice as many.
async fn end_of_log(
    pods: &Api<Pod>,
    pod: &str,
    params: &LogParams,
    limit: usize,
) -> Result<Result<Vec<u8>, Error>, kube::Error> {
    let mut log = Box::pin(pods.log_stream(pod, params).await?);
    let mut end = Vec::new();
    loop {
        let piece = match log.fill_buf().await {
            Ok([]) => break,
            Ok(piece) => piece,
            Err(error) => {
                return Ok(Err(Error::unavailable(format!("the log broke off: {error}"))));
            }
        };
        let length = piece.len();
        end.extend_from_slice(piece);
        log.consume_unpin(length);
        if end.len() / 2 > limit {
            end.drain(..end.len() - limit);
        }
    }
    end.drain(..end.len().saturating_sub(limit));
    Ok(Ok(end))
}

/// The changes of one job, from a watch of one object.
struct JobWatch {
    first: Option<Job>,
    uid: String,
    name: String,
    /// A list has begun and has not shown the job yet.
    listing: bool,
    changes: BoxStream<'static, watcher::Result<watcher::Event<ComputeJob>>>,
}

#[async_trait]
impl Watch for JobWatch {
    async fn next(&mut self) -> Result<Job, Error> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            let event = match self.changes.try_next().await {
                Ok(Some(event)) => event,
                // The watcher backs off by itself.
                Err(error) => {
                    tracing::debug!(%error, "a watch of one job failed");
                    continue;
                }
                Ok(None) => return Err(Error::unavailable("the watch has ended")),
            };
            match event {
                watcher::Event::Apply(job) | watcher::Event::InitApply(job) => {
                    self.listing = false;
                    if job.metadata.uid.as_ref() != Some(&self.uid) {
                        return Err(Error::no_job(&self.name));
                    }
                    return Ok(job.to_core());
                }
                watcher::Event::Init => self.listing = true,
                // A list without the job: it was deleted while nobody looked.
                watcher::Event::InitDone if self.listing => return Err(Error::no_job(&self.name)),
                watcher::Event::InitDone => {}
                watcher::Event::Delete(_) => return Err(Error::no_job(&self.name)),
            }
        }
    }
}

/// A name for a job that was given none.
fn generated_name(function: &str) -> String {
    name::generated(function, &uuid::Uuid::new_v4().simple().to_string())
}
