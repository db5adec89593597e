//! Kubernetes Events: what a user did or must do, where `kubectl describe` and `kubectl events` show
//! it. A job that just runs and succeeds has none: they cost writes.
//!
//! Pure but for [`publish`], which never fails a job: an event is worth trying, not waiting for.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::debug;
use windlass_core::status::{ConditionType, Failure, FailureReason, Truth, reasons};
use windlass_core::{Job, JobStatus, Phase};

/// Longest note that an API server takes, in bytes.
const MAX_NOTE_BYTES: usize = 1024;

/// Longest time of one call.
const CALL: Duration = Duration::from_secs(5);

/// The event of the step from the status of a job to `next`, if that is worth one.
pub(crate) fn status_event(job: &Job, next: &JobStatus) -> Option<Event> {
    let before = &job.status;
    if let Some(failure) = &next.failure
        && before.failure.as_ref() != Some(failure)
    {
        return Some(failed(failure, next));
    }
    if next.phase == Some(Phase::Cancelled) && before.phase != Some(Phase::Cancelled) {
        let note = "cancelled; nothing of it runs any more".to_owned();
        return Some(event(EventType::Normal, reasons::CANCELLED, "Cancel", note));
    }
    let reason = |status: &JobStatus, kind| status.condition(kind).map(|c| c.reason.clone());
    let lacks = [reasons::FUNCTION_NOT_FOUND, reasons::FUNCTION_DELETED, reasons::QUEUE_TOO_SMALL];
    if let Some(admitted) = next.condition(ConditionType::Admitted)
        && lacks.contains(&admitted.reason.as_str())
        && reason(before, ConditionType::Admitted).as_ref() != Some(&admitted.reason)
    {
        let note = format!("waits: {}", admitted.message);
        return Some(event(EventType::Warning, &admitted.reason, "Admit", note));
    }
    let running = next.condition(ConditionType::Running)?;
    let ordinary = [reasons::STARTING, reasons::RUNNING, reasons::ENDED];
    let reason_before = reason(before, ConditionType::Running);
    let hindered = running.status != Truth::True && !ordinary.contains(&running.reason.as_str());
    if hindered && !next.is_finished() && reason_before.as_ref() != Some(&running.reason) {
        let note = match running.status {
            Truth::Unknown => running.message.clone(),
            Truth::True | Truth::False => format!("does not run yet: {}", running.message),
        };
        return Some(event(EventType::Warning, &running.reason, "Start", note));
    }
    None
}

/// The event of an attempt that failed. A recorder takes events of the same action for one that goes on.
pub(crate) fn failed(failure: &Failure, status: &JobStatus) -> Event {
    let ended = status.phase == Some(Phase::Failed);
    let then = if ended { "" } else { ", and is tried again" };
    let what = match (failure.reason, status.parallelism) {
        (FailureReason::Unschedulable | FailureReason::Preempted, Some(cpus)) => {
            format!("gives {cpus} CPUs back")
        }
        _ => "failed".to_owned(),
    };
    let note = format!("attempt {} {what}{then}: {}", failure.attempt, failure.message);
    let action = format!("RunAttempt{}", failure.attempt);
    event(EventType::Warning, failure.reason.as_str(), &action, note)
}

/// The event of an object that cannot be read.
pub(crate) fn unreadable(why: &str) -> Event {
    let note = format!("this object cannot be read, and nothing is done with it: {why}");
    event(EventType::Warning, "Malformed", "Read", note)
}

/// Publishes an event about an object.
pub(crate) async fn publish(recorder: &Recorder, about: &ObjectReference, event: &Event) {
    let (kind, name) = (about.kind.as_deref(), about.name.as_deref());
    match tokio::time::timeout(CALL, recorder.publish(event, about)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(kind, name, %error, "an event is not published"),
        Err(_) => debug!(kind, name, "an event is not published in time"),
    }
}

fn event(type_: EventType, reason: &str, action: &str, note: String) -> Event {
    let end = note.floor_char_boundary(MAX_NOTE_BYTES);
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note[..end].to_owned()),
        action: action.to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    fn job() -> Job {
        Job::new(Metadata::default(), JobSpec::default())
    }

    fn reason(job: &Job, next: &JobStatus) -> Option<String> {
        status_event(job, next).map(|event| event.reason)
    }

    #[test]
    fn a_job_that_runs_and_succeeds_has_no_event() {
        let mut next = JobStatus { phase: Some(Phase::Running), ..JobStatus::default() };
        let now = Timestamp::UNIX_EPOCH;
        next.set_condition(ConditionType::Running, true, reasons::RUNNING, "", now);
        assert_eq!(reason(&job(), &next), None);
        next.phase = Some(Phase::Succeeded);
        next.set_condition(ConditionType::Running, false, reasons::ENDED, "", now);
        assert_eq!(reason(&job(), &next), None);
    }

    #[test]
    fn what_hinders_a_start_and_what_failed_is_told_once() {
        let now = Timestamp::UNIX_EPOCH;
        let mut stuck = JobStatus { phase: Some(Phase::Starting), ..JobStatus::default() };
        stuck.set_condition(ConditionType::Running, false, "Unschedulable", "no node", now);
        assert_eq!(reason(&job(), &stuck).as_deref(), Some("Unschedulable"));
        let told = Job { status: stuck.clone(), ..job() };
        assert_eq!(reason(&told, &stuck), None);

        let failure = Failure {
            reason: FailureReason::Crashed,
            message: "ä".repeat(3000),
            exit_code: Some(3),
            attempt: 1,
            time: now,
            refused_since: None,
        };
        let failed = JobStatus { failure: Some(failure), ..stuck.clone() };
        let event = status_event(&told, &failed).unwrap();
        assert_eq!(event.reason, "Crashed");
        assert!(event.note.is_some_and(|note| note.len() <= MAX_NOTE_BYTES));
        let told = Job { status: failed.clone(), ..job() };
        assert_eq!(reason(&told, &failed), None);
    }

    #[test]
    fn cpus_that_are_given_back_are_no_failure() {
        let failure = Failure {
            reason: FailureReason::Unschedulable,
            message: "0/1 nodes are available: 1 Insufficient cpu.".into(),
            exit_code: None,
            attempt: 2,
            time: Timestamp::UNIX_EPOCH,
            refused_since: None,
        };
        let status = JobStatus {
            failure: Some(failure),
            phase: Some(Phase::Queued),
            parallelism: Some(4),
            ..JobStatus::default()
        };
        let event = status_event(&job(), &status).unwrap();
        let note = "attempt 2 gives 4 CPUs back, and is tried again: \
            0/1 nodes are available: 1 Insufficient cpu.";
        assert_eq!((&*event.reason, event.note.as_deref()), ("Unschedulable", Some(note)));
    }
}
