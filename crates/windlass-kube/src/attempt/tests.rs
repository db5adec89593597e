//! What batch Jobs and pods tell, and whose they are.

use serde_json::{Value, json};
use windlass_core::assignment::termination_message;
use windlass_core::result::inline_result;
use windlass_core::status::JobResult;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use windlass_core::Outcome;
use windlass_core::plan::{AttemptState, End};
use windlass_core::report::Ending;
use windlass_core::result::location;
use windlass_core::status::{FailureReason, reasons};

use super::objects::{AttemptObjects, ObservedBatchJob, ObservedPod, read_batch_job, read_pod};
use super::observe::attempts;

const UID: &str = "0190b7a2-1111-7abc-8def-0123456789ab";
const BATCH_JOB: &str = "j-0190b7a2-1";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

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
    // Its batch Job, its pods, whether one was ever seen: whether it lives, whether it may come back.
    type Case = (Option<ObservedBatchJob>, Vec<ObservedPod>, Option<String>, bool, bool);
    let table: Vec<Case> = vec![
        (Some(open()), vec![], None, true, true),
        (Some(open()), vec![], seen(), true, true),
        (Some(open()), vec![running()], seen(), true, false),
        (Some(open()), vec![dead("Error", None)], seen(), false, false),
        (Some(open()), vec![dead("Error", None), running()], seen(), true, false),
        (Some(stopping()), vec![], seen(), true, false),
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
        let objects = AttemptObjects { batch_job, pods: pods.collect(), last_pod, last_node: None };
        assert_eq!(objects.is_live(), lives, "case {number}");
        let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
        assert_eq!(attempts[0].may_restart, may_restart, "case {number}");
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
fn what_the_job_did_not_cause_is_lost() {
    for (reason, expected) in [
        ("Error", FailureReason::Killed),
        ("OOMKilled", FailureReason::OutOfMemory),
        ("StartError", FailureReason::CannotStart),
        ("Unknown", FailureReason::Lost),
        ("ContainerStatusUnknown", FailureReason::Lost),
    ] {
        assert_eq!(reason_of(&dead(reason, None)), Some(expected), "{reason}");
    }
    // A worker that was told to stop, as a pod that used too much is, does not know why.
    let stopped = Outcome::failed(FailureReason::Lost, "the worker was told to stop");
    let stopped = || Some(termination_message(&ending(stopped.clone())));
    assert_eq!(reason_of(&dead("Error", stopped())), Some(FailureReason::Killed));
    let drained = json!([{ "type": "DisruptionTarget", "status": "True" }]);
    assert_eq!(reason_of(&dead_with("Error", None, drained.clone())), Some(FailureReason::Lost));
    assert_eq!(reason_of(&dead_with("Error", stopped(), drained)), Some(FailureReason::Lost));
    let mut deleted = pod("p", json!([owned_by(BATCH_JOB)]), json!({}));
    deleted.status = serde_json::from_value(json!({ "containerStatuses": [{ "name": "function",
        "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": 137, "reason": "Error" } } }] }))
    .unwrap();
    deleted.metadata.deletion_timestamp = serde_json::from_value(json!(at(5))).unwrap();
    let (_, deleted) = read_pod(&deleted, at(100)).unwrap();
    assert_eq!(reason_of(&deleted), Some(FailureReason::Lost));
}

fn ended_pod(reason: Option<&str>, message: &str, more: Value) -> ObservedPod {
    let mut status = json!({ "phase": "Failed", "reason": reason, "message": message });
    status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    observed_pod(status)
}

fn statuses_of(name: &str, state: Value) -> Value {
    json!([{ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": state }])
}

#[test]
fn an_end_that_will_recur_counts_and_says_why() {
    let stopped = Outcome::failed(FailureReason::Lost, "the worker was told to stop");
    let terminated = |message: &str| {
        statuses_of(
            "function",
            json!({ "terminated": { "exitCode": 143, "reason": "Error",
            "message": message, "finishedAt": at(9) } }),
        )
    };
    let stopped = terminated(&termination_message(&ending(stopped)));
    let used = "Container function exceeded its local ephemeral storage limit \"1Gi\". ";
    let late = "Pod was active on the node longer than the specified deadline";
    let init = statuses_of("setup", json!({ "terminated": { "exitCode": 1, "reason": "Error" } }));
    let waits = || statuses_of("function", json!({ "waiting": { "reason": "PodInitializing" } }));
    let table = [
        (Some("Evicted"), used, json!({ "containerStatuses": stopped.clone() }), "Killed", "1Gi"),
        (Some("Evicted"), used, json!({ "containerStatuses": waits() }), "Killed", "1Gi"),
        (Some("DeadlineExceeded"), late, json!({ "containerStatuses": stopped }), "Timeout", late),
        (Some("DeadlineExceeded"), late, json!({}), "Timeout", late),
        (
            None,
            "",
            json!({ "initContainerStatuses": init, "containerStatuses": waits() }),
            "Crashed",
            "init container \"setup\" ended: Error, exit code 1",
        ),
        (None, "", json!({ "containerStatuses": waits() }), "Killed", "nothing says why"),
        (None, "", json!({ "containerStatuses": terminated("") }), "Killed", "exit code 143"),
    ];
    for (reason, message, more, expected, said) in table {
        let pod = ended_pod(reason, message, more.clone());
        let AttemptState::Ended(End::Unreported { reason, message, .. }) = &pod.state else {
            panic!("{:?}", pod.state)
        };
        assert_eq!((reason.as_str(), reason.counts()), (expected, true), "{more}");
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn a_kubelet_that_refuses_a_pod_is_no_end_of_the_job() {
    for reason in
        ["OutOfcpu", "NodeAffinity", "UnexpectedAdmissionError", "NodeShutdown", "Evicted"]
    {
        let pod = ended_pod(Some(reason), "Pod was rejected: no room", json!({}));
        let message = format!("{reason}: Pod was rejected: no room");
        assert_eq!(pod.state, AttemptState::Ended(End::Refused { message, at: at(100) }));
    }
    // A node in need that evicts a pod is another thing.
    let pressure = json!({ "conditions": [{ "type": "DisruptionTarget", "status": "True",
        "reason": "TerminationByKubelet" }] });
    let evicted = ended_pod(Some("Evicted"), "The node was low on resource: memory. ", pressure);
    assert_eq!(reason_of(&evicted), Some(FailureReason::Lost));
}

#[test]
fn a_batch_job_past_its_deadline_is_a_timeout() {
    for kind in ["Failed", "FailureTarget"] {
        let condition = json!({ "type": kind, "status": "True", "reason": "DeadlineExceeded" });
        let batch_job = ours(json!({}), json!({ "conditions": [condition] }));
        let drained = json!([{ "type": "DisruptionTarget", "status": "True" }]);
        let stopped = Outcome::failed(FailureReason::Lost, "the worker was told to stop");
        for message in [None, Some(termination_message(&ending(stopped.clone())))] {
            let pod = dead_with("Error", message, drained.clone());
            let objects = AttemptObjects {
                batch_job: Some(batch_job.clone()),
                pods: BTreeMap::from([("p".to_owned(), pod)]),
                ..AttemptObjects::default()
            };
            let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
            assert!(
                matches!(&attempts[0].state, AttemptState::Ended(End::Unreported { reason, .. })
                    if *reason == FailureReason::Timeout),
                "{kind}: {:?}",
                attempts[0].state
            );
        }
    }
}

#[test]
fn a_pod_that_was_given_up_with_its_node_proves_nothing() {
    let given_up = |state: Value| {
        observed_pod(json!({ "phase": "Failed",
            "conditions": [{ "type": "DisruptionTarget", "status": "True",
                "reason": "DeletionByPodGC", "lastTransitionTime": at(7) }],
            "containerStatuses": [{ "name": "function", "image": "", "imageID": "", "ready": true,
                "restartCount": 0, "state": state }] }))
    };
    let ran = given_up(json!({ "running": { "startedAt": at(1) } }));
    assert!(matches!(ran.state, AttemptState::Unreachable { since, .. } if since == at(7)));
    let never_ran = given_up(json!({ "waiting": {} }));
    assert_eq!(reason_of(&never_ran), Some(FailureReason::Lost));
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
    let objects = AttemptObjects {
        batch_job: Some(ours(json!({ "suspend": true }), json!({}))),
        ..AttemptObjects::default()
    };
    let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
    assert!(matches!(&attempts[0].state, AttemptState::Starting { reason: Some(reason), .. }
        if reason == reasons::SUSPENDED));
}
