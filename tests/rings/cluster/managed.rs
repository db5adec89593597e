//! Batch Jobs whose pods our controller makes (`spec.managedBy`): who looks at them sees ordinary ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::starts::{is_told_at_once, refuse_pods};
use super::{MANY_SECONDS, pods, spinning};
use crate::support::cluster::{Namespace, get, kubectl};
use crate::support::eventually;

/// The longest pause between two tries to make a refused pod, and some seconds.
const NEXT_TRY: Duration = Duration::from_secs(40);

/// The only batch Job of a namespace.
pub(super) fn batch_job(namespace: &Namespace) -> Option<Value> {
    get(&["jobs", "-n", &namespace.0])["items"].as_array().unwrap().first().cloned()
}

fn has(batch_job: &Value, kind: &str, status: &str) -> bool {
    let conditions = batch_job["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == kind && c["status"] == status)
}

pub(super) fn suspend(namespace: &Namespace, batch_job: &str, suspend: bool) {
    let patch = json!({ "spec": { "suspend": suspend } }).to_string();
    let patched = ["patch", "job", batch_job, "-n", &namespace.0, "--type=merge", "-p", &patch];
    kubectl(&patched, "").unwrap();
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_managed_batch_job_looks_like_any_other() {
    let namespace = Namespace::new("managed");
    let pod = spinning(&namespace, "spins", &[]);
    let job = eventually("it is told as active", MANY_SECONDS, || {
        batch_job(&namespace).filter(|job| job["status"]["ready"] == 1)
    });
    assert_eq!(job["spec"]["managedBy"], "windlass.dev/job-controller");
    assert_eq!(job["status"]["active"], 1);
    assert_eq!(job["status"]["startTime"], pod["metadata"]["creationTimestamp"]);
    let name = job["metadata"]["name"].as_str().unwrap();
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["batch.kubernetes.io/job-name"], name);
    assert_eq!(labels["batch.kubernetes.io/controller-uid"], job["metadata"]["uid"]);
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], job["metadata"]["uid"]);
    assert_eq!(pod["metadata"]["finalizers"], Value::Null, "nothing is stuck without us");
    let shown = kubectl(&["get", "jobs", "-n", &namespace.0], "").unwrap();
    assert!(shown.contains("Running") && shown.contains("0/1"), "{shown}");
    let logs = ["logs", &format!("job/{name}"), "-n", &namespace.0];
    kubectl(&logs, "").unwrap();
    namespace.cancel("spins");
    namespace.becomes_empty("jobs,pods");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_managed_batch_job_that_fails_says_so() {
    let namespace = Namespace::new("managed-fails");
    let spec = json!({ "function": "misbehave", "retries": 2, "input": { "mode": "crash" } });
    namespace.apply("crashes", &spec).unwrap();
    let job = eventually("its end is told", MANY_SECONDS, || {
        batch_job(&namespace).filter(|job| has(job, "Failed", "True"))
    });
    assert!(has(&job, "FailureTarget", "True"), "{job}");
    let counts = ["active", "failed", "succeeded"].map(|key| job["status"][key].as_u64());
    assert_eq!(counts.map(Option::unwrap_or_default), [0, 1, 0]);
    assert_eq!(namespace.wait("crashes")["status"]["attempt"], 3);
    namespace.becomes_empty("jobs,pods");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_managed_batch_job_is_suspended_and_goes_on() {
    let namespace = Namespace::new("managed-suspend");
    let first = spinning(&namespace, "pauses", &[]);
    let name = batch_job(&namespace).unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    suspend(&namespace, &name, true);
    eventually("its pod is gone", MANY_SECONDS, || {
        (pods(&namespace, "pauses").is_empty()).then_some(())
    });
    let job = batch_job(&namespace).unwrap();
    assert!(has(&job, "Suspended", "True"), "{job}");
    assert_eq!(job["status"]["startTime"], Value::Null);
    suspend(&namespace, &name, false);
    let second = super::running_pod(&namespace, "pauses");
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let attempt = |pod: &Value| pod["metadata"]["labels"]["windlass.dev/attempt"].clone();
    assert_eq!(attempt(&first), attempt(&second), "it is the same attempt");
    eventually("it is not suspended any more", MANY_SECONDS, || {
        batch_job(&namespace).filter(|job| has(job, "Suspended", "False"))
    });
    namespace.cancel("pauses");
    namespace.becomes_empty("jobs,pods");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn an_attempt_whose_controller_has_ended_before_its_pod_was_made_is_lost() {
    let namespace = Namespace::new("managed-maker");
    refuse_pods(&namespace);
    namespace.apply("waits", &json!({ "function": "echo", "input": {} })).unwrap();
    let first = eventually("it has a batch Job", MANY_SECONDS, || batch_job(&namespace));
    let controller = "deployment/windlass-controller";
    for verb in ["restart", "status"] {
        kubectl(&["rollout", verb, controller, "-n", "windlass"], "").unwrap();
    }
    kubectl(&["delete", "resourcequota", "none", "-n", &namespace.0], "").unwrap();
    let job = namespace.wait("waits");
    assert_eq!(job["status"]["phase"], "Succeeded");
    assert_eq!(job["status"]["attempt"], 2);
    assert_eq!(job["status"]["retries"].as_u64().unwrap_or_default(), 0, "it was lost");
    assert_ne!(job["status"]["job"], first["metadata"]["name"]);
    namespace.becomes_empty("jobs,pods");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_pod_that_a_quota_refuses_is_told_at_once_and_made_later() {
    let namespace = Namespace::new("managed-quota");
    refuse_pods(&namespace);
    is_told_at_once(&namespace, "echo", ("QuotaExceeded", "exceeded quota: none"));
    kubectl(&["delete", "resourcequota", "none", "-n", &namespace.0], "").unwrap();
    let freed = Instant::now();
    assert_eq!(namespace.wait("waits")["status"]["phase"], "Succeeded");
    assert!(freed.elapsed() <= NEXT_TRY, "made after {:?}", freed.elapsed());
    assert_eq!(namespace.job("waits")["status"]["attempt"], 1);
}
