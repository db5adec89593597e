//! Whether a batch Job is suspended because it is to be deleted, and surely gets no pod then. Pure.

use k8s_openapi::api::batch::v1 as batch;

/// Whether a batch Job is suspended because it is to be deleted. It has no parallelism either: whoever has it go on by
/// `suspend` alone starts nothing.
pub(super) fn is_told_to_suspend(object: &batch::Job) -> bool {
    let spec = object.spec.as_ref();
    spec.is_some_and(|spec| spec.suspend == Some(true) && spec.parallelism == Some(0))
}

/// Whether nobody can have had a batch Job go on before it was suspended: its specification has changed once. When one goes
/// on, the Job controller makes its pod first and says afterwards that it is not suspended any more.
pub(super) fn was_never_resumed(object: &batch::Job) -> bool {
    object.metadata.generation.is_none_or(|generation| generation <= 2)
}
