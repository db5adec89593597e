//! Jobs of a cluster that are refused, that fail, and whose pod is taken away.

use std::time::Duration;

use serde_json::{Value, json};

use super::{MANY_SECONDS, spinning};
use crate::support::cluster::{Bucket, Namespace, get, kubectl};
use crate::support::eventually;

/// The reason of the job's failure.
fn reason(job: &Value) -> &str {
    job["status"]["failure"]["reason"].as_str().unwrap_or_default()
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn an_invalid_job_is_refused_by_the_api_server_or_ends_as_invalid() {
    let namespace = Namespace::new("invalid");
    let refused = [
        (json!({ "function": "echo", "parallelism": 0 }), "parallelism"),
        (json!({ "function": "echo", "cpus": 2 }), "cpus"),
        (json!({ "parallelism": 1 }), "function"),
        (json!({ "function": "echo", "input": [] }), "input"),
    ];
    for (spec, field) in refused {
        let said = namespace.apply("refused", &spec).unwrap_err();
        assert!(said.contains(field), "{spec}: {said}");
    }
    let invalid = [
        ("too-wide", json!({ "function": "misbehave", "parallelism": 3 }), "/parallelism"),
        ("schema", json!({ "function": "price", "input": { "paths": 7 } }), "/input"),
        ("large", json!({ "function": "echo", "input": { "x": "y".repeat(131_072) } }), "/input"),
    ];
    for (name, spec, said) in invalid {
        namespace.apply_large(name, &spec);
        let job = namespace.wait(name);
        let message = job["status"]["failure"]["message"].as_str().unwrap();
        assert_eq!(reason(&job), "Invalid", "{name}: {message}");
        assert!(message.contains(said), "{name}: {message}");
        assert_eq!(get(&["jobs", "-n", &namespace.0])["items"], json!([]), "{name}");
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn what_a_failed_job_had_computed_is_given_to_who_asks() {
    let namespace = Namespace::new("partial");
    let client = namespace.client();
    // In the termination message and the report, and in the store where the release has one.
    let sizes = [3].into_iter().chain(Bucket::of_the_release().map(|_| 100_000));
    for characters in sizes {
        let input = json!({ "mode": "raise", "characters": characters });
        let name = format!("raises-{characters}");
        namespace.apply(&name, &json!({ "function": "misbehave", "input": input })).unwrap();
        let job = namespace.wait(&name);
        assert_eq!((&job["status"]["phase"], reason(&job)), (&json!("Failed"), "FunctionError"));
        let result = client.jobs(&format!("/{name}/result"));
        assert_eq!(client.get(&result).status, 409, "it is no result");
        let answer = client.get(&format!("{result}?partial=true"));
        assert_eq!((answer.status, answer.json()), (200, json!("y".repeat(characters))));
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_function_or_queue_that_no_job_could_name_is_refused() {
    let namespace = Namespace::new("names");
    let (dotted, long, good) = ("a.b", "x".repeat(64), "x".repeat(63));
    for (kind, spec) in [
        ("ComputeFunction", json!({ "command": ["true"], "image": "none" })),
        ("ComputeQueue", json!({ "cpus": 1 })),
    ] {
        let apply = |name: &str| {
            let object = json!({
                "apiVersion": "windlass.dev/v1alpha1", "kind": kind,
                "metadata": { "name": name, "namespace": namespace.0 }, "spec": spec,
            });
            kubectl(&["apply", "-f", "-"], &object.to_string())
        };
        for bad in [dotted, &long] {
            let said = apply(bad).unwrap_err();
            assert!(said.contains("the name has at most 63"), "{kind} {bad}: {said}");
        }
        apply(&good).unwrap();
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_quota_of_jobs_is_told_in_the_api_servers_words() {
    let namespace = Namespace::new("quota-of-jobs");
    let client = namespace.client();
    let counted = "count/computejobs.windlass.dev";
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": "no-jobs", "namespace": namespace.0 }, "spec": { "hard": { counted: "0" } } });
    kubectl(&["create", "-f", "-"], &quota.to_string()).unwrap();
    eventually("the quota is in force", MANY_SECONDS, || {
        let status = get(&["resourcequota", "no-jobs", "-n", &namespace.0])["status"].take();
        (status["hard"][counted] == "0").then_some(())
    });
    let answer = client.submit(&json!({ "function": "echo", "input": {} }));
    let detail = answer.json()["detail"].take();
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(
        detail.as_str().is_some_and(|said| said.contains("exceeded quota: no-jobs")),
        "{detail}"
    );
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn each_way_to_fail_has_its_reason() {
    let namespace = Namespace::new("failures");
    let table = [
        ("crash", "Crashed", "exited with code 3"),
        ("bad-input", "BadInput", "exit code 65"),
        ("abort", "Killed", "signal 6"),
        ("no-output", "NoOutput", "without writing its output"),
        ("too-large", "ResultTooLarge", "26214400 bytes"),
    ];
    for (mode, _, _) in table {
        let spec = json!({ "function": "misbehave", "retries": 0, "input": { "mode": mode } });
        namespace.apply(mode, &spec).unwrap();
    }
    for (mode, expected, said) in table {
        let job = namespace.wait(mode);
        let message = job["status"]["failure"]["message"].as_str().unwrap();
        assert_eq!((job["status"]["phase"].as_str(), reason(&job)), (Some("Failed"), expected));
        assert!(message.contains(said), "{mode}: {message}");
        assert!(message.contains(&format!("about to \"{mode}\"")), "{mode}: {message}");
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_failed_attempt_is_retried_by_another_job_and_counted() {
    let namespace = Namespace::new("retried");
    let spec = json!({ "function": "misbehave", "retries": 1, "input": { "mode": "crash" } });
    namespace.apply("again", &spec).unwrap();
    let job = namespace.wait("again");
    let status = &job["status"];
    assert_eq!((&status["phase"], &status["attempt"]), (&json!("Failed"), &json!(2)), "{job}");
    assert_eq!(status["retries"], 2);
    // What is left of both attempts is removed.
    namespace.becomes_empty("jobs");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_pod_that_is_deleted_by_hand_is_replaced_by_another_attempt() {
    let namespace = Namespace::new("evicted");
    let pod = spinning(&namespace, "evicted", &[("retries", 0)]);
    let name = pod["metadata"]["name"].as_str().unwrap();
    kubectl(&["delete", "pod", name, "-n", &namespace.0, "--wait=false"], "").unwrap();
    // Not the job's fault, so that it does not count against `retries: 0`.
    let status = eventually("a second attempt runs", MANY_SECONDS, || {
        let status = namespace.job("evicted")["status"].take();
        (status["attempt"] == 2 && status["phase"] == "Running").then_some(status)
    });
    assert_eq!(status["failure"]["reason"], "Lost");
    assert_eq!(status["retries"].as_u64().unwrap_or(0), 0);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_job_waits_for_a_function_that_is_applied_after_it() {
    let namespace = Namespace::new("late");
    namespace.apply("early", &json!({ "function": "late" })).unwrap();
    eventually("it says what it waits for", Duration::from_secs(60), || {
        namespace.job("early").to_string().contains("FunctionNotFound").then_some(())
    });
    let mut function = get(&["computefunction", "echo", "-n", &namespace.0]);
    function["metadata"] = json!({ "name": "late", "namespace": namespace.0 });
    kubectl(&["apply", "-f", "-"], &function.to_string()).unwrap();
    assert_eq!(namespace.wait("early")["status"]["phase"], "Succeeded");
}
