//! What the gateways of a cluster serve: the REST API, results, logs and progress.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use windlass_core::result::sha256;

use super::{MANY_SECONDS, running_pod, spinning};
use crate::streams::{LINE, Stream, on_its_way, runtime};
use crate::support::cluster::{Bucket, Forward, Namespace, RELEASE, get, kubectl};
use crate::support::http::Client;
use crate::support::{checkout, eventually, quantile, text};

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
fn a_large_result_is_deleted_with_its_job() {
    let Some(bucket) = Bucket::of_the_release() else { return };
    let namespace = Namespace::new("large");
    let client = namespace.client();
    let submit = |bytes: u64| {
        let input = json!({ "mode": "bytes", "bytes": bytes });
        let job = client.run(&json!({ "function": "misbehave", "input": input }));
        assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
        job
    };
    let stored =
        |job: &Value| bucket.keys_of(&namespace.0, job["metadata"]["uid"].as_str().unwrap());
    // The largest that is inline, the smallest that is not, and one of three parts; and the log of each.
    for (bytes, objects) in [(32_768, 1), (32_769, 2), (20 << 20, 2)] {
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
    spinning(&namespace, "says", &[]);
    let said = b"about to \"spin\"\n\xff\xfe\n";
    eventually("the log has both lines", MANY_SECONDS, || {
        let log = client.get(&client.jobs("/says/logs"));
        assert_eq!(log.status, 200, "{log:?}");
        (log.body == said).then_some(())
    });
    let timed = client.get(&client.jobs("/says/logs?timestamps=true"));
    let lines: Vec<&[u8]> = timed.body.split_inclusive(|byte| *byte == b'\n').collect();
    for (line, expected) in lines.iter().zip(said.split_inclusive(|byte| *byte == b'\n')) {
        let space = line.iter().position(|byte| *byte == b' ').unwrap();
        let time = std::str::from_utf8(&line[..space]).unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(&line[space + 1..], expected);
    }
    assert_eq!(lines.len(), 2);
}

/// So many gateways, until it is dropped.
pub(crate) struct Gateways(u64);

impl Gateways {
    pub(crate) fn scale(replicas: u64) -> Self {
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
            let client = Client { address: forward.address.clone(), ..client.clone() };
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
