//! A batch Job that this controller manages, since its `spec.managedBy` says so: the cluster's Job controller leaves it
//! alone. What is kept of it. Pure.

use k8s_openapi::api::batch::v1 as batch;

use crate::labels::ANNOTATION_MAKER;

/// What the `spec.managedBy` of such a batch Job says.
pub(crate) const MANAGED_BY: &str = "windlass.dev/job-controller";

/// What is kept of a batch Job that this controller manages.
#[derive(Clone, Debug)]
pub(crate) struct ManagedJob {
    resource_version: String,
    pub(super) status: batch::JobStatus,
    /// Whether somebody wants it suspended.
    is_to_suspend: bool,
    /// The process that makes its pod.
    maker: String,
}

/// Whether a batch Job says that this controller manages it.
pub(crate) fn is_managed(batch_job: &batch::Job) -> bool {
    let spec = batch_job.spec.as_ref();
    spec.and_then(|spec| spec.managed_by.as_deref()) == Some(MANAGED_BY)
}

/// Whether somebody wants a batch Job to have no pod until it is resumed. Without parallelism, the Job controller also
/// deletes its pod, which is no failure, and makes another when the parallelism is back.
pub(super) fn is_to_suspend(batch_job: &batch::Job) -> bool {
    let spec = batch_job.spec.as_ref();
    spec.is_some_and(|spec| spec.suspend == Some(true) || spec.parallelism == Some(0))
}

/// The process that makes the pod of a batch Job, as that says.
pub(crate) fn maker_of(batch_job: &batch::Job) -> Option<&str> {
    batch_job.metadata.annotations.as_ref()?.get(ANNOTATION_MAKER).map(String::as_str)
}

/// What is kept of a batch Job, if this controller manages it.
pub(super) fn read(batch_job: &batch::Job) -> Option<ManagedJob> {
    is_managed(batch_job).then(|| ManagedJob {
        resource_version: batch_job.metadata.resource_version.clone().unwrap_or_default(),
        status: batch_job.status.clone().unwrap_or_default(),
        is_to_suspend: is_to_suspend(batch_job),
        maker: maker_of(batch_job).unwrap_or_default().to_owned(),
    })
}

impl ManagedJob {
    /// The version that was read.
    pub(crate) fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// The process that makes its pod.
    pub(crate) fn maker(&self) -> &str {
        &self.maker
    }

    /// Whether it has had its pod, and no other is made.
    pub(super) fn had_pod(&self) -> bool {
        had_pod(&self.status)
    }

    /// Whether somebody wants it suspended.
    pub(super) fn is_to_suspend(&self) -> bool {
        self.is_to_suspend
    }

    /// Whether its status says that it is suspended.
    pub(super) fn says_suspended(&self) -> bool {
        has(&self.status, "Suspended")
    }
}

/// Whether a batch Job may be given its pod, as it is at the API server now.
pub(super) fn may_get_pod(batch_job: &batch::Job) -> bool {
    let nothing = batch::JobStatus::default();
    let status = batch_job.status.as_ref().unwrap_or(&nothing);
    let is_over = ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"]
        .into_iter()
        .any(|kind| has(status, kind));
    is_managed(batch_job)
        && batch_job.metadata.deletion_timestamp.is_none()
        && !is_to_suspend(batch_job)
        && !is_over
        && !had_pod(status)
}

/// Its pod was there once, and no other is made.
fn had_pod(status: &batch::JobStatus) -> bool {
    status.start_time.is_some() && !has(status, "Suspended")
}

fn has(status: &batch::JobStatus, kind: &str) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}
