//! A job of a cluster from its creation to its end: its pod, its place in the queue, its cancel and its removal.

use serde_json::{Value, json};

use super::{MANY_SECONDS, pods, spinning};
use crate::support::cluster::{Namespace, kubectl};
use crate::support::{checkout, eventually};

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn an_applied_job_runs_in_a_pod_whose_requests_and_limits_equal_its_parallelism() {
    let namespace = Namespace::new("applied");
    let pod = spinning(&namespace, "two", &[("parallelism", 2)]);
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"]["cpu"], "2");
    assert_eq!(container["resources"]["limits"], container["resources"]["requests"]);
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);

    // Told while it runs, and shown by `kubectl get cjobs`.
    eventually("status says Running with progress", MANY_SECONDS, || {
        let status = namespace.job("two")["status"].take();
        (status["phase"] == "Running" && status["progress"]["total"] == 1_000_000).then_some(())
    });
    let table = kubectl(&["get", "cjobs", "-n", &namespace.0], "").unwrap();
    let columns: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "FUNCTION", "PHASE", "REASON", "CPUS", "PROGRESS", "AGE"]);
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["two", "misbehave", "Running", "2", "0%"]);

    // Cancel ends it, and nothing is left.
    namespace.cancel("two");
    let job = namespace.wait("two");
    assert_eq!(job["status"]["phase"], "Cancelled");
    namespace.becomes_empty("jobs,pods");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn the_threads_of_the_functions_process_equal_the_parallelism() {
    let namespace = Namespace::new("threads");
    for cpus in [1, 2] {
        let name = format!("echo-{cpus}");
        namespace.apply(&name, &json!({ "function": "echo", "parallelism": cpus })).unwrap();
        let job = namespace.wait(&name);
        let text = job["status"]["result"]["text"].as_str().unwrap_or_else(|| panic!("{job}"));
        let result: Value = serde_json::from_str(text).unwrap();
        // echo reads its thread count from the kernel.
        assert_eq!(result["threads"], cpus, "{result}");
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn the_sample_price_is_the_papers() {
    let namespace = Namespace::new("price");
    let sample = checkout().join("manifests/samples/price.yaml");
    kubectl(&["apply", "-n", &namespace.0, "-f", sample.to_str().unwrap()], "").unwrap();
    let job = namespace.wait("price");
    let result = job["status"]["result"]["text"].as_str().unwrap_or_else(|| panic!("{job}"));
    let result: Value = serde_json::from_str(result).unwrap();
    let (price, error) = (&result["prices"][0]["price"], &result["prices"][0]["standardError"]);
    let (price, error) = (price.as_f64().unwrap(), error.as_f64().unwrap());
    assert!((price - 4.478).abs() <= 3.0 * error, "{price} +- {error}");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_queue_grants_no_more_cpus_than_it_has() {
    let namespace = Namespace::new("queued");
    namespace.apply_queue("default", &json!({ "cpus": 1 }));
    spinning(&namespace, "first", &[]);
    namespace.apply("second", &json!({ "function": "echo" })).unwrap();
    eventually("the second is told to wait", MANY_SECONDS, || {
        (namespace.job("second")["status"]["phase"] == "Queued").then_some(())
    });
    assert_eq!(pods(&namespace, "second"), Vec::<Value>::new());
    namespace.cancel("first");
    assert_eq!(namespace.wait("second")["status"]["phase"], "Succeeded");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_told_status_cannot_be_taken_back() {
    let namespace = Namespace::new("hostile");
    namespace.apply("done", &json!({ "function": "echo" })).unwrap();
    let before = namespace.wait("done");
    let patches = [
        (r#"{"status":{"phase":"Running"}}"#, "status"),
        (r#"{"status":{"phase":null}}"#, "status"),
        (r#"{"status":{"result":null}}"#, "status"),
        (r#"{"status":{"attempt":0}}"#, "status"),
        (r#"{"status":null}"#, "status"),
    ];
    for (patch, subresource) in patches {
        let subresource = format!("--subresource={subresource}");
        let refused = namespace.patch("done", &[&subresource], patch).unwrap_err();
        assert!(refused.contains("invalid") || refused.contains("Invalid"), "{patch}: {refused}");
    }
    let spec = r#"{"spec":{"function":"price"}}"#;
    let refused = namespace.patch("done", &[], spec);
    assert!(refused.unwrap_err().contains("immutable"));
    assert_eq!(namespace.job("done")["status"]["result"], before["status"]["result"]);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_deleted_job_leaves_nothing() {
    let namespace = Namespace::new("deleted");
    spinning(&namespace, "gone", &[]);
    kubectl(&["delete", "cjob", "gone", "-n", &namespace.0], "").unwrap();
    namespace.becomes_empty("jobs,pods");
}
