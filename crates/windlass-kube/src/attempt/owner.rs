//! Whose a batch Job or a pod is: owner references, and names that are computed.
//!
//! Labels alone could be anybody's. A batch Job is ours when the ComputeJob owns it, by UID, and it has the name that is
//! computed for the attempt. A pod is ours when such a batch Job owns it. A pod without owners was left behind by
//! somebody who deleted its batch Job; it is known by its name.

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use windlass_core::{Job, name};

use crate::labels::AttemptLabels;

/// What owns a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodOwner {
    /// The batch Job of this UID.
    BatchJob {
        /// As the pod says.
        uid: String,
    },
    /// Nothing any more: its batch Job was deleted without it.
    Gone,
}

/// The owner of a pod, if that is, or was, the batch Job of this name. A pod without owners is known by its
/// name: whoever may create such a pod may as well claim that the batch Job owns it.
pub(crate) fn pod_owner(pod: &core_v1::Pod, batch_job: &str) -> Option<PodOwner> {
    let owners = pod.owner_references();
    match owners.iter().find(|owner| owner.kind == "Job" && owner.name == batch_job) {
        Some(owner) => Some(PodOwner::BatchJob { uid: owner.uid.clone() }),
        None if owners.is_empty() => {
            pod.name_any().strip_prefix(batch_job)?.starts_with('-').then_some(PodOwner::Gone)
        }
        None => None,
    }
}

/// The labels of a batch Job that is ours; `None` for anybody else's.
pub(crate) fn own_batch_job(object: &batch::Job) -> Option<AttemptLabels> {
    let labels = AttemptLabels::read(object)?;
    let owner = object.owner_references().iter().find(|owner| owner.kind == Job::KIND)?;
    let is_ours =
        owner.uid == *labels.attempt.job_uid && object.name_any() == batch_job_name(&labels);
    is_ours.then_some(labels)
}

/// The labels and the owner of a pod that is ours; `None` for anybody else's.
pub(super) fn own_pod(pod: &core_v1::Pod) -> Option<(AttemptLabels, PodOwner)> {
    let labels = AttemptLabels::read(pod)?;
    let owner = pod_owner(pod, &batch_job_name(&labels))?;
    Some((labels, owner))
}

/// The name that the batch Job of this attempt has.
fn batch_job_name(labels: &AttemptLabels) -> String {
    name::attempt(&labels.job, &labels.attempt.job_uid, labels.attempt.number)
}
