//! Pods that belong to nobody: somebody has deleted their batch Jobs and left them, and then their
//! ComputeJobs. The garbage collector does not know them; as long as the job is there, its end removes them.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tracing::{info, warn};

use crate::controller::apply::{deleted, only_of};
use crate::controller::context::World;
use crate::error::within_deadline;

/// How often is looked.
const TICK: Duration = Duration::from_secs(5);

/// Deletes them, as long as it runs and this process leads.
pub(crate) async fn run(world: &World) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if !*world.leads.borrow() || !world.listed.borrow().all() {
            continue;
        }
        for (origin, uid, name) in world.traces.orphans() {
            if world.job_of(&origin.attempt).is_some() {
                continue;
            }
            let pods: Api<Pod> = Api::namespaced(world.client.clone(), &origin.namespace);
            let answer = within_deadline(pods.delete(&name, &only_of(&uid))).await;
            match answer.and_then(deleted) {
                Ok(()) => info!(pod = name, job = origin.job, "deleted: its job is gone"),
                Err(error) => warn!(pod = name, %error, "what nobody owns cannot be deleted"),
            }
        }
    }
}
