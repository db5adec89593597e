//! Garbage collection of stored results: deletes those whose job is gone. It does not matter how the job went: by
//! kubectl, at the end of its time to live, or with its namespace.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use windlass_core::Error;
use windlass_results::Results;

use crate::crd::ComputeJob;
use crate::error::call;

/// Between two collections.
const INTERVAL: Duration = Duration::from_secs(600);

/// Jobs that are listed at a time, without what is in them.
const PAGE: u32 = 500;

/// Collects now and every ten minutes, for ever. Several gateways may do it at the same time.
pub async fn run_result_gc(client: Client, results: Results) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match collect(&client, &results).await {
            Ok(0) => {}
            Ok(deleted) => info!(deleted, "stored results of jobs that are gone were deleted"),
            Err(error) => warn!(%error, "stored results of jobs that are gone cannot be deleted"),
        }
    }
}

/// One collection. Returns how many results were deleted.
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
    }
    results.tidy().await?;
    Ok(deleted)
}

/// UIDs of all the jobs of a namespace.
async fn job_uids(client: &Client, namespace: &str) -> Result<BTreeSet<String>, Error> {
    let jobs: Api<ComputeJob> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeSet::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = call(jobs.list_metadata(&params)).await?;
        found.extend(page.items.into_iter().filter_map(|job| job.metadata.uid));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}
