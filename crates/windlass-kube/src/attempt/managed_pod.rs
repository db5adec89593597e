//! The pod of a batch Job that this controller manages, as the Job controller would make it. Pure.

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};

use super::managed::may_get_pod;
use super::owner::batch_job_of;

/// Ends the name of the pod: a batch Job has one.
const SUFFIX: &str = "pod";

/// The pod of this batch Job, made of its template; `None` when it may not have one now.
///
/// The name is computed, so that a creation that is repeated meets its own first try, and a second pod cannot
/// be there beside the first. It has no finalizer: see docs/decisions.md.
pub(crate) fn pod_of(batch_job: &batch::Job) -> Option<core_v1::Pod> {
    let template = batch_job.spec.as_ref().filter(|_| may_get_pod(batch_job))?.template.clone();
    let of_template = template.metadata.unwrap_or_default();
    let name = batch_job.name_any();
    let owner = OwnerReference {
        api_version: batch::Job::api_version(&()).into_owned(),
        kind: batch::Job::kind(&()).into_owned(),
        name: name.clone(),
        uid: batch_job.uid()?,
        controller: Some(true),
        block_owner_deletion: None,
    };
    Some(core_v1::Pod {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{SUFFIX}")),
            namespace: batch_job.namespace(),
            labels: of_template.labels,
            annotations: of_template.annotations,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    })
}

/// Whether a pod is that of this batch Job.
pub(crate) fn is_pod_of(pod: &core_v1::Pod, batch_job: &batch::Job) -> bool {
    batch_job_of(pod).is_some_and(|owner| Some(&owner.uid) == batch_job.metadata.uid.as_ref())
}
