//! Deleting stored results whose job is no more, however it went: by kubectl, at the end of its time to
//! live, with its namespace.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use windlass_core::Error;
use windlass_results::Results;

use crate::crd::ComputeJob;
use crate::error::{from_kube, within_deadline};

/// Between two sweeps.
const INTERVAL: Duration = Duration::from_secs(600);

/// Jobs that are listed at a time, without what is in them.
const PAGE: u32 = 500;

/// Sweeps now and every ten minutes, for ever. Several gateways may do it at the same time.
pub async fn sweep(client: Client, results: Results) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match once(&client, &results).await {
            Ok(0) => {}
            Ok(deleted) => info!(deleted, "stored results of jobs that are gone were deleted"),
            Err(error) => warn!(%error, "stored results could not be swept"),
        }
    }
}

/// One sweep. How many results were deleted.
pub(crate) async fn once(client: &Client, results: &Results) -> Result<usize, Error> {
    let mut deleted = 0;
    for namespace in results.namespaces().await? {
        // What is stored first: a job that is newer is in the list.
        let stored = results.jobs(&namespace).await?;
        let known = match uids(client, &namespace).await {
            Ok(known) => known,
            // It is not served, or not any more.
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
async fn uids(client: &Client, namespace: &str) -> Result<BTreeSet<String>, Error> {
    let jobs: Api<ComputeJob> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeSet::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = within_deadline(jobs.list_metadata(&params)).await?.map_err(from_kube)?;
        found.extend(page.items.into_iter().filter_map(|job| job.metadata.uid));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}
