//! What attempts have said and used, after their batch Jobs are gone.

use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Gateways, MANY_SECONDS, pods, spinning};
use crate::support::cluster::{Bucket, Namespace, RELEASE, kubectl};
use crate::support::eventually;

/// Waits until nothing of a job is left but its ComputeJob.
fn without_pods(namespace: &Namespace, job: &str) {
    eventually("its pods are gone", MANY_SECONDS, || pods(namespace, job).is_empty().then_some(()));
}

/// Replaces the gateways, and waits until the Service at this address leads to the new ones.
fn restart_gateways(address: &str) {
    let before = Gateways::pods();
    let deployment = format!("deployment/{RELEASE}-gateway");
    kubectl(&["rollout", "restart", &deployment, "-n", RELEASE], "").unwrap();
    let wait = ["rollout", "status", &deployment, "-n", RELEASE, "--timeout=60s"];
    kubectl(&wait, "").unwrap();
    let is_there = |pod: &String| kubectl(&["get", "pod", pod, "-n", RELEASE], "").is_ok();
    eventually("the old gateways are gone", MANY_SECONDS, || {
        (!before.iter().any(is_there)).then_some(())
    });
    // The Service leads to any of those it knows: for a moment also to one that is gone.
    eventually("there are new ones alone", MANY_SECONDS, || {
        (0..20).all(|_| TcpStream::connect(address).is_ok()).then_some(())
    });
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_job_is_followed_from_its_submission_however_short_it_is() {
    // What is over before its log could be opened is kept in a store.
    if Bucket::of_the_release().is_none() {
        println!("left out: the release has no store");
        return;
    }
    let namespace = Namespace::new("short-logs");
    let client = namespace.direct_client();
    let said: String = (0..3).map(|line| format!("line {line} of 3\n")).collect();
    let said = format!("about to \"talk\"\n{said}");
    for number in 0..8 {
        let name = format!("talks-{number}");
        let job = json!({ "function": "misbehave", "input": { "mode": "talk", "lines": 3 }, "name": name });
        assert_eq!(client.submit(&job).status, 201);
        let log = client.get(&client.jobs(&format!("/{name}/logs?follow=true")));
        assert_eq!(String::from_utf8_lossy(&log.body), said, "{name}");
        assert_eq!(namespace.wait(&name)["status"]["phase"], "Succeeded");
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn what_attempts_said_is_read_when_their_pods_are_gone_and_deleted_with_their_job() {
    let Some(bucket) = Bucket::of_the_release() else { return };
    let namespace = Namespace::new("kept-logs");
    let input = json!({ "mode": "crash" });
    let spec = json!({ "function": "misbehave", "input": input, "retries": 1 });
    namespace.apply("crashes", &spec).unwrap();
    spinning(&namespace, "spins", &[]);
    let said = b"about to \"spin\"\n\xff\xfe\n";
    // By the Service: a forward ends with the gateway's pod.
    let client = namespace.direct_client();
    let ask = |path: &str| client.get(&client.jobs(path));
    eventually("it has said something", MANY_SECONDS, || {
        (ask("/spins/logs").body == said).then_some(())
    });
    namespace.cancel("spins");
    let job = namespace.wait("crashes");
    assert_eq!(job["status"]["attempt"], 2, "{job}");
    for job in ["crashes", "spins"] {
        without_pods(&namespace, job);
    }
    restart_gateways(&client.address);
    for query in ["", "?attempt=1", "?attempt=2", "?follow=true"] {
        let log = ask(&format!("/crashes/logs{query}"));
        assert_eq!((log.status, &log.body[..]), (200, &b"about to \"crash\"\n"[..]), "{query}");
    }
    let timed = ask("/crashes/logs?attempt=1&timestamps=true");
    let timed = String::from_utf8(timed.body).unwrap();
    let (time, line) = timed.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && line == "about to \"crash\"\n", "{timed}");
    // Its batch Job, by which its worker is known, was there as long as the worker.
    let cancelled = ask("/spins/logs");
    assert_eq!((cancelled.status, &cancelled.body[..]), (200, &said[..]), "{cancelled:?}");
    assert_eq!(ask("/crashes/logs?attempt=3").status, 404);
    assert_eq!(ask("/crashes/logs?attempt=0").status, 400);
    // It is counted and deleted like a result, and another job of the name has none of it.
    let uid = job["metadata"]["uid"].as_str().unwrap();
    assert_eq!(bucket.keys_of(&namespace.0, uid), 2);
    assert!(client.send("DELETE", &client.jobs("/crashes"), &[], b"").status < 300);
    assert_eq!(bucket.keys_of(&namespace.0, uid), 0);
    let again = json!({ "function": "echo", "input": {} });
    namespace.apply("crashes", &again).unwrap();
    namespace.wait("crashes");
    without_pods(&namespace, "crashes");
    let silent = ask("/crashes/logs");
    assert_eq!((silent.status, silent.body.len()), (200, 0), "it is known to have said nothing");
    assert_eq!(ask("/crashes/logs?attempt=2").status, 404);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_log_of_a_pod_that_is_deleted_by_force_is_kept_or_says_why_it_is_not() {
    if Bucket::of_the_release().is_none() {
        return;
    }
    let namespace = Namespace::new("lost-logs");
    let pod = spinning(&namespace, "spins", &[]);
    let client = namespace.direct_client();
    let said = b"about to \"spin\"\n\xff\xfe\n";
    eventually("it has said something", MANY_SECONDS, || {
        (client.get(&client.jobs("/spins/logs")).body == said).then_some(())
    });
    let name = pod["metadata"]["name"].as_str().unwrap();
    let delete = ["delete", "pod", name, "-n", &namespace.0, "--grace-period=0", "--force"];
    kubectl(&delete, "").unwrap();
    eventually("there is a second attempt", MANY_SECONDS, || {
        (namespace.job("spins")["status"]["attempt"] == 2).then_some(())
    });
    // Its worker may have had the time, and may not: never is it nothing.
    let log = client.get(&client.jobs("/spins/logs?attempt=1"));
    match log.status {
        200 => assert_eq!(log.body, said),
        410 => {
            let told = String::from_utf8(log.body).unwrap();
            assert!(told.contains("nothing is kept of what attempt 1 has said: "), "{told}");
        }
        _ => panic!("{log:?}"),
    }
    namespace.cancel("spins");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn what_a_job_uses_is_told_while_it_runs_and_kept_with_its_results() {
    let Some(bucket) = Bucket::of_the_release() else { return };
    let namespace = Namespace::new("used");
    // The first of its threads waits most of the time, the other burns a CPU.
    let spec = json!({ "function": "misbehave", "input": { "mode": "spin" }, "parallelism": 2 });
    namespace.apply("spins", &spec).unwrap();
    // By the Service: a forward ends with the gateway's pod.
    let client = namespace.direct_client();
    let usage = || client.get(&client.jobs("/spins/usage")).json();
    let told = eventually("samples are told", MANY_SECONDS, || {
        let usage = usage();
        (usage["samples"].as_array()?.len() >= 5).then_some(usage)
    });
    assert_eq!((&told["attempt"], &told["granted"]), (&json!(1), &json!(2)), "{told}");
    let used = told["samples"][1]["cpus"].as_f64().unwrap();
    assert!(used > 0.1 && used < 1.5, "{told}");
    let capacity = client.get(&format!("/v1/namespaces/{}/capacity", namespace.0)).json();
    assert!(capacity["used"].as_f64().is_some_and(|used| used > 0.0), "{capacity}");
    namespace.cancel("spins");
    // What has ended is read from the store by a gateway that has heard nothing of it.
    let ends =
        json!({ "function": "misbehave", "input": { "mode": "linger", "milliseconds": 9000 } });
    namespace.apply("ends", &ends).unwrap();
    let uid = namespace.wait("ends")["metadata"]["uid"].as_str().unwrap().to_owned();
    eventually("its log and its samples are kept", MANY_SECONDS, || {
        (bucket.keys_of(&namespace.0, &uid) == 2).then_some(())
    });
    restart_gateways(&client.address);
    let kept = client.get(&client.jobs("/ends/usage")).json();
    assert!(kept["samples"].as_array().is_some_and(|samples| samples.len() >= 5), "{kept}");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn the_controller_says_once_how_a_job_ended() {
    let namespace = Namespace::new("said");
    let spec = json!({ "function": "misbehave", "input": { "mode": "crash" }, "retries": 0 });
    namespace.apply("crashes", &spec).unwrap();
    namespace.wait("crashes");
    let (key, message) = (format!("{}/crashes", namespace.0), "job ended");
    let said = || {
        let controller = format!("deployment/{RELEASE}-controller");
        let log = kubectl(&["logs", &controller, "-n", RELEASE, "--tail=-1"], "").unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        let about = |line: &Value| line["job"] == *key && line["message"] == message;
        lines.filter(about).collect::<Vec<Value>>()
    };
    eventually("it says so", MANY_SECONDS, || (!said().is_empty()).then_some(()));
    without_pods(&namespace, "crashes");
    let said = said();
    assert_eq!(said.len(), 1, "{said:?}");
    let told = ["phase", "reason", "attempt"].map(|field| &said[0][field]);
    assert_eq!(told, [&json!("Failed"), &json!("Crashed"), &json!(1)], "{said:?}");
}
