//! What batch Jobs and pods tell, and whose they are.

use serde_json::{Value, json};
use windlass_core::assignment::termination_message;
use windlass_core::result::inline_result;
use windlass_core::status::JobResult;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use windlass_core::Outcome;
use windlass_core::plan::{AttemptState, End};
use windlass_core::report::Ending;
use windlass_core::result::location;
use windlass_core::status::{FailureReason, reasons};

use super::objects::{AttemptObjects, ObservedBatchJob, ObservedPod, read_batch_job, read_pod};
use super::observe::attempts;
use crate::test_times::at;

mod ends;
mod late_pods;
mod managed;
mod pods;
mod standbys;
mod templates;

const UID: &str = "0190b7a2-1111-7abc-8def-0123456789ab";
const BATCH_JOB: &str = "j-0190b7a2-1";

fn labels() -> Value {
    json!({ "windlass.dev/job": "j", "windlass.dev/job-uid": UID, "windlass.dev/attempt": "1",
        "windlass.dev/queue": "q", "windlass.dev/cpus": "2" })
}

fn job_object(name: &str, owner: Value, spec: Value, status: Value) -> batch::Job {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "n", "uid": "c", "labels": labels(),
            "ownerReferences": [owner] },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn owner() -> Value {
    json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob", "name": "j", "uid": UID,
        "controller": true })
}

/// A batch Job of ours.
fn ours(spec: Value, status: Value) -> ObservedBatchJob {
    let template = json!({ "spec": { "containers": [] } });
    let mut whole = json!({ "template": template });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    read_batch_job(&job_object(BATCH_JOB, owner(), whole, status)).unwrap().1
}

fn owned_by(name: &str) -> Value {
    json!({ "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "c", "controller": true })
}

fn pod(name: &str, owners: Value, status: Value) -> core_v1::Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "n", "uid": "p", "labels": labels(),
            "ownerReferences": owners, "creationTimestamp": at(0) },
        "spec": { "containers": [] }, "status": status,
    }))
    .unwrap()
}

fn observed_pod(status: Value) -> ObservedPod {
    let owners = json!([owned_by(BATCH_JOB)]);
    read_pod(&pod(&format!("{BATCH_JOB}-abcde"), owners, status), at(100)).unwrap().1
}

fn running() -> ObservedPod {
    observed_pod(
        json!({ "phase": "Running", "containerStatuses": [{ "name": "function", "image": "",
        "imageID": "", "ready": true, "restartCount": 0,
        "state": { "running": { "startedAt": at(1) } } }] }),
    )
}

fn dead(reason: &str, message: Option<String>) -> ObservedPod {
    dead_with(reason, message, json!([]))
}

fn dead_with(reason: &str, message: Option<String>, conditions: Value) -> ObservedPod {
    observed_pod(json!({ "phase": "Failed", "conditions": conditions, "containerStatuses": [{
        "name": "function", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": 137, "reason": reason, "message": message,
            "finishedAt": at(9) } } }] }))
}

fn ending(outcome: Outcome) -> Ending {
    Ending {
        outcome,
        started: at(1),
        running: Some(at(1)),
        finished: at(9),
        parallelism: 2,
        usage: None,
        progress: None,
    }
}

fn reason_of(pod: &ObservedPod) -> Option<FailureReason> {
    match &pod.state {
        AttemptState::Ended(End::Unreported { reason, .. }) => Some(*reason),
        AttemptState::Ended(End::Reported(ending)) => match ending.outcome {
            Outcome::Failed { reason, .. } => Some(reason),
            Outcome::Succeeded(_) => None,
        },
        _ => None,
    }
}

#[test]
fn a_batch_job_is_ours_by_its_owner_and_its_name() {
    let stranger = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "j", "uid": UID });
    let other = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob", "name": "j",
        "uid": "another" });
    let spec = json!({ "template": { "spec": { "containers": [] } } });
    for (name, owner, expected) in [
        (BATCH_JOB, owner(), true),
        ("j-0190b7a2-2", owner(), false),
        (BATCH_JOB, other, false),
        (BATCH_JOB, stranger, false),
    ] {
        let object = job_object(name, owner.clone(), spec.clone(), json!({}));
        assert_eq!(read_batch_job(&object).is_some(), expected, "{name} {owner}");
    }
}

#[test]
fn a_pod_is_ours_by_its_batch_job_or_by_its_name_when_it_has_lost_it() {
    let replica_set = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": BATCH_JOB,
        "uid": "r" });
    for (name, owners, expected) in [
        ("any", json!([owned_by(BATCH_JOB)]), Some(false)),
        ("any", json!([owned_by("j-0190b7a2-2")]), None),
        ("any", json!([replica_set]), None),
        (
            "any",
            json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": BATCH_JOB,
            "uid": "c" }]),
            None,
        ),
        ("any", json!([]), None),
        ("j-0190b7a2-1-abcde", json!([]), Some(true)),
        ("j-0190b7a2-12-abcde", json!([]), None),
        ("j-0190b7a2-1", json!([]), None),
        ("j-0190b7a2-1-abcde", json!([replica_set]), None),
    ] {
        let found = read_pod(&pod(name, owners.clone(), json!({})), at(0));
        let is_orphan = found.map(|(_, pod)| pod.is_orphan());
        assert_eq!(is_orphan, expected, "{name} {owners}");
    }
}

#[test]
fn an_attempt_lives_as_long_as_anything_of_it_runs_or_may_come() {
    let open = || ours(json!({}), json!({}));
    let suspended = || ours(json!({ "suspend": true }), json!({}));
    let failed = || {
        let condition = json!({ "type": "Failed", "status": "True", "reason": "X" });
        ours(json!({}), json!({ "conditions": [condition] }))
    };
    let finished = || ours(json!({}), json!({ "completionTime": at(9) }));
    let stopping = || ObservedBatchJob { stopping: true, ..open() };
    let suspended_and_stopping = || ObservedBatchJob { stopping: true, ..suspended() };
    let seen = || Some("p".to_owned());
    // Somebody has deleted its batch Job without it.
    let left = || ObservedPod { owner_uid: None, ..dead("Error", None) };
    // Its batch Job, its pods, whether one was ever seen: whether it lives, whether it may come back.
    type Case = (Option<ObservedBatchJob>, Vec<ObservedPod>, Option<String>, bool, bool);
    let table: Vec<Case> = vec![
        (Some(open()), vec![], None, true, true),
        (Some(open()), vec![], seen(), true, true),
        (Some(open()), vec![running()], seen(), true, false),
        (Some(open()), vec![dead("Error", None)], seen(), false, false),
        (Some(open()), vec![dead("Error", None), running()], seen(), true, false),
        (Some(open()), vec![left()], seen(), true, true),
        (Some(stopping()), vec![], seen(), true, false),
        (None, vec![left()], seen(), false, false),
        (Some(failed()), vec![], seen(), false, false),
        (Some(failed()), vec![running()], seen(), true, false),
        (Some(finished()), vec![], seen(), false, false),
        (Some(suspended()), vec![], seen(), true, true),
        (Some(suspended()), vec![dead("Error", None)], seen(), true, true),
        (Some(suspended_and_stopping()), vec![dead("Error", None)], seen(), false, false),
        (None, vec![], None, true, false),
        (None, vec![], seen(), false, false),
        (None, vec![dead("Error", None)], seen(), false, false),
        (None, vec![running()], seen(), true, false),
    ];
    for (number, (batch_job, pods, last_pod, lives, may_restart)) in table.into_iter().enumerate() {
        let pods = pods.into_iter().enumerate().map(|(i, pod)| (i.to_string(), pod));
        let pods = pods.collect();
        let batch_job_uid = Some("c".to_owned());
        let objects = AttemptObjects {
            batch_job,
            batch_job_uid,
            pods,
            last_pod,
            ..AttemptObjects::default()
        };
        assert_eq!(objects.is_live(), lives, "case {number}");
        let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
        assert_eq!(attempts[0].may_restart, may_restart, "case {number}");
    }
}

#[test]
fn a_worker_may_leave_its_log_until_it_must_have_ended() {
    let stopping = |by| ObservedPod { stopping: true, stops_by: Some(at(by)), ..running() };
    let left_behind = ObservedPod { owner_uid: None, ..running() };
    let all = [
        (running(), true),
        (stopping(100), true),
        (stopping(96), true),
        (stopping(95), false),
        (left_behind, false),
        (dead("Error", None), false),
        (observed_pod(json!({ "phase": "Pending" })), false),
    ];
    for (pod, expected) in all {
        assert_eq!(pod.may_leave_log(at(100)), expected, "{pod:?}");
    }
}

#[test]
fn a_live_pod_says_more_than_a_dead_one() {
    let pods = BTreeMap::from([("a".to_owned(), running()), ("b".to_owned(), dead("Error", None))]);
    let objects = AttemptObjects {
        batch_job: Some(ours(json!({}), json!({}))),
        pods,
        ..AttemptObjects::default()
    };
    let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
    assert_eq!(attempts[0].state, AttemptState::Running { since: at(1) });
}

#[test]
fn a_pod_that_only_says_to_be_of_the_batch_job_is_not_believed() {
    let result = inline_result(b"forged", "text/plain").unwrap();
    let forged = || {
        dead("Completed", Some(termination_message(&ending(Outcome::Succeeded(result.clone())))))
    };
    for (uid, is_believed) in [(Some("c"), true), (Some("another"), false), (None, false)] {
        let objects = AttemptObjects {
            batch_job_uid: uid.map(str::to_owned),
            pods: BTreeMap::from([("p".to_owned(), forged())]),
            ..AttemptObjects::default()
        };
        let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
        let is_reported = matches!(&attempts[0].state, AttemptState::Ended(End::Reported(_)));
        assert_eq!(is_reported, is_believed, "{uid:?}");
    }
}

#[test]
fn what_was_computed_before_a_failure_counts_only_in_its_own_attempts_place() {
    let inline = inline_result(b"x", "text/plain").unwrap();
    let kept = |place: String| {
        let (reason, message) = (FailureReason::FunctionError, "raised".to_owned());
        let partial = JobResult { text: None, location: Some(place), ..inline.clone() };
        let partial = Some(Box::new(partial));
        let failed = ending(Outcome::Failed { reason, message, exit_code: Some(70), partial });
        match dead("Completed", Some(termination_message(&failed))).state {
            AttemptState::Ended(End::Reported(ending)) => ending.outcome.result().is_some(),
            other => panic!("{other:?}"),
        }
    };
    assert!(kept(location("n", UID, 1, &inline.sha256)));
    assert!(!kept(location("other", UID, 1, &inline.sha256)));
}

#[test]
fn a_result_counts_only_in_its_own_attempts_place() {
    let inline = inline_result(b"x", "text/plain").unwrap();
    let said = |place: String| {
        let result = JobResult { text: None, location: Some(place), ..inline.clone() };
        dead("Completed", Some(termination_message(&ending(Outcome::Succeeded(result)))))
    };
    let own = said(location("n", UID, 1, &inline.sha256));
    assert!(matches!(&own.state, AttemptState::Ended(End::Reported(ending))
        if matches!(ending.outcome, Outcome::Succeeded(_))));
    for place in [
        location("n", "another", 1, &inline.sha256),
        location("other", UID, 1, &inline.sha256),
        location("n", UID, 2, &inline.sha256),
        location("n", UID, 1, "0"),
        format!("{}/..", location("n", UID, 1, &inline.sha256)),
    ] {
        assert_eq!(reason_of(&said(place.clone())), Some(FailureReason::ResultLost), "{place}");
    }
}

#[test]
fn a_suspended_batch_job_says_so() {
    for spec in [json!({ "suspend": true }), json!({ "parallelism": 0 })] {
        let objects =
            AttemptObjects { batch_job: Some(ours(spec, json!({}))), ..AttemptObjects::default() };
        let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
        assert!(matches!(&attempts[0].state, AttemptState::Starting { reason: Some(reason), .. }
            if reason == reasons::SUSPENDED));
    }
}
