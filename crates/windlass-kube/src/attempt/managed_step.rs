//! What to do next for a batch Job that this controller manages. Pure.
//!
//! Its one pod has a computed name, so that there is never a second one beside it. Its status says what the Job API
//! asks for, and no more often than anybody would look: the start of a pod that runs for seconds, and the end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use windlass_core::plan::{Attempt, AttemptState, STARTING_GRACE_MILLISECONDS};

use super::managed::ManagedJob;
use super::objects::{AttemptObjects, ObservedPod};

/// A pod that ends within this time of its container's start costs no write for having run. Whoever measures batch Jobs
/// looks no more often. A busy cluster shows the ends of short pods seconds late.
const RUNNING_GRACE: SignedDuration = SignedDuration::from_secs(15);

/// A pod that waits for this long is told as active although it does not run.
const PENDING_GRACE: SignedDuration = SignedDuration::from_millis(STARTING_GRACE_MILLISECONDS);

/// So long another process is given to make the pod of a batch Job that it has created a moment ago.
const MAKER_GRACE: SignedDuration = SignedDuration::from_secs(5);

/// What to do for such a batch Job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Create its pod.
    MakePod,
    /// Create a pod of the same name that never runs: nobody knows whether there was one, and there will be none.
    TakeName,
    /// Delete its pods, of these UIDs and names.
    EndPods(Vec<(String, String)>),
    /// Write its status with this merge patch, which holds only for the version that was read.
    WriteStatus(Value),
    /// Nothing before this time is over.
    Wait(Duration),
}

impl ManagedJob {
    fn patch(&self, status: Value) -> Step {
        let metadata = json!({ "resourceVersion": self.resource_version() });
        Step::WriteStatus(json!({ "metadata": metadata, "status": status }))
    }

    /// Its conditions, with these in place of those of the same type.
    fn conditions(&self, new: Vec<batch::JobCondition>) -> Vec<batch::JobCondition> {
        let mut all = self.status.conditions.clone().unwrap_or_default();
        all.retain(|old| new.iter().all(|new| new.type_ != old.type_));
        all.extend(new);
        all
    }

    /// Suspended: no pod counts, and the time that it may take begins anew when it goes on.
    fn suspended(&self, now: Timestamp) -> Step {
        let said = ("JobSuspended", "Job suspended");
        self.patch(json!({ "active": 0, "ready": 0, "startTime": null,
            "conditions": self.conditions(vec![condition("Suspended", true, said, now)]) }))
    }

    /// It has a pod that has not ended.
    fn active(&self, pod: &ObservedPod, now: Timestamp) -> Step {
        let start =
            self.status.start_time.clone().map_or(pod.created.unwrap_or(now), |time| time.0);
        let mut conditions = self.conditions(Vec::new());
        if self.says_suspended() {
            let said = ("JobResumed", "Job resumed");
            conditions = self.conditions(vec![condition("Suspended", false, said, now)]);
        }
        self.patch(json!({ "active": 1, "ready": i32::from(pod.is_ready), "terminating": 0,
            "startTime": Time(start), "uncountedTerminatedPods": {}, "conditions": conditions }))
    }

    /// Its pod has ended so, or is gone.
    fn ended(&self, started: Timestamp, succeeded: bool, ended: Timestamp, now: Timestamp) -> Step {
        let start = self.status.start_time.clone().map_or(started, |time| time.0);
        let (types, said) = if succeeded {
            (["SuccessCriteriaMet", "Complete"], SUCCEEDED)
        } else {
            (["FailureTarget", "Failed"], FAILED)
        };
        let new = types.map(|kind| condition(kind, true, said, now)).to_vec();
        self.patch(json!({
            "active": 0, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {},
            "succeeded": i32::from(succeeded), "failed": i32::from(!succeeded),
            "startTime": Time(start),
            "completionTime": succeeded.then(|| Time(ended.max(start))),
            "conditions": self.conditions(new),
        }))
    }
}

/// In the Job controller's words.
const SUCCEEDED: (&str, &str) = ("CompletionsReached", "Reached expected number of succeeded pods");
const FAILED: (&str, &str) =
    ("BackoffLimitExceeded", "Job has reached the specified backoff limit");

/// What to do next for the batch Job of an attempt, if this controller manages it. `may_start` says whether the attempt
/// is still to run, `is_new` whether its pod is known to have never been made, and `is_over` whether its job has ended.
pub(crate) fn next_step(
    attempt: &Attempt,
    objects: &AttemptObjects,
    may_start: bool,
    is_new: bool,
    is_over: bool,
    now: Timestamp,
) -> Option<Step> {
    let batch_job = objects.batch_job.as_ref()?;
    let managed = batch_job.managed.as_ref()?;
    if batch_job.stopping || !batch_job.is_open() {
        return None;
    }
    let own = || objects.pods.values().filter(|pod| objects.is_trusted(pod));
    // One that has ended by itself ends the batch Job, suspended or not.
    let is_end =
        |pod: &&ObservedPod| pod.succeeded.is_some() && !(pod.stopping && batch_job.suspended);
    if let Some(pod) = own().find(is_end) {
        let created = pod.created.unwrap_or(attempt.created);
        let at = pod.ended.unwrap_or(now);
        return Some(managed.ended(created, pod.succeeded == Some(true), at, now));
    }
    if managed.is_to_suspend() {
        // First: whoever sees the pod end knows why.
        if !managed.says_suspended() {
            return Some(managed.suspended(now));
        }
        let running = objects.pods.iter().filter(|(_, pod)| pod.is_live() && !pod.stopping);
        let running: Vec<_> = running.map(|(uid, pod)| (uid.clone(), pod.name.clone())).collect();
        return (!running.is_empty()).then_some(Step::EndPods(running));
    }
    if let Some(pod) = own().find(|pod| pod.is_live()) {
        return tell_active(managed, pod, now);
    }
    if objects.pods.values().any(|pod| !pod.is_placeholder) {
        return None;
    }
    match attempt.state {
        AttemptState::Starting { .. } if may_start && lacks_pod(attempt, managed) => {
            Some(make_pod(attempt, is_new || managed.says_suspended(), now))
        }
        // The batch Job of an ended job is about to go, and its pod may have succeeded.
        AttemptState::Ended(_) if !is_over => Some(managed.ended(attempt.created, false, now, now)),
        _ => None,
    }
}

/// The attempt has no pod. It is given one only if it is known that it never had one: a pod may have run, and be gone.
fn make_pod(attempt: &Attempt, is_known: bool, now: Timestamp) -> Step {
    let left = MAKER_GRACE - now.duration_since(attempt.created);
    match is_known {
        true => Step::MakePod,
        false if left.is_positive() => Step::Wait(left.unsigned_abs()),
        false => Step::TakeName,
    }
}

/// Whether no pod is known of the attempt, or the last one was ended by a suspension that is over.
fn lacks_pod(attempt: &Attempt, managed: &ManagedJob) -> bool {
    attempt.pod.is_none() || managed.says_suspended()
}

/// Tells that a pod is there, once that is worth a write.
fn tell_active(managed: &ManagedJob, pod: &ObservedPod, now: Timestamp) -> Option<Step> {
    let status = &managed.status;
    let is_told = status.active == Some(1)
        && status.ready == Some(i32::from(pod.is_ready))
        && status.start_time.is_some()
        && !managed.says_suspended();
    if is_told || pod.stopping {
        return None;
    }
    let due = match pod.state {
        // Where it was suspended, its pod is remembered by its status.
        _ if managed.says_suspended() => now,
        AttemptState::Running { since } if since <= now => since + RUNNING_GRACE,
        _ => pod.created.unwrap_or(now) + PENDING_GRACE,
    };
    let left = due.duration_since(now);
    Some(if left.is_positive() {
        Step::Wait(left.unsigned_abs())
    } else {
        managed.active(pod, now)
    })
}

fn condition(
    kind: &str,
    holds: bool,
    (reason, message): (&str, &str),
    now: Timestamp,
) -> batch::JobCondition {
    batch::JobCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}
