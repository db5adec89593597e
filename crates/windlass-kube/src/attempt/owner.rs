//! Whose a batch Job or a pod is: owner references, and names that are computed.
//!
//! Labels can be anybody's, and anybody may remove them. A batch Job is ours when the ComputeJob controls it, by UID,
//! and it has the name that is computed for the attempt or is a standby that was claimed. A pod is ours when such a
//! batch Job controls it. A pod without owners was left behind by somebody who deleted its batch Job. It is
//! known by its name, which proves nothing: it is ended, and what it says is not believed.

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use windlass_core::{AttemptNumber, GROUP, Job, name};

use crate::labels::{AttemptLabels, LABEL_STANDBY};

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

/// Whether an object is a standby, claimed or not.
pub(crate) fn is_standby(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_STANDBY))
}

/// The batch Job that controls a pod, as the pod says.
pub(crate) fn batch_job_of(pod: &core_v1::Pod) -> Option<&OwnerReference> {
    controller_of(pod, "Job", "batch")
}

/// The ComputeJob that controls a batch Job.
pub(crate) fn job_of(batch_job: &batch::Job) -> Option<&OwnerReference> {
    controller_of(batch_job, Job::KIND, GROUP)
}

/// Whether a batch Job is that of this attempt, whatever its labels say.
pub(crate) fn is_attempt(batch_job: &batch::Job, job: &Job, number: AttemptNumber) -> bool {
    let (name, uid) = (&job.metadata.name, &job.metadata.uid);
    // Whoever claims a standby writes owner and labels at once.
    let is_its = batch_job.name_any() == name::attempt(name, uid, number)
        || is_standby(&batch_job.metadata)
            && AttemptLabels::read(batch_job).is_some_and(|labels| {
                *labels.attempt.job_uid == **uid && labels.attempt.number == number
            });
    is_its && job_of(batch_job).is_some_and(|owner| owner.uid == *uid)
}

/// The labels of a batch Job that is ours; `None` for anybody else's.
pub(super) fn own_batch_job(object: &batch::Job) -> Option<AttemptLabels> {
    let labels = AttemptLabels::read(object)?;
    let is_ours = job_of(object)?.uid == *labels.attempt.job_uid
        && (object.name_any() == batch_job_name(&labels) || is_standby(&object.metadata));
    is_ours.then_some(labels)
}

/// The labels and the owner of a pod that is ours; `None` for anybody else's.
pub(super) fn own_pod(pod: &core_v1::Pod) -> Option<(AttemptLabels, PodOwner)> {
    let labels = AttemptLabels::read(pod)?;
    let batch_job = batch_job_name(&labels);
    let owner = match batch_job_of(pod) {
        // Which batch Job of this attempt it is, whoever reads it checks by UID.
        Some(owner) if owner.name == batch_job || is_standby(&pod.metadata) => {
            PodOwner::BatchJob { uid: owner.uid.clone() }
        }
        None if pod.owner_references().is_empty() && is_standby(&pod.metadata) => PodOwner::Gone,
        None if pod.owner_references().is_empty() => {
            let name = pod.name_any();
            name.strip_prefix(&batch_job)?.starts_with('-').then_some(PodOwner::Gone)?
        }
        _ => return None,
    };
    Some((labels, owner))
}

/// What controls an object, if it is of this kind and API group.
fn controller_of<'a, K: Resource>(
    object: &'a K,
    kind: &str,
    group: &str,
) -> Option<&'a OwnerReference> {
    object.owner_references().iter().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == kind
            && owner.api_version.split_once('/').is_some_and(|(of, _)| of == group)
    })
}

/// The name that the batch Job of this attempt has.
fn batch_job_name(labels: &AttemptLabels) -> String {
    name::attempt(&labels.job, &labels.attempt.job_uid, labels.attempt.number)
}
