//! How far an attempt is, as its pod tells. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use windlass_core::Outcome;
use windlass_core::assignment::read_termination_message;
use windlass_core::plan::{AttemptState, End};
use windlass_core::report::Ending;
use windlass_core::result::location;
use windlass_core::status::FailureReason;

use super::owner::is_standby;
use super::standby::running_since;
use crate::labels::{AttemptId, AttemptLabels, CONTAINER};

/// Whether all containers of a pod are ready.
pub(super) fn is_ready(pod: &core_v1::Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// When the container of a pod has ended, by its node's clock.
pub(super) fn end_of(pod: &core_v1::Pod) -> Option<Timestamp> {
    let dead = container_state(pod.status.as_ref()?)?.terminated.as_ref()?;
    dead.finished_at.as_ref().map(|time| time.0)
}

/// Since when the function of a pod has ended, and containers beside it have not. Those that Kubernetes itself ends then
/// are init containers.
pub(super) fn held_since(pod: &core_v1::Pod, now: Timestamp) -> Option<Timestamp> {
    let ended = end_of(pod);
    let status = pod.status.as_ref()?;
    container_state(status)?.terminated.as_ref()?;
    let mut states = status.container_statuses.iter().flatten().map(|one| one.state.as_ref());
    states
        .any(|state| state.is_some_and(|state| state.running.is_some()))
        .then_some(ended.unwrap_or(now))
}

/// The end of an attempt of whose pod nobody knows whether it was ever there.
pub(super) fn unknown(placeholder: &core_v1::Pod, now: Timestamp) -> End {
    let at = placeholder.creation_timestamp().map_or(now, |time| time.0);
    let message = "its controller has ended before it was known whether its pod has run".into();
    End::Unreported { reason: FailureReason::Lost, message, at }
}

/// When a pod was deleted that has no node: it never gets one. It may be there for 20 s more, since the Job controller's
/// finalizer holds it until the garbage collector of pods has marked it as failed.
fn deleted_without_node(pod: &core_v1::Pod, now: Timestamp) -> Option<Timestamp> {
    let has_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    pod.metadata.deletion_timestamp.as_ref().filter(|_| !has_node).map(|time| time.0.min(now))
}

/// Reasons of a waiting container that only mean "not yet".
const ORDINARY_WAITING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

pub(super) fn pod_state(
    pod: &core_v1::Pod,
    labels: &AttemptLabels,
    now: Timestamp,
) -> AttemptState {
    let nothing = core_v1::PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&nothing);
    if let Some(dead) = container_state(status).and_then(|state| state.terminated.as_ref()) {
        return AttemptState::Ended(end_of_container(pod, labels, dead, now));
    }
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return ended_without_container_status(pod, now);
    }
    if let Some(at) = deleted_without_node(pod, now) {
        let message = "its pod was deleted before it had a node".into();
        return AttemptState::Ended(End::Unreported { reason: FailureReason::Lost, message, at });
    }
    let container = container_state(status);
    if let Some(running) = container.and_then(|state| state.running.as_ref()) {
        if is_standby(&pod.metadata) {
            // The worker has run before. That the function runs for this attempt, the pod says later.
            return running_since(&pod.metadata).map_or_else(
                || AttemptState::Starting { reason: None, message: "on a standby".into() },
                |since| AttemptState::Running { since },
            );
        }
        let since = running.started_at.as_ref().map_or(now, |time| time.0);
        return AttemptState::Running { since };
    }
    if let Some(waiting) = container.and_then(|state| state.waiting.as_ref()) {
        let Some(reason) = said_of_waiting(waiting) else {
            let (reason, message) = hindering_init_container(status).unwrap_or_default();
            return AttemptState::Starting { reason, message };
        };
        let message = waiting.message.clone().unwrap_or_default();
        return AttemptState::Starting { reason: Some(reason), message };
    }
    let unscheduled = unscheduled(status);
    AttemptState::Starting {
        reason: unscheduled.and_then(|c| c.reason.clone()),
        message: unscheduled.and_then(|c| c.message.clone()).unwrap_or_default(),
    }
}

/// What its scheduler says of a pod that has no node.
fn unscheduled(status: &core_v1::PodStatus) -> Option<&core_v1::PodCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|c| c.type_ == "PodScheduled" && c.status == "False")
}

/// Since when its scheduler says that no node has room for a pod. It says nothing of the kind while it makes room on a
/// node, nor does whoever holds the pod back by a scheduling gate.
pub(super) fn unschedulable_since(pod: &core_v1::Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let has_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let is_nominated = status.nominated_node_name.as_ref().is_some_and(|node| !node.is_empty());
    let said =
        unscheduled(status).filter(|said| said.reason.as_deref() == Some("Unschedulable"))?;
    let since = said.last_transition_time.as_ref()?.0;
    (!has_node && !is_nominated).then_some(since)
}

/// The reason of a waiting container, if it means more than "not yet".
fn said_of_waiting(waiting: &core_v1::ContainerStateWaiting) -> Option<String> {
    waiting.reason.clone().filter(|reason| !ORDINARY_WAITING.contains(&reason.as_str()))
}

/// The container that must run before the function and does not, or not to its end: a reason, if it is worth being told
/// at once, and a sentence. One that is ready is a sidecar.
fn hindering_init_container(status: &core_v1::PodStatus) -> Option<(Option<String>, String)> {
    let all = status.init_container_statuses.as_deref().unwrap_or_default();
    all.iter().find_map(|container| {
        let (name, state) = (&container.name, container.state.as_ref()?);
        if let Some(waiting) = &state.waiting {
            let message = waiting.message.as_deref().unwrap_or_default();
            let reason = said_of_waiting(waiting)?;
            return Some((Some(reason), format!("init container {name:?}: {message}")));
        }
        let hangs = state.running.is_some() && !container.ready;
        hangs.then(|| (None, format!("init container {name:?} runs and has not ended")))
    })
}

/// A pod that has ended, of whose container no end is known: evicted or refused before it ran; or
/// given up by the control plane because its node object is gone, which proves nothing.
fn ended_without_container_status(pod: &core_v1::Pod, now: Timestamp) -> AttemptState {
    let nothing = core_v1::PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&nothing);
    if let Some(disruption) = disruption(status)
        && disruption.reason.as_deref() == Some("DeletionByPodGC")
        && container_state(status).is_some_and(|state| state.running.is_some())
    {
        let since = disruption.last_transition_time.as_ref().map_or(now, |time| time.0);
        let message = disruption.message.clone().unwrap_or_default();
        return AttemptState::Unreachable { message, since };
    }
    let said = said_of_pod(status);
    let has_containers = status.container_statuses.as_ref().is_some_and(|all| !all.is_empty());
    let failed = failed_init_container(status);
    let (reason, message) = match (cause(pod), said, failed) {
        (Some(FailureReason::Lost), said, _) => {
            (FailureReason::Lost, said.unwrap_or_else(|| "its pod was ended".into()))
        }
        (Some(reason), said, _) if has_containers || reason == FailureReason::Timeout => {
            (reason, said.unwrap_or_default())
        }
        (_, _, Some(message)) => (FailureReason::Crashed, message),
        // A kubelet that takes no pod says so of the pod alone.
        (_, Some(message), None) if !has_containers => {
            return AttemptState::Ended(End::NotTaken { message, at: now });
        }
        (_, said, None) => (
            FailureReason::Killed,
            said.unwrap_or_else(|| "its pod failed, nothing says why".into()),
        ),
    };
    AttemptState::Ended(End::Unreported { reason, message, at: now })
}

/// Why the pod as a whole was ended, if it was. A disruption, as Kubernetes calls it, or a deletion is not the job's
/// doing. A kubelet evicts a pod that used more than its own limit, which is no disruption.
fn cause(pod: &core_v1::Pod) -> Option<FailureReason> {
    let status = pod.status.as_ref();
    if pod.metadata.deletion_timestamp.is_some() || status.and_then(disruption).is_some() {
        return Some(FailureReason::Lost);
    }
    match status?.reason.as_deref()? {
        "DeadlineExceeded" => Some(FailureReason::Timeout),
        "Evicted" => Some(FailureReason::Killed),
        _ => None,
    }
}

fn disruption(status: &core_v1::PodStatus) -> Option<&core_v1::PodCondition> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().find(|c| c.type_ == "DisruptionTarget" && c.status == "True")
}

/// What its kubelet says of the pod as a whole.
fn said_of_pod(status: &core_v1::PodStatus) -> Option<String> {
    let reason = status.reason.as_deref().filter(|reason| !reason.is_empty())?;
    Some(format!("{reason}: {}", status.message.as_deref().unwrap_or_default()))
}

/// What is said of a container that must succeed before the function starts, and has failed.
fn failed_init_container(status: &core_v1::PodStatus) -> Option<String> {
    let all = status.init_container_statuses.as_deref().unwrap_or_default();
    all.iter().find_map(|container| {
        let dead = container.state.as_ref()?.terminated.as_ref()?;
        (dead.exit_code != 0).then(|| format!("init {}", said_of_end(&container.name, dead)))
    })
}

fn said_of_end(container: &str, dead: &core_v1::ContainerStateTerminated) -> String {
    let why = dead.reason.as_deref().unwrap_or("unknown");
    let message = dead.message.as_deref().unwrap_or_default();
    format!("container {container:?} ended: {why}, exit code {}. {message}", dead.exit_code)
}

fn end_of_container(
    pod: &core_v1::Pod,
    labels: &AttemptLabels,
    dead: &core_v1::ContainerStateTerminated,
    now: Timestamp,
) -> End {
    let created = pod.creation_timestamp().map_or(now, |time| time.0);
    // By its node's clock, which may be any.
    let at = dead.finished_at.as_ref().map_or(now, |time| time.0).max(created).min(now);
    let cause = cause(pod);
    let mut said = said_of_end(CONTAINER, dead);
    if let Some(ending) = dead.message.as_deref().and_then(read_termination_message) {
        match &ending.outcome {
            // A worker that is told to stop does not know why.
            Outcome::Failed { reason: FailureReason::Lost, message, .. }
                if cause != Some(FailureReason::Lost) =>
            {
                let short = core_v1::ContainerStateTerminated { message: None, ..dead.clone() };
                said = format!("{}{message}", said_of_end(CONTAINER, &short));
            }
            _ => return End::Reported(only_at_its_location(ending, labels).between(created, now)),
        }
    }
    let why = dead.reason.as_deref().unwrap_or("unknown");
    let reason = match (cause, why) {
        (Some(cause), _) => cause,
        // What a kubelet says of a container that it does not find any more: its node has started anew.
        (None, "Unknown" | "ContainerStatusUnknown") => FailureReason::Lost,
        (None, "OOMKilled") => FailureReason::OutOfMemory,
        (None, "StartError" | "ContainerCannotRun") => FailureReason::CannotStart,
        (None, _) => FailureReason::Killed,
    };
    let of_pod = pod.status.as_ref().and_then(said_of_pod).map(|said| format!("{said} "));
    let message = format!("the worker left no outcome. {}{said}", of_pod.unwrap_or_default());
    End::Unreported { reason, message, at }
}

/// A result that is said to be stored counts only in its own attempt's place.
fn only_at_its_location(mut ending: Ending, labels: &AttemptLabels) -> Ending {
    let AttemptId { job_uid, number } = &labels.attempt;
    let is_elsewhere = ending.outcome.result().is_some_and(|result| {
        let own = location(&labels.namespace, job_uid, *number, &result.sha256);
        result.location.as_ref().is_some_and(|said| *said != own)
    });
    match &mut ending.outcome {
        Outcome::Failed { partial, .. } if is_elsewhere => *partial = None,
        outcome if is_elsewhere => {
            let why = "the worker named a place that is not the attempt's";
            *outcome = Outcome::failed(FailureReason::ResultLost, why);
        }
        _ => {}
    }
    ending
}

fn container_state(status: &core_v1::PodStatus) -> Option<&core_v1::ContainerState> {
    let all = status.container_statuses.as_ref()?;
    all.iter().find(|container| container.name == CONTAINER)?.state.as_ref()
}
