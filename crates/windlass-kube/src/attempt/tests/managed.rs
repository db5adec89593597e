//! What is done for a batch Job that this controller manages.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::super::managed::MANAGED_BY;
use super::super::managed_pod::{is_pod_of, placeholder_of, pod_of};
use super::super::managed_step::{Step, next_step};
use super::*;

fn object(spec: Value, status: Value) -> batch::Job {
    let container = json!({ "name": "function" });
    let template = json!({ "metadata": { "labels": labels(), "annotations": { "a": "b" } },
        "spec": { "containers": [container], "restartPolicy": "Never" } });
    let mut whole = json!({ "template": template, "managedBy": MANAGED_BY });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut object = job_object(BATCH_JOB, owner(), whole, status);
    object.metadata.resource_version = Some("7".into());
    object
}

fn said(kind: &str) -> Value {
    json!({ "type": kind, "status": "True" })
}

/// What is done next at this second, where the pod is known never to have been there.
fn step_at(
    seconds: i64,
    batch_job: &batch::Job,
    pods: Vec<ObservedPod>,
    had_pod: bool,
) -> Option<Step> {
    step_of(seconds, batch_job, pods, had_pod, true)
}

fn step_of(
    seconds: i64,
    batch_job: &batch::Job,
    pods: Vec<ObservedPod>,
    had_pod: bool,
    is_new: bool,
) -> Option<Step> {
    let last_pod = (had_pod || !pods.is_empty()).then(|| "p".to_owned());
    let objects = AttemptObjects {
        batch_job: Some(read_batch_job(batch_job).unwrap().1),
        batch_job_uid: Some("c".into()),
        pods: pods.into_iter().enumerate().map(|(i, pod)| (i.to_string(), pod)).collect(),
        last_pod,
        ..AttemptObjects::default()
    };
    let all = attempts(&BTreeMap::from([(1, objects.clone())]), at(seconds));
    next_step(&all[0], &objects, true, is_new, false, at(seconds))
}

fn status(step: Option<Step>) -> Value {
    let Some(Step::WriteStatus(patch)) = step else { panic!("no write: {step:?}") };
    assert_eq!(patch["metadata"]["resourceVersion"], "7", "over the version that was read");
    patch["status"].clone()
}

fn types(status: &Value) -> Vec<String> {
    let conditions = status["conditions"].as_array().unwrap();
    conditions
        .iter()
        .map(|c| format!("{}={}", c["type"].as_str().unwrap(), c["status"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_batch_job_that_somebody_else_manages_is_left_alone() {
    for manager in [Value::Null, json!("another.dev/controller")] {
        let other = object(json!({ "managedBy": manager }), json!({}));
        assert_eq!(step_at(100, &other, vec![], false), None);
        assert_eq!(pod_of(&other), None);
    }
}

#[test]
fn a_pod_is_made_once() {
    let open = object(json!({}), json!({}));
    assert_eq!(step_at(1, &open, vec![], false), Some(Step::MakePod));
    let pod = pod_of(&open).unwrap();
    assert_eq!(pod.name_any(), format!("{BATCH_JOB}-pod"));
    assert!(is_pod_of(&pod, &open));
    assert_eq!(pod.annotations()["a"], "b");
    assert_eq!(pod.metadata.finalizers, None, "nothing is stuck without us");
    assert!(read_pod(&pod, at(0)).is_some(), "it is known by its labels and its owner");

    let over = |kind| object(json!({}), json!({ "conditions": [said(kind)] }));
    let started = object(json!({}), json!({ "startTime": at(0) }));
    let mut stopping = open.clone();
    stopping.metadata.deletion_timestamp = Some(Time(at(0)));
    let suspended = object(json!({ "suspend": true }), json!({}));
    let paused = object(json!({ "parallelism": 0 }), json!({}));
    for without in [over("Failed"), over("Complete"), started, stopping, suspended, paused] {
        assert_eq!(pod_of(&without), None, "{without:?}");
    }
}

#[test]
fn an_attempt_whose_pod_may_have_run_is_not_given_another() {
    let mut open = object(json!({}), json!({}));
    open.metadata.creation_timestamp = Some(Time(at(0)));
    assert_eq!(step_of(5, &open, vec![], false, false), Some(Step::TakeName));
    let step = step_of(4, &open, vec![], false, false);
    assert!(matches!(step, Some(Step::Wait(_))), "whoever has created it makes it: {step:?}");

    let placeholder = placeholder_of(&open).unwrap();
    assert_eq!(placeholder.name_any(), pod_of(&open).unwrap().name_any());
    let (_, pod) = read_pod(&placeholder, at(6)).unwrap();
    let objects = AttemptObjects {
        batch_job: Some(read_batch_job(&open).unwrap().1),
        batch_job_uid: Some("c".into()),
        pods: BTreeMap::from([("0".into(), pod)]),
        ..AttemptObjects::default()
    };
    assert!(!objects.is_live(), "it holds no CPUs");
    let all = attempts(&BTreeMap::from([(1, objects.clone())]), at(6));
    let lost = AttemptState::Ended(End::Unreported {
        reason: FailureReason::Lost,
        message: "its controller has ended before it was known whether its pod has run".into(),
        at: at(6),
    });
    assert_eq!(all[0].state, lost);
    assert!(all[0].may_restart, "its batch Job does not stay");
    let told = status(next_step(&all[0], &objects, false, false, false, at(6)));
    assert_eq!(types(&told), ["FailureTarget=True", "Failed=True"]);
}

#[test]
fn an_attempt_that_could_not_start_and_whose_pod_is_gone_is_lost() {
    let told = object(json!({}), json!({ "active": 1, "ready": 0, "startTime": at(0) }));
    let failed = status(step_of(300, &told, vec![], false, false));
    assert_eq!(types(&failed), ["FailureTarget=True", "Failed=True"]);
}

#[test]
fn what_an_ended_job_leaves_waits_only_for_a_pod_that_ends_by_itself() {
    let is_untold = |batch_job: &batch::Job, pods: Vec<ObservedPod>, last_pod: Option<&str>| {
        let objects = AttemptObjects {
            batch_job: Some(read_batch_job(batch_job).unwrap().1),
            batch_job_uid: Some("c".into()),
            pods: pods.into_iter().enumerate().map(|(i, pod)| (i.to_string(), pod)).collect(),
            last_pod: last_pod.map(str::to_owned),
            ..AttemptObjects::default()
        };
        objects.is_untold()
    };
    let open = object(json!({}), json!({}));
    let pending = || observed_pod(json!({ "phase": "Pending" }));
    assert!(is_untold(&open, vec![], None), "its watch is late");
    assert!(is_untold(&open, vec![running()], Some("p")));
    assert!(is_untold(&open, vec![dead("Completed", None)], Some("p")));
    assert!(!is_untold(&open, vec![], Some("p")), "it is gone");
    assert!(!is_untold(&open, vec![pending()], Some("p")), "it may start yet");
    assert!(!is_untold(&open, vec![running(), pending()], Some("p")));
    let stranger = ObservedPod { owner_uid: Some("other".into()), ..running() };
    assert!(!is_untold(&open, vec![stranger], Some("p")));
    let over = object(json!({}), json!({ "conditions": [said("Failed")] }));
    assert!(!is_untold(&over, vec![dead("Error", None)], Some("p")));
}

#[test]
fn a_pod_that_runs_for_seconds_is_told_as_active() {
    let open = object(json!({}), json!({}));
    let ready = || ObservedPod { is_ready: true, ..running() };
    assert!(matches!(step_at(15, &open, vec![ready()], true), Some(Step::Wait(_))));
    let told = status(step_at(16, &open, vec![ready()], true));
    let expected = json!({ "active": 1, "ready": 1, "terminating": 0, "startTime": at(0),
        "uncountedTerminatedPods": {}, "conditions": [] });
    assert_eq!(told, expected);
    let told = json!({ "active": 1, "ready": 1, "startTime": at(0) });
    assert_eq!(step_at(19, &object(json!({}), told), vec![ready()], true), None);
    let pending = || observed_pod(json!({ "phase": "Pending" }));
    assert!(matches!(step_at(59, &open, vec![pending()], true), Some(Step::Wait(_))));
    assert_eq!(status(step_at(60, &open, vec![pending()], true))["active"], 1);
}

#[test]
fn its_end_is_told_as_the_job_api_says() {
    let open = object(json!({}), json!({ "active": 1, "startTime": at(0) }));
    let failed = status(step_at(20, &open, vec![dead("Error", None)], true));
    assert_eq!(types(&failed), ["FailureTarget=True", "Failed=True"]);
    let counts = |status: &Value| ["active", "succeeded", "failed"].map(|key| status[key].clone());
    assert_eq!(counts(&failed), [0, 0, 1].map(Value::from));
    assert_eq!(failed["completionTime"], Value::Null);

    let good = ObservedPod { succeeded: Some(true), ..dead("Completed", None) };
    let complete = status(step_at(20, &open, vec![good], true));
    assert_eq!(types(&complete), ["SuccessCriteriaMet=True", "Complete=True"]);
    assert_eq!(counts(&complete), [0, 1, 0].map(Value::from));
    assert_eq!(complete["completionTime"], json!(at(9)));

    // A pod that is gone has failed; and what has ended is told once.
    assert_eq!(types(&status(step_at(20, &open, vec![], true)))[1], "Failed=True");
    let over = object(json!({}), json!({ "conditions": [said("Failed")] }));
    assert_eq!(step_at(20, &over, vec![dead("Error", None)], true), None);
}

#[test]
fn a_suspended_one_has_no_pod_until_it_goes_on() {
    for spec in [json!({ "suspend": true }), json!({ "parallelism": 0 })] {
        has_no_pod_until_it_goes_on(&|| spec.clone());
    }
}

fn has_no_pod_until_it_goes_on(suspend: &dyn Fn() -> Value) {
    let began = json!({ "active": 1, "startTime": at(0) });
    let told = status(step_at(20, &object(suspend(), began), vec![running()], true));
    assert_eq!(types(&told), ["Suspended=True"]);
    assert_eq!([&told["active"], &told["startTime"]], [&json!(0), &Value::Null]);

    let is_told = json!({ "conditions": [said("Suspended")] });
    let suspended = object(suspend(), is_told.clone());
    let ended = step_at(20, &suspended, vec![running()], true);
    assert_eq!(ended, Some(Step::EndPods(vec![("0".into(), format!("{BATCH_JOB}-abcde"))])));
    let ending = || ObservedPod { stopping: true, ..running() };
    assert_eq!(step_at(20, &suspended, vec![ending()], true), None, "it is on its way");
    assert_eq!(step_at(20, &suspended, vec![], true), None);
    assert_eq!(pod_of(&suspended), None);

    let resumed = object(json!({}), is_told);
    assert_eq!(step_at(20, &resumed, vec![ending()], true), None, "one pod at a time");
    assert_eq!(step_at(20, &resumed, vec![], true), Some(Step::MakePod));
    assert!(pod_of(&resumed).is_some());
    let goes_on = status(step_at(20, &resumed, vec![running()], true));
    assert_eq!(types(&goes_on), ["Suspended=False"]);
    assert_eq!(goes_on["startTime"], json!(at(0)));
}
