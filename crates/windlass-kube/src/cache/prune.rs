//! Drops what nobody reads of the objects that other controllers own, so that a cache stays small.

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;

/// What is read of a batch Job is its metadata, its status and whether it is suspended.
pub(crate) fn prune_batch_job(batch_job: &mut batch::Job) {
    let suspend = batch_job.spec.take().and_then(|spec| spec.suspend);
    batch_job.spec = suspend
        .map(|suspend| batch::JobSpec { suspend: Some(suspend), ..batch::JobSpec::default() });
    batch_job.metadata.annotations = None;
}

/// What is read of a pod is its metadata, its node and its status.
pub(crate) fn prune_pod(pod: &mut core_v1::Pod) {
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        let node_name = spec.node_name.take();
        *spec = core_v1::PodSpec { node_name, ..Default::default() };
    }
}
