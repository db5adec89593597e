//! What is done for a batch Job that this controller manages.

use kube::ResourceExt as _;

use super::super::managed::{MANAGED_BY, Step, next_step};
use super::super::managed_pod::{is_pod_of, pod_of};
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

/// What is done next at this second, and what the status says then.
fn step_at(
    seconds: i64,
    batch_job: &batch::Job,
    pods: Vec<ObservedPod>,
    had_pod: bool,
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
    next_step(&all[0], &objects, true, false, at(seconds))
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
    stopping.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let suspended = object(json!({ "suspend": true }), json!({}));
    for without in [over("Failed"), over("Complete"), started, stopping, suspended] {
        assert_eq!(pod_of(&without), None, "{without:?}");
    }
}

#[test]
fn a_pod_that_runs_for_seconds_is_told_as_active() {
    let open = object(json!({}), json!({}));
    let ready = || ObservedPod { is_ready: true, ..running() };
    assert!(matches!(step_at(5, &open, vec![ready()], true), Some(Step::Wait(_))));
    let told = status(step_at(6, &open, vec![ready()], true));
    let expected = json!({ "active": 1, "ready": 1, "terminating": 0, "startTime": at(0),
        "uncountedTerminatedPods": {}, "conditions": [] });
    assert_eq!(told, expected);
    let told = json!({ "active": 1, "ready": 1, "startTime": at(0) });
    assert_eq!(step_at(9, &object(json!({}), told), vec![ready()], true), None);
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
    let began = json!({ "active": 1, "startTime": at(0) });
    let suspend = || json!({ "suspend": true });
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
