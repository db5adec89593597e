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

use crate::labels::{AttemptId, AttemptLabels, CONTAINER};

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
        return ended_without_container_status(status, now);
    }
    let container = container_state(status);
    if let Some(running) = container.and_then(|state| state.running.as_ref()) {
        let since = running.started_at.as_ref().map_or(now, |time| time.0);
        return AttemptState::Running { since };
    }
    if let Some(waiting) = container.and_then(|state| state.waiting.as_ref()) {
        let reason = waiting.reason.clone().filter(|r| !ORDINARY_WAITING.contains(&r.as_str()));
        let message = waiting.message.clone().unwrap_or_default();
        return AttemptState::Starting { reason, message };
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    AttemptState::Starting {
        reason: unscheduled.and_then(|c| c.reason.clone()),
        message: unscheduled.and_then(|c| c.message.clone()).unwrap_or_default(),
    }
}

/// A pod that has ended, of whose container nothing is known: evicted or refused before it ran; or
/// given up by the control plane because its node object is gone, which proves nothing.
fn ended_without_container_status(status: &core_v1::PodStatus, now: Timestamp) -> AttemptState {
    let disruption =
        status.conditions.iter().flatten().find(|c| {
            c.type_ == "DisruptionTarget" && c.reason.as_deref() == Some("DeletionByPodGC")
        });
    let reason = status.reason.clone().unwrap_or_else(|| "pod failed".into());
    let message = status.message.clone().unwrap_or_default();
    if let Some(disruption) = disruption
        && container_state(status).is_some_and(|state| state.running.is_some())
    {
        let since = disruption.last_transition_time.as_ref().map_or(now, |time| time.0);
        let message = disruption.message.clone().unwrap_or_default();
        return AttemptState::Unreachable { message, since };
    }
    AttemptState::Ended(End::Unreported {
        reason: FailureReason::Lost,
        message: format!("{reason} {message}"),
        at: now,
    })
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
    if let Some(ending) = dead.message.as_deref().and_then(read_termination_message) {
        return End::Reported(only_at_its_location(ending, labels).between(created, now));
    }
    let disrupted = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let why = dead.reason.as_deref().unwrap_or("unknown");
    let reason = match why {
        _ if disrupted || pod.metadata.deletion_timestamp.is_some() => FailureReason::Lost,
        // What a kubelet says of a container that it does not find any more: its node has started anew.
        "Unknown" | "ContainerStatusUnknown" => FailureReason::Lost,
        "OOMKilled" => FailureReason::OutOfMemory,
        "StartError" | "ContainerCannotRun" => FailureReason::CannotStart,
        _ => FailureReason::Killed,
    };
    let message = format!(
        "the worker left no word: {why}, exit code {}. {}",
        dead.exit_code,
        dead.message.as_deref().unwrap_or_default()
    );
    End::Unreported { reason, message, at }
}

/// A result that is said to be stored counts only in its own attempt's place.
fn only_at_its_location(mut ending: Ending, labels: &AttemptLabels) -> Ending {
    if let Outcome::Succeeded(result) = &ending.outcome
        && let Some(said) = &result.location
    {
        let AttemptId { job_uid, number } = &labels.attempt;
        if *said != location(&labels.namespace, job_uid, *number, &result.sha256) {
            let why = "the worker named a place that is not the attempt's";
            ending.outcome = Outcome::failed(FailureReason::ResultLost, why);
        }
    }
    ending
}

fn container_state(status: &core_v1::PodStatus) -> Option<&core_v1::ContainerState> {
    let all = status.container_statuses.as_ref()?;
    all.iter().find(|container| container.name == CONTAINER)?.state.as_ref()
}
