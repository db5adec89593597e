//! Garbage collection of stored results: deletes those whose job is gone. It does not matter how the job went: by
//! kubectl, at the end of its time to live, or with its namespace. Also of blobs that no job names.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use kube::api::ListParams;
use kube::core::{ApiResource, NotUsed, Object};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use windlass_core::Error;
use windlass_results::Results;

use crate::crd::ComputeJob;
use crate::error::call;
use crate::pages::each_page;

/// Between two collections.
const INTERVAL: Duration = Duration::from_secs(600);

/// Jobs that are listed at a time, without what is in them.
const PAGE: u32 = 500;

/// Jobs that are listed at a time with what is in them: up to 200 KiB each.
const WHOLE_PAGE: u32 = 50;

/// Collects now and every ten minutes, for ever. Several gateways may do it at the same time.
pub async fn run_store_gc(client: Client, results: Results) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match collect(&client, &results).await {
            Ok(0) => {}
            Ok(deleted) => info!(deleted, "stored results and blobs that no job has were deleted"),
            Err(error) => {
                warn!(%error, "stored results and blobs that no job has cannot be deleted")
            }
        }
    }
}

/// One collection. Returns how many results and blobs were deleted.
async fn collect(client: &Client, results: &Results) -> Result<usize, Error> {
    let mut deleted = 0;
    for namespace in results.namespaces().await? {
        // The store is listed before the jobs, so that the list of jobs has every job with a result.
        let stored = results.jobs(&namespace).await?;
        let known = match job_uids(client, &namespace).await {
            Ok(known) => known,
            // This gateway does not serve the namespace, or not any more.
            Err(Error::Denied(_)) => continue,
            Err(error) => return Err(error),
        };
        for uid in stored.difference(&known) {
            deleted += results.forget_old(&namespace, uid).await?;
        }
        deleted += results.collect_blobs(&namespace, named_blobs(client, &namespace)).await?;
    }
    results.tidy().await?;
    Ok(deleted)
}

/// UIDs of all the jobs of a namespace.
async fn job_uids(client: &Client, namespace: &str) -> Result<BTreeSet<String>, Error> {
    let jobs: Api<ComputeJob> = Api::namespaced(client.clone(), namespace);
    let jobs = &jobs;
    let list = |params| async move { call(jobs.list_metadata(&params)).await };
    let mut found = BTreeSet::new();
    each_page(ListParams::default().limit(PAGE), list, |job| found.extend(job.metadata.uid))
        .await?;
    Ok(found)
}

/// What of a job's spec names blobs. It is read leniently: no job that is wrong keeps all the others from being read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NamedBlobs {
    input_blob: Value,
    files: Value,
}

/// Digests of all the blobs that jobs of a namespace name.
async fn named_blobs(client: &Client, namespace: &str) -> Result<HashSet<String>, Error> {
    type JobBlobs = Object<NamedBlobs, NotUsed>;
    let kind = ApiResource::erase::<ComputeJob>(&());
    let jobs: Api<JobBlobs> = Api::namespaced_with(client.clone(), namespace, &kind);
    let jobs = &jobs;
    let list = |params| async move { call(jobs.list(&params)).await };
    let mut found = HashSet::new();
    each_page(ListParams::default().limit(WHOLE_PAGE), list, |job: JobBlobs| {
        let NamedBlobs { input_blob, files } = &job.spec;
        let files = files.as_object().into_iter().flat_map(|files| files.values());
        let digests = files.chain([input_blob]).filter_map(|blob| blob["sha256"].as_str());
        found.extend(digests.map(str::to_owned));
    })
    .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server with jobs of these specs on two pages.
    fn client(first: Value, second: Value) -> Client {
        let page = |specs: &Value, next: &str| {
            let job = |spec: &Value| json!({ "metadata": { "name": "j" }, "spec": spec });
            let items: Vec<_> = specs.as_array().unwrap().iter().map(job).collect();
            let metadata = json!({ "continue": next });
            json!({ "kind": "ComputeJobList", "apiVersion": "windlass.dev/v1alpha1",
                "metadata": metadata, "items": items })
        };
        let pages = [page(&first, "more"), page(&second, "")].map(|page| page.to_string());
        let service = tower::service_fn(move |request: Request<Body>| {
            let is_second = request.uri().query().unwrap().contains("continue=more");
            let page = pages[usize::from(is_second)].clone();
            let answer = Response::new(Full::from(page));
            std::future::ready(Ok::<_, std::convert::Infallible>(answer))
        });
        Client::new(service, "n")
    }

    #[tokio::test]
    async fn every_blob_that_a_job_names_is_needed_whatever_else_is_wrong() {
        let blob = |sha256: &str| json!({ "sha256": sha256, "bytes": 1 });
        let first = json!([
            { "function": "f", "inputBlob": blob("a"), "files": { "x": blob("b"), "y": blob("c") } },
            { "function": "f", "input": { "files": { "z": blob("no") } } },
            { "function": 7, "files": [blob("no")], "inputBlob": "no" },
        ]);
        let second = json!([{ "files": { "x": 3, "y": blob("d") } }]);
        let mut named: Vec<_> =
            named_blobs(&client(first, second), "n").await.unwrap().into_iter().collect();
        named.sort();
        assert_eq!(named, ["a", "b", "c", "d"]);
    }
}
