//! How an attempt has ended, or why it does not start, as its pod tells.

use super::*;

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
        assert_eq!(pod.state, AttemptState::Ended(End::NotTaken { message, at: at(100) }));
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
                batch_job_uid: Some("c".into()),
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
fn a_container_that_must_run_before_is_told_to_hinder_the_start() {
    let waiting = || statuses_of("function", json!({ "waiting": { "reason": "PodInitializing" } }));
    let state = |init: Value| {
        let status = json!({ "phase": "Pending", "containerStatuses": waiting(),
            "initContainerStatuses": init });
        match observed_pod(status).state {
            AttemptState::Starting { reason, message } => (reason, message),
            other => panic!("{other:?}"),
        }
    };
    let crash = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } });
    let expected = "init container \"mesh\": back-off 10s".to_owned();
    assert_eq!(state(statuses_of("mesh", crash)), (Some("CrashLoopBackOff".into()), expected));
    let hung = json!({ "running": { "startedAt": at(1) } });
    let expected = "init container \"setup\" runs and has not ended".to_owned();
    assert_eq!(state(statuses_of("setup", hung)), (None, expected));
    let done = json!({ "terminated": { "exitCode": 0 } });
    assert_eq!(state(statuses_of("setup", done)), (None, String::new()));
}

#[test]
fn an_attempt_whose_batch_job_is_suspended_waits_to_go_on() {
    let condition = json!({ "type": "Suspended", "status": "True", "lastTransitionTime": at(7) });
    let status = json!({ "conditions": [condition] });
    // Nothing but its being seen says since when one has no parallelism.
    for (spec, status, since) in [
        (json!({ "suspend": true }), status, at(7)),
        (json!({ "parallelism": 0 }), json!({}), at(50)),
    ] {
        let mut objects = AttemptObjects::default();
        objects.batch_job_seen(ours(spec.clone(), status.clone()), at(50));
        // It is seen again whenever it changes.
        objects.batch_job_seen(ours(spec, status), at(60));
        waits_to_go_on(objects.batch_job.as_ref().unwrap(), since);
    }
}

/// The Job controller makes the next pod a moment after the batch Job is resumed.
#[test]
fn an_attempt_that_is_resumed_is_not_lost_before_its_next_pod_is_there() {
    for pause in [json!({ "suspend": true }), json!({ "parallelism": 0 })] {
        let mut objects = AttemptObjects { last_pod: Some("p".into()), ..Default::default() };
        let state = |objects: &AttemptObjects| {
            let attempts = attempts(&BTreeMap::from([(1, objects.clone())]), at(100));
            attempts[0].state.clone()
        };
        objects.batch_job_seen(ours(pause, json!({})), at(50));
        let goes_on = json!({ "suspend": false, "parallelism": 1 });
        objects.batch_job_seen(ours(goes_on, json!({})), at(60));
        let since = attempts(&BTreeMap::from([(1, objects.clone())]), at(100))[0].startable_since;
        assert_eq!(since, Some(at(50)), "its start has a deadline");
        let waits = state(&objects);
        let asks_why = matches!(waits, AttemptState::Starting { reason: None, .. });
        assert!(asks_why, "whoever resumed it is told why there is no pod: {waits:?}");
        let next = observed_pod(json!({ "phase": "Running", "containerStatuses":
            statuses_of("function", json!({ "running": { "startedAt": at(99) } })) }));
        objects.pods.insert("q".into(), next);
        let runs = state(&objects);
        assert!(matches!(runs, AttemptState::Running { .. }), "{runs:?}");
        objects.batch_job_seen(ours(json!({ "parallelism": 1 }), json!({ "active": 1 })), at(99));
        objects.pods.clear();
        let lost = state(&objects);
        assert!(
            matches!(lost, AttemptState::Ended(_)),
            "it goes on, and its pod is gone: {lost:?}"
        );
    }
}

/// Such an attempt says that it is suspended, and its start deadline counts from then.
fn waits_to_go_on(batch_job: &ObservedBatchJob, since: jiff::Timestamp) {
    let stopped = Outcome::failed(FailureReason::Lost, "the worker was told to stop");
    let mut deleted = pod(
        "p",
        json!([owned_by(BATCH_JOB)]),
        json!({ "phase": "Failed", "containerStatuses": statuses_of("function",
            json!({ "terminated": { "exitCode": 143, "reason": "Error",
                "message": termination_message(&ending(stopped)) } })) }),
    );
    deleted.metadata.deletion_timestamp = serde_json::from_value(json!(at(5))).unwrap();
    let (_, deleted) = read_pod(&deleted, at(100)).unwrap();
    // Its pod has ended, or is gone.
    for pods in [BTreeMap::from([("p".to_owned(), deleted)]), BTreeMap::new()] {
        let objects = AttemptObjects {
            batch_job: Some(batch_job.clone()),
            batch_job_uid: Some("c".into()),
            pods,
            last_pod: Some("p".into()),
            ..AttemptObjects::default()
        };
        let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
        assert!(
            matches!(&attempts[0].state, AttemptState::Starting { reason: Some(reason), .. }
                if reason == reasons::SUSPENDED),
            "{:?}",
            attempts[0].state
        );
        assert_eq!(attempts[0].startable_since, Some(since));
        assert!(attempts[0].may_restart, "it may make another pod at any time");
    }
}

fn deleted_pod(node: Option<&str>, status: Value) -> ObservedPod {
    let mut object = pod("p", json!([owned_by(BATCH_JOB)]), status);
    object.metadata.deletion_timestamp = serde_json::from_value(json!(at(5))).unwrap();
    object.spec.as_mut().unwrap().node_name = node.map(str::to_owned);
    read_pod(&object, at(100)).unwrap().1
}

#[test]
fn a_pod_that_is_deleted_before_it_has_a_node_has_ended() {
    let pending = || json!({ "phase": "Pending" });
    let lost = deleted_pod(None, pending());
    let AttemptState::Ended(End::Unreported { reason, message, at: since }) = &lost.state else {
        panic!("{:?}", lost.state)
    };
    assert_eq!((*reason, *since, reason.counts()), (FailureReason::Lost, at(5), false));
    assert_eq!(message, "its pod was deleted before it had a node");
    assert!(!lost.is_live() && !lost.is_to_be_deleted());
    assert!(deleted_pod(Some("n"), pending()).is_live(), "its node may start it yet");
    assert!(observed_pod(pending()).is_live(), "nobody has deleted it");
    let failed = deleted_pod(None, json!({ "phase": "Failed" }));
    assert!(
        matches!(&failed.state, AttemptState::Ended(End::Unreported { message, .. })
            if message == "its pod was ended"),
        "its phase says more: {:?}",
        failed.state
    );
}

#[test]
fn a_suspension_that_deletes_a_pod_without_a_node_ends_no_attempt() {
    for (suspend, is_paused) in [(true, true), (false, false)] {
        let lost = deleted_pod(None, json!({ "phase": "Pending" }));
        let objects = AttemptObjects {
            batch_job: Some(ours(json!({ "suspend": suspend }), json!({}))),
            batch_job_uid: Some("c".into()),
            pods: BTreeMap::from([("p".to_owned(), lost)]),
            last_pod: Some("p".into()),
            ..AttemptObjects::default()
        };
        let attempts = attempts(&BTreeMap::from([(1, objects)]), at(100));
        let is_suspended = matches!(&attempts[0].state,
            AttemptState::Starting { reason: Some(reason), .. } if reason == reasons::SUSPENDED);
        assert_eq!((is_suspended, attempts[0].may_restart), (is_paused, is_paused));
    }
}
