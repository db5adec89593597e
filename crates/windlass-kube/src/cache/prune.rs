//! Drops what nobody reads of the objects that other controllers own, so that a cache stays small.

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::core::ObjectMeta;

use crate::labels::{
    ANNOTATION_ATTEMPT_IS, ANNOTATION_CLAIMED, ANNOTATION_MAKER, ANNOTATION_NAMED_FOR,
    ANNOTATION_RUNNING,
};

/// What is read of a batch Job is its metadata, its status, whether it is suspended or has no parallelism, who manages it
/// and makes its pod.
pub(crate) fn prune_batch_job(batch_job: &mut batch::Job) {
    batch_job.spec = batch_job.spec.take().map(|spec| batch::JobSpec {
        suspend: spec.suspend,
        parallelism: spec.parallelism,
        managed_by: spec.managed_by,
        ..batch::JobSpec::default()
    });
    keep_annotations(
        &mut batch_job.metadata,
        &[ANNOTATION_MAKER, ANNOTATION_NAMED_FOR, ANNOTATION_ATTEMPT_IS, ANNOTATION_CLAIMED],
    );
}

/// What is read of a pod is its metadata, its node, what keeps it from one, and its status.
pub(crate) fn prune_pod(pod: &mut core_v1::Pod) {
    keep_annotations(&mut pod.metadata, &[ANNOTATION_CLAIMED, ANNOTATION_RUNNING]);
    if let Some(spec) = &mut pod.spec {
        let (node_name, scheduling_gates) = (spec.node_name.take(), spec.scheduling_gates.take());
        *spec = core_v1::PodSpec { node_name, scheduling_gates, ..Default::default() };
    }
}

fn keep_annotations(meta: &mut ObjectMeta, read: &[&str]) {
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| read.contains(&key.as_str()));
    }
}
