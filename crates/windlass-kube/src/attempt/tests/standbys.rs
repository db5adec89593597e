//! Standbys: whose they are before and after a claim, and what their pods tell.

use k8s_openapi::api::batch::v1 as batch;
use serde_json::{Value, json};
use windlass_core::{Function, Job, JobLimits};

use super::{BATCH_JOB, UID, at, owned_by, pod};
use crate::attempt::build_standby::{StandbyTemplate, claim_patch, pod_patch, resize_patch};
use crate::attempt::new_attempt::NewAttempt;
use crate::attempt::objects::{read_batch_job, read_pod};
use crate::attempt::owner::is_attempt;
use crate::attempt::report_endpoint::ReportEndpoint;
use crate::attempt::standby::{Exchange, read_exchange, read_standby};
use crate::attempt::worker_source::{Way, WorkerImage, WorkerSource};
use crate::labels::AttemptId;
use windlass_core::plan::AttemptState;

fn report() -> ReportEndpoint {
    ReportEndpoint {
        url: "http://gateway/v1/reports".into(),
        authorities: None,
        keep_log_bytes: Some(7),
    }
}

fn function() -> Function {
    let function = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction",
        "metadata": { "name": "f", "namespace": "n", "uid": "f-uid" },
        "spec": { "image": "i", "command": ["f"], "warm": {} } });
    serde_json::from_value(function).unwrap()
}

fn job() -> Job {
    let job = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
        "metadata": { "name": "j", "namespace": "n", "uid": UID },
        "spec": { "function": "f", "input": { "a": 1 } } });
    serde_json::from_value(job).unwrap()
}

/// A standby that has the name of the attempt, as the API server has it.
fn standby(exchange: Option<&Exchange>) -> Value {
    let template = StandbyTemplate::new(&function(), &report(), None).unwrap();
    let batch_job = template.batch_job(BATCH_JOB.into(), exchange);
    let mut object = serde_json::to_value(batch_job).unwrap();
    object["metadata"]["uid"] = json!("c");
    object["metadata"]["resourceVersion"] = json!("7");
    object["metadata"]["creationTimestamp"] = json!(at(0));
    object
}

/// With each object of the patch in place of what it names, as a merge patch without nulls does.
fn patched(mut object: Value, patch: &Value) -> Value {
    match (&mut object, patch) {
        (Value::Object(fields), Value::Object(new)) => {
            for (key, value) in new {
                let old = fields.remove(key).unwrap_or(Value::Null);
                fields.insert(key.clone(), patched(old, value));
            }
            object
        }
        _ => patch.clone(),
    }
}

fn read(object: Value) -> batch::Job {
    serde_json::from_value(object).unwrap()
}

fn on_attempt<T>(run: impl FnOnce(&NewAttempt<'_>) -> T) -> T {
    let (job, function, report) = (job(), function(), report());
    let limits = JobLimits::without_function(&job.spec);
    run(&NewAttempt {
        job: &job,
        limits: &limits,
        function: &function.spec,
        number: 1,
        cpus: 2,
        report: &report,
        worker: None,
        maker: None,
    })
}

#[test]
fn a_standby_is_no_attempt_before_its_claim_although_it_has_the_name_of_one() {
    let attempt = AttemptId { job_uid: UID.into(), number: 1 };
    let exchange = Exchange { attempt, name: "s".into(), uid: "s-uid".into() };
    let named = read(standby(Some(&exchange)));
    assert_eq!(read_exchange(&named), Some(exchange));
    assert!(read_batch_job(&named).is_none());
    assert!(!is_attempt(&named, &job(), 1));
    assert!(read_standby(&named).unwrap().is_idle());
}

#[test]
fn a_claim_makes_a_standby_the_attempt_in_the_version_that_was_read() {
    let waiting = read_standby(&read(standby(None))).unwrap();
    let patch = on_attempt(|attempt| claim_patch(&waiting, attempt, at(1_000)));
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    let limits = JobLimits::without_function(&job().spec);
    let whole = i64::from(limits.start_deadline_seconds) + i64::from(limits.timeout_seconds);
    assert_eq!(patch["spec"]["activeDeadlineSeconds"], 1_000 + whole + 120);
    let mut claimed = patched(standby(None), &patch);
    claimed["metadata"]["name"] = json!("standby-f-0");
    let claimed = read(claimed);
    assert!(is_attempt(&claimed, &job(), 1) && !is_attempt(&claimed, &job(), 2));
    let (labels, observed) = read_batch_job(&claimed).unwrap();
    assert_eq!((&*labels.attempt.job_uid, labels.attempt.number, labels.cpus), (UID, 1, 2));
    assert_eq!(observed.created, Some(at(1_000)), "it is an attempt since then");
    assert!(!read_standby(&claimed).unwrap().is_idle());
}

#[test]
fn a_standby_says_when_its_function_runs() {
    let status = json!({ "phase": "Running", "containerStatuses": [{ "name": "function", "image": "",
        "imageID": "", "ready": true, "restartCount": 0,
        "state": { "running": { "startedAt": at(1) } } }] });
    let of = |running: Value| {
        let object = pod("standby-f-0-x", json!([owned_by("standby-f-0")]), status.clone());
        let mut object = serde_json::to_value(object).unwrap();
        let patch = on_attempt(|attempt| pod_patch("p", attempt, at(50)).unwrap());
        object["metadata"]["labels"]["windlass.dev/standby"] = json!("f");
        let mut object = patched(object, &patch);
        object["metadata"]["annotations"]["windlass.dev/running"] = running;
        let pod = serde_json::from_value(object).unwrap();
        read_pod(&pod, at(100)).unwrap().1
    };
    let told = of(json!(at(53).to_string()));
    assert_eq!(told.state, AttemptState::Running { since: at(53) });
    let untold = of(json!(""));
    assert!(matches!(untold.state, AttemptState::Starting { reason: None, .. }));
    assert_eq!(untold.created, Some(at(50)));
}

#[test]
fn a_standby_has_its_worker_brought_as_well_and_tells_its_own_from_others() {
    let image = WorkerImage { reference: "windlass:1".into(), ..WorkerImage::default() };
    let of = |way| {
        let source = WorkerSource { image: image.clone(), way };
        let template = StandbyTemplate::new(&function(), &report(), Some(&source)).unwrap();
        let batch_job = serde_json::to_value(template.batch_job("s".into(), None)).unwrap();
        (template.digest, batch_job["spec"]["template"].clone())
    };
    let (digest, template) = of(Way::InitContainer);
    let (pod, annotations) = (&template["spec"], &template["metadata"]["annotations"]);
    assert_eq!(annotations["karpenter.sh/do-not-disrupt"], "true");
    let [container, init] = ["containers", "initContainers"].map(|kind| &pod[kind][0]);
    assert_eq!(init["resources"], container["resources"]);
    let began = ["/windlass/worker/windlass-worker", "--standby", "--", "f"];
    assert_eq!(container["command"], json!(began));
    assert_ne!(digest, of(Way::ImageVolume).0);
    let order = container["env"].as_array().unwrap().iter();
    let order = order.rev().find(|variable| variable["name"] == "WINDLASS_STANDBY").unwrap();
    assert!(order["value"].as_str().unwrap().contains("\"keepLogBytes\":7"), "{order}");
}

/// A pod whose requests are its limits is of another class (Guaranteed), and a resize must not change the class.
#[test]
fn a_resize_keeps_the_class_of_the_pod() {
    let waiting = standby(None);
    let before = &waiting["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(before["requests"]["cpu"], "10m");
    assert_ne!(before["requests"]["memory"], before["limits"]["memory"]);
    let patch = on_attempt(|attempt| resize_patch(attempt).unwrap());
    let after = &patch["spec"]["containers"][0]["resources"];
    assert_eq!((&after["requests"]["cpu"], &after["limits"]["cpu"]), (&json!("2"), &json!("2")));
    assert_ne!(after["requests"]["memory"], after["limits"]["memory"]);
}
