//! What those who wait for an object see of it: kstatus, which Helm and Flux use, and Argo CD by our script.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{MANY_SECONDS, running_pod, spinning};
use crate::support::cluster::{Namespace, get, go_program, kubectl};
use crate::support::eventually;

const WAITS: (&str, &str) = ("InProgress", "Progressing");
const DONE: (&str, &str) = ("Current", "Healthy");
const BROKEN: (&str, &str) = ("Failed", "Degraded");

/// The verdicts on these objects, by their names.
fn verdicts(objects: &[Value]) -> BTreeMap<String, (String, String)> {
    let said = go_program("tests/kstatus", &["../../manifests/argocd-health.yaml"], objects);
    let verdict = |line: &str| {
        let [name, kstatus, argo] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        (name.to_owned(), (kstatus.to_owned(), argo.to_owned()))
    };
    said.lines().map(verdict).collect()
}

#[track_caller]
fn assert_verdict(object: &Value, (kstatus, argo): (&str, &str)) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let expected = (kstatus.to_owned(), argo.to_owned());
    assert_eq!(verdicts(std::slice::from_ref(object))[name], expected, "{object:#}");
}

fn create(namespace: &Namespace, kind: &str, name: &str, spec: &Value) -> Value {
    let object = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": kind,
        "metadata": { "name": name }, "spec": spec });
    let create = ["create", "-n", &namespace.0, "-o", "json", "-f", "-"];
    serde_json::from_str(&kubectl(&create, &object.to_string()).unwrap()).unwrap()
}

/// Waits until the status of an object tells this generation, and gives the object.
fn told(namespace: &Namespace, object: &str, is_told: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{object} is told"), MANY_SECONDS, || {
        let found = get(&[object, "-n", &namespace.0]);
        is_told(&found).then_some(found)
    })
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn kstatus_and_argo_cd_see_each_phase_of_a_job() {
    let namespace = Namespace::new("health-jobs");
    let is_in = |phase: &'static str| move |job: &Value| job["status"]["phase"] == phase;
    let created = create(&namespace, "ComputeJob", "waits", &json!({ "function": "late" }));
    assert_verdict(&created, WAITS);
    let queued = told(&namespace, "cjob/waits", is_in("Queued"));
    assert_verdict(&queued, WAITS);

    let mut no_node = get(&["cfn", "echo", "-n", &namespace.0])["spec"].take();
    no_node["podTemplate"] = json!({ "spec": { "nodeSelector": { "no": "node" } } });
    create(&namespace, "ComputeFunction", "late", &no_node);
    assert_verdict(&told(&namespace, "cjob/waits", is_in("Starting")), WAITS);
    namespace.cancel("waits");
    // What was asked for has come about: it is cancelled.
    assert_verdict(&told(&namespace, "cjob/waits", is_in("Cancelled")), DONE);

    spinning(&namespace, "spins", &[]);
    running_pod(&namespace, "spins");
    assert_verdict(&told(&namespace, "cjob/spins", is_in("Running")), WAITS);
    namespace.cancel("spins");

    let crashes = json!({ "function": "misbehave", "input": { "mode": "bad-input" } });
    namespace.apply("crashes", &crashes).unwrap();
    assert_eq!(namespace.wait("crashes")["status"]["phase"], "Failed");
    assert_verdict(&namespace.job("crashes"), BROKEN);

    namespace.apply("echoes", &json!({ "function": "echo" })).unwrap();
    let echoed = namespace.wait("echoes");
    assert_eq!(echoed["status"]["phase"], "Succeeded");
    assert_verdict(&echoed, DONE);
    // Nobody waits for ever after a change that comes too late.
    namespace.cancel("echoes");
    let is_seen = |job: &Value| job["status"]["observedGeneration"] == 2;
    let late = told(&namespace, "cjob/echoes", is_seen);
    assert_eq!(late["status"]["phase"], "Succeeded");
    assert_verdict(&late, DONE);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn kstatus_and_argo_cd_see_whether_functions_and_queues_can_be_used() {
    let namespace = Namespace::new("health-functions");
    let spec = get(&["cfn", "echo", "-n", &namespace.0])["spec"].take();
    assert_verdict(&create(&namespace, "ComputeFunction", "good", &spec), WAITS);
    let is_seen =
        |one: &Value| one["status"]["observedGeneration"] == one["metadata"]["generation"];
    assert_verdict(&told(&namespace, "cfn/good", is_seen), DONE);

    let template = |pod: Value| {
        let mut spec = spec.clone();
        spec["podTemplate"] = json!({ "spec": pod });
        spec
    };
    // Windlass itself says how often a pod is started.
    let invalid = template(json!({ "restartPolicy": "Always" }));
    create(&namespace, "ComputeFunction", "invalid", &invalid);
    assert_verdict(&told(&namespace, "cfn/invalid", is_seen), BROKEN);
    // The namespace may be another one soon.
    create(&namespace, "ComputeFunction", "refused", &template(json!({ "hostNetwork": true })));
    assert_verdict(&told(&namespace, "cfn/refused", is_seen), WAITS);

    let queue = create(&namespace, "ComputeQueue", "q", &json!({ "cpus": 1 }));
    assert_verdict(&queue, DONE);
    let hold = create(&namespace, "ComputeQueue", "hold", &json!({ "cpus": 1, "hold": true }));
    assert_verdict(&hold, ("Current", "Suspended"));
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn helm_waits_until_a_job_of_a_chart_has_ended_well() {
    let namespace = Namespace::new("health-helm");
    let install = |name: &str, input: &Value, timeout: &str| {
        let chart = tempfile::tempdir().unwrap();
        let about = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
        fs::write(chart.path().join("Chart.yaml"), about).unwrap();
        fs::create_dir(chart.path().join("templates")).unwrap();
        let job = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": name }, "spec": { "function": "misbehave", "input": input } });
        fs::write(chart.path().join("templates/job.yaml"), job.to_string()).unwrap();
        let output = Command::new("helm")
            .args(["install", name, &chart.path().to_string_lossy(), "--namespace", &namespace.0])
            .args(["--wait", "--timeout", timeout])
            .output()
            .unwrap();
        (output.status.success(), namespace.job(name)["status"]["phase"].clone(), output)
    };
    let good = json!({ "mode": "bytes", "bytes": 1 });
    let (is_good, phase, output) = install("good", &good, "60s");
    assert!(is_good && phase == "Succeeded", "{phase} {output:?}");
    let (is_good, phase, output) = install("bad", &json!({ "mode": "bad-input" }), "20s");
    assert!(!is_good && phase == "Failed", "{phase} {output:?}");
}
