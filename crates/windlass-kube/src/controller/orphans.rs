//! Deletes pods that belong to nobody: somebody has deleted their batch Jobs without them. The garbage collector does not
//! know such pods, and nothing that they report is believed.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tracing::{info, warn};

use super::context::Context;
use super::delete::{deleted, only_of};
use crate::error::within_deadline;

/// How often they are looked for.
const TICK: Duration = Duration::from_secs(5);

/// Deletes them, as long as it runs and this process leads.
pub(crate) async fn run(ctx: &Context) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !ctx.is_leading() || !ctx.synced.has_synced() {
            continue;
        }
        for (labels, uid, name) in ctx.attempts.orphaned_pods() {
            let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &labels.namespace);
            let answer = within_deadline(pods.delete(&name, &only_of(&uid))).await;
            match answer.and_then(deleted) {
                Ok(()) => info!(pod = name, job = labels.job, "deleted: its batch Job is gone"),
                Err(error) => warn!(pod = name, %error, "a pod that nobody owns cannot be deleted"),
            }
        }
    }
}
