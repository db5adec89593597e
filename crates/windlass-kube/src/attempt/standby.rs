//! A standby: a batch Job whose worker waits for an attempt. Pure.
//!
//! An attempt has one name, and whoever creates the batch Job of that name has decided what the attempt is. It is this
//! batch Job itself, or, when that is a standby, the one that its annotations name: the [`Exchange`].

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;

use super::owner::{batch_job_of, is_standby, job_of};
use crate::labels::{
    ANNOTATION_ATTEMPT_IS, ANNOTATION_CLAIMED, ANNOTATION_NAMED_FOR, ANNOTATION_RUNNING, AttemptId,
    CONTAINER, LABEL_FUNCTION_DIGEST, LABEL_STANDBY,
};

/// An attempt that is not the batch Job of its name, but another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The attempt.
    pub attempt: AttemptId,
    /// Name of the standby batch Job that is the attempt.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What is kept of a standby batch Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standby {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The version that was read.
    pub resource_version: String,
    /// Its function.
    pub function: String,
    /// Digest of what its pod was made from.
    pub digest: String,
    /// When it was created.
    pub created: Timestamp,
    /// The attempt whose name it has, and what that attempt is.
    pub exchange: Option<Exchange>,
    /// Whether it is an attempt.
    pub is_claimed: bool,
    /// Whether it is over, or is being deleted.
    pub is_over: bool,
}

/// What is kept of the pod of a standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StandbyPod {
    pub name: String,
    pub uid: String,
    /// Whether its worker runs, and may wait.
    pub is_up: bool,
    /// Whether it has ended, or is being deleted.
    pub is_over: bool,
    /// Whether the function is known to run for an attempt.
    pub is_working: bool,
    /// Why it does not get its CPUs, if its node says so.
    pub pending_resize: Option<String>,
}

/// Reads a standby batch Job; `None` for any other.
pub(crate) fn read_standby(object: &batch::Job) -> Option<Standby> {
    let status = object.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let has_ended = status.is_some_and(|status| status.completion_time.is_some())
        || conditions.iter().any(|c| c.type_ == "Failed" && c.status == "True");
    Some(Standby {
        namespace: object.namespace()?,
        name: object.name_any(),
        uid: object.uid()?,
        resource_version: object.resource_version()?,
        function: object.labels().get(LABEL_STANDBY)?.clone(),
        digest: object.labels().get(LABEL_FUNCTION_DIGEST)?.clone(),
        created: object.creation_timestamp()?.0,
        exchange: read_exchange(object),
        is_claimed: job_of(object).is_some(),
        is_over: has_ended || object.metadata.deletion_timestamp.is_some(),
    })
}

/// What the attempt is that has the name of this batch Job, if it is another batch Job.
pub(crate) fn read_exchange(object: &batch::Job) -> Option<Exchange> {
    if !is_standby(&object.metadata) {
        return None;
    }
    let (job_uid, number) = object.annotations().get(ANNOTATION_NAMED_FOR)?.split_once('/')?;
    let (name, uid) = object.annotations().get(ANNOTATION_ATTEMPT_IS)?.split_once('/')?;
    let attempt = AttemptId { job_uid: job_uid.into(), number: number.parse().ok()? };
    Some(Exchange { attempt, name: name.to_owned(), uid: uid.to_owned() })
}

/// Reads the pod of a standby, with the UID of its batch Job; `None` for any other.
pub(crate) fn read_standby_pod(object: &core_v1::Pod) -> Option<(String, StandbyPod)> {
    if !is_standby(&object.metadata) {
        return None;
    }
    let batch_job = batch_job_of(object)?.uid.clone();
    let status = object.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let is_up = containers.unwrap_or_default().iter().any(|container| {
        container.name == CONTAINER
            && container.state.as_ref().is_some_and(|state| state.running.is_some())
    });
    let phase = status.and_then(|status| status.phase.as_deref());
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let pending = conditions.iter().find(|c| c.type_ == "PodResizePending" && c.status == "True");
    let pod = StandbyPod {
        name: object.name_any(),
        uid: object.uid()?,
        is_up,
        is_over: matches!(phase, Some("Succeeded" | "Failed"))
            || object.metadata.deletion_timestamp.is_some(),
        is_working: object.annotations().contains_key(ANNOTATION_RUNNING),
        pending_resize: pending.map(|condition| {
            let reason = condition.reason.as_deref().unwrap_or_default();
            format!("{reason}: {}", condition.message.as_deref().unwrap_or_default())
        }),
    };
    Some((batch_job, pod))
}

/// Since when a standby is an attempt.
pub(crate) fn claimed_since(meta: &ObjectMeta) -> Option<Timestamp> {
    time(meta, ANNOTATION_CLAIMED)
}

/// Since when the function of a claimed standby is known to run.
pub(super) fn running_since(meta: &ObjectMeta) -> Option<Timestamp> {
    time(meta, ANNOTATION_RUNNING)
}

fn time(meta: &ObjectMeta, annotation: &str) -> Option<Timestamp> {
    meta.annotations.as_ref()?.get(annotation)?.parse().ok()
}

impl Standby {
    /// Whether it waits for an attempt.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_claimed && !self.is_over
    }
}
