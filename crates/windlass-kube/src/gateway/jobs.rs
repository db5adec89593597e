//! The trait [`Jobs`] on ComputeJob resources: what the gateway and the command line ask of a cluster.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use windlass_backend::FreshAnswers;
use windlass_core::estimate::{Estimate, Estimates};
use windlass_core::history::HistoryReport;
use windlass_core::jobs::{Filter, MachineCapacity, Page, Submission, Watch, check_uid, result_of};
use windlass_core::log_tail::{LogRange, WantedLog};
use windlass_core::queue::DEFAULT_QUEUE;
use windlass_core::result::{ByteStream, StoredResult, location};
use windlass_core::usage_over_time::UsageOverTime;
use windlass_core::{Error, Function, Job, JobKey, Jobs, Phase, Queue, SharedCpus};
use windlass_results::Results;

use super::follow_logs::follow_logs;
use super::history::ClusterHistory;
use super::kept_logs::KeptLogs;
use super::kept_usage;
use super::shared_cpus::shared_cpus;
use super::submit::submit;
use super::watch::JobWatch;
use crate::crd::{ClusterComputeFunction, ComputeFunction, ComputeJob, ComputeQueue};
use crate::error::{call, call_where_permitted, from_kube, is_status, within_deadline};

/// Jobs on a page, when the caller does not say, and at most.
const PAGE: u32 = 500;

/// Most pages without a wanted job that are read for one answer.
const EMPTY_PAGES: u32 = 10;

/// The jobs of a cluster.
pub struct Cluster {
    client: Client,
    /// The store of large results and blobs, if there is one.
    results: Option<Results>,
    /// Only a gateway counts.
    history: Option<Arc<ClusterHistory>>,
    /// Each open dashboard asks for them every few seconds.
    queues: FreshAnswers<Vec<Queue>>,
    shared: FreshAnswers<Option<SharedCpus>>,
}

impl Cluster {
    /// With this client, and the store of large results and blobs.
    pub fn new(client: Client, results: Option<Results>) -> Self {
        let (queues, shared) = (FreshAnswers::default(), FreshAnswers::default());
        Self { client, results, history: None, queues, shared }
    }

    /// The same with what is counted of its jobs.
    pub fn with_history(self, history: Arc<ClusterHistory>) -> Self {
        Self { history: Some(history), ..self }
    }

    fn kept_logs(&self) -> KeptLogs<'_> {
        KeptLogs { client: &self.client, results: self.results.as_ref() }
    }

    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn jobs(&self, namespace: &str) -> Api<ComputeJob> {
        self.api(namespace)
    }

    async fn find<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        call(self.api(namespace).get_opt(name)).await
    }

    /// The first page of all the objects of a kind: admins make few of them.
    async fn first_page<K>(&self, namespace: &str) -> Result<Vec<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        Ok(call(self.api(namespace).list(&ListParams::default().limit(PAGE))).await?.items)
    }
}

/// The function that a job of this namespace means by a name.
pub(super) async fn function_of(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Function>, Error> {
    let own: Api<ComputeFunction> = Api::namespaced(client.clone(), namespace);
    if let Some(found) = call(own.get_opt(name)).await? {
        return Ok(Some(found.to_core()));
    }
    let for_all: Api<ClusterComputeFunction> = Api::all(client.clone());
    let found = call_where_permitted(for_all.get_opt(name)).await?;
    Ok(found.flatten().map(|found| found.to_core()))
}

#[async_trait]
impl Jobs for Cluster {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        if let Some(results) = &self.results {
            results.hold_blobs(&submission.namespace, &submission.spec).await?;
        }
        submit(&self.jobs(&submission.namespace), &submission).await
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        let found: Option<ComputeJob> = self.find(&key.namespace, &key.name).await?;
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
        // A job that names no queue is in the default one. No field selector can express that.
        let mut is_wanted: fn(&Job) -> bool = |_| true;
        match filter.queue.as_deref() {
            None => {}
            Some(DEFAULT_QUEUE) => is_wanted = |job| job.spec.queue() == DEFAULT_QUEUE,
            Some(queue) => fields.push(format!("spec.queue={queue}")),
        }
        let limit = if filter.limit == 0 { PAGE } else { filter.limit.min(PAGE) };
        let mut params = ListParams::default()
            .fields(&fields.join(","))
            .labels(&filter.labels.to_string())
            .limit(limit);
        let mut continue_from = filter.continue_from.clone();
        // A page without a wanted job is skipped, up to a bound.
        for _ in 0..EMPTY_PAGES {
            params.continue_token = continue_from.take();
            let page = call(self.jobs(namespace).list(&params)).await?;
            let items = page.items.iter().map(ComputeJob::to_core);
            let items: Vec<_> = items.filter(is_wanted).collect();
            continue_from = page.metadata.continue_.filter(|token| !token.is_empty());
            if !items.is_empty() || continue_from.is_none() {
                return Ok(Page { items, continue_from });
            }
        }
        Ok(Page { items: Vec::new(), continue_from })
    }

    async fn cancel(&self, key: &JobKey, uid: Option<&str>) -> Result<Job, Error> {
        let job = self.get(key).await?;
        check_uid(&job, uid)?;
        if job.status.is_finished() {
            return Ok(job);
        }
        let jobs = self.jobs(&key.namespace);
        let mut patch = json!({ "spec": { "cancel": true } });
        if let Some(uid) = uid {
            patch["metadata"] = json!({ "uid": uid });
        }
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        match within_deadline(jobs.patch(&key.name, &params, &patch)).await? {
            Ok(job) => Ok(job.to_core()),
            Err(error) if is_status(&error, 404) => Err(Error::no_job(&key.name)),
            // A UID does not change. But such an answer may have another reason, too.
            Err(error) if uid.is_some() && (is_status(&error, 409) || is_status(&error, 422)) => {
                check_uid(&self.get(key).await?, uid)?;
                Err(from_kube(error))
            }
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn delete(&self, key: &JobKey, uid: Option<&str>) -> Result<(), Error> {
        let jobs = self.jobs(&key.namespace);
        let preconditions =
            uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        match within_deadline(jobs.delete(&key.name, &params)).await? {
            Ok(deleted) => {
                let uid = deleted.either(
                    |job| job.metadata.uid,
                    |status| status.details.map(|details| details.uid),
                );
                if let (Some(results), Some(uid)) = (&self.results, uid)
                    && let Err(error) = results.forget(&key.namespace, &uid).await
                {
                    tracing::warn!(job = %key, %error, "its result is left to the garbage collection");
                }
                Ok(())
            }
            Err(error) if is_status(&error, 404) => Err(Error::no_job(&key.name)),
            Err(error) if uid.is_some() && is_status(&error, 409) => {
                Err(Error::another_job(&key.name))
            }
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        let first = self.get(key).await?;
        Ok(Box::new(JobWatch::new(self.jobs(&key.namespace), first)))
    }

    async fn result(&self, key: &JobKey, partial: bool) -> Result<StoredResult, Error> {
        let job = self.get(key).await?;
        let result = result_of(&job, partial)?;
        StoredResult::of_status(key, result, |written| {
            let Some(results) = &self.results else {
                return Err(Error::unavailable("the gateway has no object store any more"));
            };
            // The location in the status is not trusted: somebody else may have written it.
            let (uid, attempt) = (&job.metadata.uid, job.status.attempt.unwrap_or(1));
            let own = location(&key.namespace, uid, attempt, &result.sha256);
            if *written != own {
                return Err(Error::damaged(key));
            }
            Ok(results.stored_at(&own))
        })
    }

    async fn logs(&self, key: &JobKey, wanted: WantedLog) -> Result<Vec<u8>, Error> {
        let job = self.get(key).await?;
        self.kept_logs().end_of_log(&job, wanted).await
    }

    async fn usage(&self, job: &Job) -> Result<UsageOverTime, Error> {
        // The samples of an attempt are stored when it ends.
        match &self.results {
            Some(results) if job.status.phase != Some(Phase::Running) => {
                kept_usage::read(results, job).await
            }
            _ => Ok(UsageOverTime::default()),
        }
    }

    async fn follow_logs(&self, key: &JobKey, range: LogRange) -> Result<ByteStream, Error> {
        let mut changes = self.watch(key).await?;
        let job = changes.next().await?;
        if !job.status.is_finished() {
            let (client, results) = (self.client.clone(), self.results.clone());
            return Ok(follow_logs(client, results, job, changes, range));
        }
        let said = self.kept_logs().end_of_log(&job, WantedLog { attempt: None, range }).await?;
        Ok(Box::pin(futures::stream::iter([Ok(said.into())])))
    }

    async fn function(&self, namespace: &str, name: &str) -> Result<Function, Error> {
        let missing = || Error::NotFound { kind: Function::KIND, name: name.to_owned() };
        function_of(&self.client, namespace, name).await?.ok_or_else(missing)
    }

    async fn functions(&self, namespace: &str) -> Result<Vec<Function>, Error> {
        let found = self.first_page(namespace).await?;
        let for_all: Api<ClusterComputeFunction> = Api::all(self.client.clone());
        let params = ListParams::default().limit(PAGE);
        let for_all = call_where_permitted(for_all.list(&params)).await?;
        let for_all = for_all.map_or_else(Vec::new, |list| list.items);
        let mut all: BTreeMap<_, _> =
            for_all.iter().map(|one| (one.name_any(), one.to_core())).collect();
        all.extend(found.iter().map(|one: &ComputeFunction| (one.name_any(), one.to_core())));
        Ok(all.into_values().collect())
    }

    async fn queue(&self, namespace: &str, name: &str) -> Result<Option<Queue>, Error> {
        let found: Option<ComputeQueue> = self.find(namespace, name).await?;
        Ok(found.map(|queue| queue.to_core()))
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        let ask = async {
            let found = self.first_page(namespace).await?;
            Ok(found.iter().map(ComputeQueue::to_core).collect())
        };
        self.queues.get(namespace, ask).await
    }

    async fn hold_queue(&self, key: &JobKey, hold: bool) -> Result<Queue, Error> {
        let queues: Api<ComputeQueue> = self.api(&key.namespace);
        let patch = Patch::Merge(json!({ "spec": { "hold": hold } }));
        let params = PatchParams::default();
        let patched = within_deadline(queues.patch(&key.name, &params, &patch)).await;
        self.queues.forget(&key.namespace);
        match patched? {
            Ok(queue) => Ok(queue.to_core()),
            Err(error) if is_status(&error, 404) => {
                Err(Error::NotFound { kind: Queue::KIND, name: key.name.clone() })
            }
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn capacity(&self, namespace: &str) -> Result<MachineCapacity, Error> {
        let shared = self.shared.get(namespace, shared_cpus(&self.client, namespace)).await?;
        Ok(MachineCapacity { shared, ..MachineCapacity::default() })
    }

    async fn history(&self, namespace: &str) -> Result<HistoryReport, Error> {
        let none = || Error::unavailable("only a gateway keeps a history");
        Ok(self.history.as_ref().ok_or_else(none)?.report(namespace))
    }

    async fn estimates(&self, namespace: &str) -> Result<Estimates, Error> {
        let none = || Error::unavailable("only a gateway estimates");
        let history = self.history.as_ref().ok_or_else(none)?;
        Ok(Estimates::clone(&*history.estimates().latest(namespace).await?))
    }

    async fn estimate(&self, key: &JobKey) -> Result<Option<Estimate>, Error> {
        Ok(self.history.as_ref().and_then(|history| history.estimates().one(key)))
    }

    async fn ready(&self) -> Result<(), Error> {
        call(self.client.apiserver_version()).await?;
        Ok(())
    }
}
