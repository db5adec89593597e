//! Lists batch Jobs and pods of ours at the API server itself, beside the watches.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;
use windlass_core::plan::Attempt;
use windlass_core::{Error, Job};

use super::context::Context;
use crate::cache::attempts::AttemptCache;
use crate::cache::prune::{prune_batch_job, prune_pod};
use crate::cache::watch::{Change, PAGE};
use crate::error::call;
use crate::labels::{LABEL_CONTROLLER_UID, LABEL_JOB_UID};
use crate::pages::each_page;
use crate::served::{api, each};

/// Batch Jobs and pods, as the API server itself has them.
pub(crate) struct ListedObjects {
    /// The batch Jobs.
    pub(crate) batch_jobs: Vec<batch::Job>,
    /// The pods.
    pub(crate) pods: Vec<core_v1::Pod>,
}

impl ListedObjects {
    /// The attempts that they belong to.
    pub(crate) fn into_cache(self, now: Timestamp) -> AttemptCache {
        let cache = AttemptCache::default();
        for batch_job in self.batch_jobs {
            cache.batch_job_changed(&Change::Applied(batch_job), now);
        }
        for pod in self.pods {
            cache.pod_changed(&Change::Applied(pod), now);
        }
        cache
    }
}

/// What the API server itself has of a job's attempts.
pub(super) async fn list_attempts_of(
    job: &Job,
    ctx: &Context,
    now: Timestamp,
) -> Result<Vec<Attempt>, Error> {
    let (namespace, uid) = (&job.metadata.namespace, &job.metadata.uid);
    let labels = format!("{LABEL_JOB_UID}={uid}");
    let found = list_objects(ctx, Some(namespace), &labels).await?;
    Ok(found.into_cache(now).attempts(uid, now))
}

/// Lists batch Jobs, then pods, with these labels: in one namespace, or in all that this process serves. The order
/// matters: no pod is made for a batch Job that is gone.
pub(crate) async fn list_objects(
    ctx: &Context,
    namespace: Option<&str>,
    labels: &str,
) -> Result<ListedObjects, Error> {
    let params = ListParams::default().labels(labels);
    let namespaces =
        namespace.map_or_else(|| each(&ctx.settings.namespaces), |one| vec![Some(one)]);
    let mut listed = ListedObjects { batch_jobs: Vec::new(), pods: Vec::new() };
    for namespace in namespaces {
        let batch_jobs = list_pages(api(&ctx.client, namespace), &params, prune_batch_job).await?;
        listed.batch_jobs.extend(batch_jobs);
        listed.pods.extend(list_pages(api(&ctx.client, namespace), &params, prune_pod).await?);
    }
    Ok(listed)
}

/// The labels of all namespaces, as the API server itself has them.
pub(crate) async fn list_namespaces(ctx: &Context) -> Result<Vec<core_v1::Namespace>, Error> {
    list_pages(Api::all(ctx.client.clone()), &ListParams::default(), |_| ()).await
}

/// Lists page by page, and keeps of each object what `prune` leaves: it may have an input of 128 KiB.
async fn list_pages<K>(api: Api<K>, params: &ListParams, prune: fn(&mut K)) -> Result<Vec<K>, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let api = &api;
    let list = |params| async move { call(api.list(&params)).await };
    let mut all = Vec::new();
    each_page(params.clone().limit(PAGE), list, |mut object| {
        prune(&mut object);
        all.push(object);
    })
    .await?;
    Ok(all)
}

/// The pods of a batch Job, by its UID: whatever labels of ours they have or lack.
pub(crate) async fn list_pods_of(
    ctx: &Context,
    namespace: &str,
    batch_job_uid: &str,
) -> Result<Vec<core_v1::Pod>, Error> {
    let params = ListParams::default().labels(&format!("{LABEL_CONTROLLER_UID}={batch_job_uid}"));
    let pods = api::<core_v1::Pod>(&ctx.client, Some(namespace));
    Ok(call(pods.list(&params)).await?.items)
}
