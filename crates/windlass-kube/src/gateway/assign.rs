//! Tells a worker that waits in a pod what to do, once the controller has made its pod an attempt.
//!
//! The pod says so by labels and annotations, which anybody may write who may change pods. So the chain of controllers
//! must lead to a job that wants this attempt now.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use windlass_core::Error;
use windlass_core::assignment::{Assignment, StandbyAssignment};
use windlass_core::jobs::{AssignReply, Denied, ReportError};
use windlass_core::report::{self, Report};

use super::worker_identity::{WorkerPod, Workers};
use crate::attempt::owner::is_standby;
use crate::error::{call, from_kube};
use crate::labels::{ANNOTATION_ASSIGNMENT, ANNOTATION_INPUT, ANNOTATION_RUNNING, CONTAINER};

/// Waits until the pod is an attempt, and tells which.
pub(super) async fn assign(
    client: &Client,
    workers: &Workers,
    worker: &WorkerPod,
    within: Duration,
) -> AssignReply {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &worker.namespace);
    let seconds = u32::try_from(within.as_secs()).unwrap_or(u32::MAX);
    let params =
        WatchParams::default().fields(&format!("metadata.name={}", worker.name)).timeout(seconds);
    // The first event shows the pod as it is.
    let events = call(pods.watch(&params, "0")).await?;
    let mut events = events.boxed();
    while let Some(event) = events.try_next().await.map_err(from_kube)? {
        let pod = match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => pod,
            WatchEvent::Deleted(_) => return Err(Denied::Unauthenticated.into()),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(status) => return Err(Error::unavailable(status.message).into()),
        };
        if pod.metadata.uid.as_ref() != Some(&worker.uid) || !is_standby(&pod.metadata) {
            return Err(Denied::Unauthenticated.into());
        }
        let Some(told) = read_assignment(&pod) else { continue };
        let Assignment { job_uid, attempt, .. } = &told.assignment;
        let (job, _) = workers.job_of(worker, job_uid, *attempt).await?;
        if report::check(&job, job_uid, *attempt).is_err() || job.spec.cancel {
            return Err(Error::Conflict("the job wants no such attempt any more".into()).into());
        }
        return Ok(Some(Box::new(told)));
    }
    Ok(None)
}

/// What the pod says of its attempt, once it is to get the CPUs for it.
fn read_assignment(pod: &Pod) -> Option<StandbyAssignment> {
    let assignment = pod.annotations().get(ANNOTATION_ASSIGNMENT)?;
    let assignment: Assignment = serde_json::from_str(assignment).ok()?;
    let input = pod.annotations().get(ANNOTATION_INPUT)?.clone();
    let containers = &pod.spec.as_ref()?.containers;
    let container = containers.iter().find(|container| container.name == CONTAINER)?;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    let has_cpus = limits.get("cpu")?.0 == assignment.parallelism.to_string();
    let requests = container.resources.as_ref()?.requests.as_ref()?;
    let is_resized = has_cpus && requests.get("cpu") == limits.get("cpu");
    is_resized.then_some(StandbyAssignment { assignment, input })
}

/// Says on the pod that its function runs: the controller does not know what a worker is told. A pod that is no standby
/// says so by itself.
pub(super) async fn mark_running(
    client: &Client,
    workers: &Workers,
    worker: &WorkerPod,
    report: &Report,
) -> Result<(), ReportError> {
    let (_, running) = workers.job_of(worker, &report.job_uid, report.attempt).await?;
    if !running.is_standby {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &worker.namespace);
    let patch = json!({ "metadata": { "uid": worker.uid,
        "annotations": { ANNOTATION_RUNNING: Timestamp::now().to_string() } } });
    call(pods.patch(&worker.name, &PatchParams::default(), &Patch::Merge(patch))).await?;
    Ok(())
}
