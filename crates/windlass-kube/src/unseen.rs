//! Attempts that nobody sees: claimed and not shown by the watches, or gone before their pods were seen.
//! Whether they are there is asked at the API server, for all of them at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use tracing::warn;
use windlass_core::Error;

use crate::attempt::{LABEL_ATTEMPT, LABEL_JOB_UID};
use crate::error::{from_kube, within_deadline};
use crate::observe::AttemptId;
use crate::world::World;

/// How often is asked.
const TICK: Duration = Duration::from_secs(1);

/// Most jobs in one question: their UIDs are in its URL.
const MOST_ASKED: usize = 50;

/// Asks, as long as it runs.
pub(crate) async fn run(world: &World) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut vanished = HashSet::new();
    loop {
        tick.tick().await;
        let before =
            std::mem::replace(&mut vanished, world.traces.in_doubt().into_iter().collect());
        // A Job controller may make a pod of a batch Job that was deleted a moment ago.
        let mut doubtful: Vec<_> = vanished.intersection(&before).cloned().collect();
        doubtful.extend(world.unseen_claims());
        for some in doubtful.chunks(MOST_ASKED) {
            match there(world, some).await {
                Ok(there) => {
                    for attempt in some.iter().filter(|attempt| !there.contains(attempt)) {
                        world.is_over(attempt);
                    }
                }
                Err(error) => warn!(%error, "what was not seen cannot be asked for"),
            }
        }
    }
}

/// Those of them that left something at the API server.
async fn there(world: &World, attempts: &[AttemptId]) -> Result<HashSet<AttemptId>, Error> {
    let uids: BTreeSet<&str> = attempts.iter().map(|attempt| &*attempt.job_uid).collect();
    let uids: Vec<_> = uids.into_iter().collect();
    let params = ListParams::default().labels(&format!("{LABEL_JOB_UID} in ({})", uids.join(",")));
    let carriers: Api<batch::Job> = world.api_of_all();
    let pods: Api<core_v1::Pod> = world.api_of_all();
    // In this order: of a batch Job that is gone no pod is made.
    let carriers = within_deadline(carriers.list_metadata(&params)).await?.map_err(from_kube)?;
    let pods = within_deadline(pods.list_metadata(&params)).await?.map_err(from_kube)?;
    let carriers = carriers.iter().map(|carrier| carrier.labels());
    let pods = pods.iter().map(|pod| pod.labels());
    Ok(carriers.chain(pods).filter_map(attempt_of).collect())
}

fn attempt_of(labels: &BTreeMap<String, String>) -> Option<AttemptId> {
    let job_uid = labels.get(LABEL_JOB_UID)?.as_str().into();
    Some(AttemptId { job_uid, number: labels.get(LABEL_ATTEMPT)?.parse().ok()? })
}
