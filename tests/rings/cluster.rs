//! What only a real cluster can show: image, kubelet, real pods, real CPU requests.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use windlass_core::result::sha256;

use crate::streams::{LINE, Stream, on_its_way, runtime};
use crate::support::cluster::{Bucket, Forward, Namespace, RELEASE, get, kubectl};
use crate::support::http::Client;
use crate::support::{checkout, eventually, quantile, text};

const MANY_SECONDS: Duration = Duration::from_secs(60);

/// The pods of a job.
fn pods(namespace: &Namespace, job: &str) -> Vec<Value> {
    let selector = format!("windlass.dev/job={job}");
    let all = get(&["pods", "-n", &namespace.0, "-l", &selector]);
    all["items"].as_array().unwrap().clone()
}

/// Waits until the job's pod runs and gives it.
pub(crate) fn running_pod(namespace: &Namespace, job: &str) -> Value {
    eventually("the pod runs", MANY_SECONDS, || {
        pods(namespace, job).into_iter().find(|pod| pod["status"]["phase"] == "Running")
    })
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn the_rest_api_of_a_cluster_is_what_its_document_says() {
    let namespace = Namespace::new("schemathesis");
    let client = namespace.client();
    // Each accepted submission is a pod: fewer of them than on one machine.
    let output = Command::new(checkout().join("tests/schemathesis/run"))
        .args([&format!("http://{}", client.address), &client.token, &namespace.0])
        .env("WINDLASS_EXAMPLES", "15")
        .output()
        .unwrap();
    let (said, wrong) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}");
}

/// The reason of the job's failure.
fn reason(job: &Value) -> &str {
    job["status"]["failure"]["reason"].as_str().unwrap_or_default()
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn an_applied_job_runs_in_a_pod_whose_requests_and_limits_equal_its_parallelism() {
    let namespace = Namespace::new("applied");
    let spec = json!({ "function": "misbehave", "parallelism": 2, "input": { "mode": "spin" } });
    namespace.apply("two", &spec).unwrap();
    let pod = running_pod(&namespace, "two");
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
    assert_eq!(columns, ["NAME", "FUNCTION", "PHASE", "CPUS", "PROGRESS", "AGE"]);
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["two", "misbehave", "Running", "2", "0%"]);

    // Cancel ends it, and nothing is left.
    let cancel = r#"{"spec":{"cancel":true}}"#;
    kubectl(&["patch", "cjob", "two", "-n", &namespace.0, "--type=merge", "-p", cancel], "")
        .unwrap();
    let job = namespace.wait("two");
    assert_eq!(job["status"]["phase"], "Cancelled");
    eventually("nothing is left", MANY_SECONDS, || {
        (get(&["jobs,pods", "-n", &namespace.0])["items"] == json!([])).then_some(())
    });
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
        ("unknown", json!({ "function": "nothing" }), "nothing"),
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
    eventually("no batch Job is left", MANY_SECONDS, || {
        (get(&["jobs", "-n", &namespace.0])["items"] == json!([])).then_some(())
    });
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_result_keeps_its_bytes_whatever_they_are() {
    let namespace = Namespace::new("bytes");
    for bytes in [0, 4_095, 4_097, 32_768] {
        let name = format!("bytes-{bytes}");
        let input = json!({ "mode": "bytes", "bytes": bytes });
        namespace.apply(&name, &json!({ "function": "misbehave", "input": input })).unwrap();
    }
    namespace
        .apply("not-text", &json!({ "function": "misbehave", "input": { "mode": "not-text" } }))
        .unwrap();
    for bytes in [0_usize, 4_095, 4_097, 32_768] {
        let job = namespace.wait(&format!("bytes-{bytes}"));
        let result = &job["status"]["result"];
        assert_eq!(result["text"], "y".repeat(bytes), "{bytes}");
        assert_eq!(result["bytes"], bytes);
    }
    let job = namespace.wait("not-text");
    assert_eq!(job["status"]["result"]["base64"], "AJ+Slg==");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_pod_that_is_deleted_by_hand_is_replaced_by_another_attempt() {
    let namespace = Namespace::new("evicted");
    let spec = json!({ "function": "misbehave", "retries": 0, "input": { "mode": "spin" } });
    namespace.apply("evicted", &spec).unwrap();
    let pod = running_pod(&namespace, "evicted");
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
fn a_queue_grants_no_more_cpus_than_it_has() {
    let namespace = Namespace::new("queued");
    let queue = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
        "metadata": { "name": "default" }, "spec": { "cpus": 1 },
    });
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &queue.to_string()).unwrap();
    let spin = json!({ "function": "misbehave", "input": { "mode": "spin" } });
    namespace.apply("first", &spin).unwrap();
    running_pod(&namespace, "first");
    namespace.apply("second", &json!({ "function": "echo" })).unwrap();
    eventually("the second is told to wait", MANY_SECONDS, || {
        (namespace.job("second")["status"]["phase"] == "Queued").then_some(())
    });
    assert_eq!(pods(&namespace, "second"), Vec::<Value>::new());
    let cancel = r#"{"spec":{"cancel":true}}"#;
    kubectl(&["patch", "cjob", "first", "-n", &namespace.0, "--type=merge", "-p", cancel], "")
        .unwrap();
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
        let arguments = [
            "patch",
            "cjob",
            "done",
            "-n",
            &namespace.0,
            &subresource,
            "--type=merge",
            "-p",
            patch,
        ];
        let refused = kubectl(&arguments, "").unwrap_err();
        assert!(refused.contains("invalid") || refused.contains("Invalid"), "{patch}: {refused}");
    }
    let spec = r#"{"spec":{"function":"price"}}"#;
    let refused =
        kubectl(&["patch", "cjob", "done", "-n", &namespace.0, "--type=merge", "-p", spec], "");
    assert!(refused.unwrap_err().contains("immutable"));
    assert_eq!(namespace.job("done")["status"]["result"], before["status"]["result"]);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_deleted_job_leaves_nothing() {
    let namespace = Namespace::new("deleted");
    let spec = json!({ "function": "misbehave", "input": { "mode": "spin" } });
    namespace.apply("gone", &spec).unwrap();
    running_pod(&namespace, "gone");
    kubectl(&["delete", "cjob", "gone", "-n", &namespace.0], "").unwrap();
    eventually("job and pod are gone", MANY_SECONDS, || {
        let left = get(&["jobs,pods", "-n", &namespace.0]);
        (left["items"] == json!([])).then_some(())
    });
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_large_result_is_deleted_with_its_job() {
    let Some(bucket) = Bucket::of_the_release() else { return };
    let namespace = Namespace::new("large");
    let client = namespace.client();
    let submit = |bytes: u64| {
        let body = json!({ "function": "misbehave", "input": { "mode": "bytes", "bytes": bytes } });
        let answer =
            client.post(&client.jobs(""), &[("Prefer", "wait=60")], body.to_string().as_bytes());
        let job = answer.json();
        assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
        job
    };
    let stored =
        |job: &Value| bucket.keys_of(&namespace.0, job["metadata"]["uid"].as_str().unwrap());
    // The largest that is inline, the smallest that is not, and one of three parts.
    for (bytes, objects) in [(32_768, 0), (32_769, 1), (20 << 20, 1)] {
        let job = submit(bytes);
        assert_eq!(stored(&job), objects, "{bytes}");
        let path = client.jobs(&format!("/{}", job["metadata"]["name"].as_str().unwrap()));
        let whole = client.get(&format!("{path}/result"));
        assert_eq!(job["status"]["result"]["sha256"], sha256(&whole.body));
        assert_eq!(whole.body.len() as u64, bytes);
        assert!(client.send("DELETE", &path, &[], b"").status < 300);
        assert_eq!(stored(&job), 0, "{bytes}");
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_log_is_shown_while_the_function_runs_whatever_its_bytes_are() {
    let namespace = Namespace::new("logs");
    let client = namespace.client();
    let spec = json!({ "function": "misbehave", "input": { "mode": "spin" } });
    namespace.apply("says", &spec).unwrap();
    running_pod(&namespace, "says");
    let said = b"about to \"spin\"\n\xff\xfe\n";
    eventually("the log has both lines", MANY_SECONDS, || {
        let log = client.get(&client.jobs("/says/logs"));
        assert_eq!(log.status, 200, "{log:?}");
        (log.body == said).then_some(())
    });
}

/// So many gateways, until it is dropped.
pub(crate) struct Gateways(u64);

impl Gateways {
    fn scale(replicas: u64) -> Self {
        let deployment = get(&["deployment", &format!("{RELEASE}-gateway"), "-n", RELEASE]);
        let before = Self(deployment["spec"]["replicas"].as_u64().unwrap());
        Self(replicas).set();
        before
    }

    fn set(&self) {
        let (deployment, replicas) =
            (format!("deployment/{RELEASE}-gateway"), format!("--replicas={}", self.0));
        kubectl(&["scale", &deployment, "-n", RELEASE, &replicas], "").unwrap();
        let wait = ["rollout", "status", &deployment, "-n", RELEASE, "--timeout=60s"];
        kubectl(&wait, "").unwrap();
    }

    /// The pods that are ready.
    pub(crate) fn pods() -> Vec<String> {
        let selector = "app.kubernetes.io/component=gateway";
        let all = get(&["pods", "-n", RELEASE, "-l", selector]);
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().unwrap();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        let name = |pod: &Value| format!("pod/{}", pod["metadata"]["name"].as_str().unwrap());
        all["items"].as_array().unwrap().iter().filter(ready).map(name).collect()
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        self.set();
    }
}

/// How long the progress of 60 events was on its way.
pub(crate) async fn times<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: Stream<S>,
) -> Vec<Duration> {
    let (mut times, mut events) = (Vec::new(), 0);
    while times.len() < 60 {
        let event = stream.next().await;
        assert_ne!(event.data["status"]["phase"], "Succeeded", "{event:?}");
        if event.kind == "progress" {
            events += 1;
            // The first are told while the replicas find each other.
            if events > 60 {
                times.push(on_its_way(&event));
            }
        }
    }
    times
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn progress_is_with_followers_of_both_gateways_within_250_ms() {
    let namespace = Namespace::new("followed");
    let client = namespace.client();
    let _before = Gateways::scale(2);
    let gateways = eventually("two gateways are ready", MANY_SECONDS, || {
        let pods = Gateways::pods();
        (pods.len() == 2).then_some(pods)
    });
    let forwards: Vec<_> = gateways.iter().map(|pod| Forward::to(pod)).collect();
    namespace
        .apply("told", &json!({ "function": "misbehave", "input": { "mode": "tell" } }))
        .unwrap();
    running_pod(&namespace, "told");
    let times = runtime().block_on(async {
        let mut streams = Vec::new();
        for forward in &forwards {
            let address = forward.address.clone();
            let client = Client { host: address.clone(), address, ..client.clone() };
            streams.push(Stream::open(&client, "told", "").await);
        }
        futures::future::join_all(streams.into_iter().map(times)).await
    });
    for (gateway, mut times) in gateways.iter().zip(times) {
        let (median, most) = (quantile(&mut times, 500), quantile(&mut times, 990));
        println!("a progress line to a follower at {gateway}: p50 {median:?}, p99 {most:?}");
        assert!(most <= LINE, "{gateway}: {times:?}");
    }
}
