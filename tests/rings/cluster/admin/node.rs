//! Chapters on a node with few CPUs, and on what is left of a job.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{lingering, succeeds};
use crate::cluster::{MANY_SECONDS, pods};
use crate::support::cluster::{Bucket, Namespace, kubectl, node_cpus};
use crate::support::release::run;
use crate::support::{checkout, eventually};

/// More CPUs of the node until this is dropped: more pods run at a time, none is faster. A cluster that is not the tests' own
/// stays as it is.
pub(super) struct Cpus(Option<u64>);

impl Cpus {
    pub(super) fn of_the_node(count: u64) -> Self {
        let ours = std::env::var_os("WINDLASS_IMAGE").is_none();
        let before = ours.then(node_cpus);
        before.inspect(|_| set(count));
        Self(before)
    }
}

impl Drop for Cpus {
    fn drop(&mut self) {
        self.0.inspect(|before| set(*before));
    }
}

fn set(cpus: u64) {
    let kubeconfig = std::fs::canonicalize(std::env::var_os("KUBECONFIG").unwrap()).unwrap();
    let of_the_run = kubeconfig.parent().unwrap().file_name().unwrap();
    run("tests/cluster/cpus", &[of_the_run.to_str().unwrap(), &cpus.to_string()]);
}

/// Longest time from `kubectl apply` to the end of a job.
const ENDED: Duration = Duration::from_secs(30);

/// What `charts/windlass/values.yaml` says of gateway and controller, and how an upgrade says it.
const REQUEST: &str = "requests: { cpu: 20m,";
pub(super) const THE_CHARTS_REQUESTS: &str =
    "gateway.resources.requests.cpu=20m,controller.resources.requests.cpu=20m";

pub(super) fn the_sample_ends() {
    let values = std::fs::read_to_string(checkout().join("charts/windlass/values.yaml")).unwrap();
    assert_eq!(values.matches(REQUEST).count(), 2, "of gateway and controller");
    let namespace = Namespace::new("sample");
    let sample = checkout().join("manifests/samples/price.yaml");
    let applied = Instant::now();
    kubectl(&["apply", "-n", &namespace.0, "-f", sample.to_str().unwrap()], "").unwrap();
    succeeds(&namespace, "price");
    assert!(applied.elapsed() <= ENDED, "{:?}", applied.elapsed());
}

/// As many CPUs as the node has, of which some are the release's.
pub(super) fn a_job_takes_what_is_free() {
    let namespace = Namespace::new("full-node");
    let all = node_cpus();
    let spec = json!({ "function": "echo", "parallelism": all, "minParallelism": 1 });
    let applied = Instant::now();
    namespace.apply("whole", &spec).unwrap();
    let job = succeeds(&namespace, "whole");
    let took = applied.elapsed();
    let granted = job["status"]["parallelism"].as_u64().unwrap();
    assert!(granted < all, "the release has CPUs of the node: {job}");
    println!("a job of {all} CPUs ended {took:.1?} after it was applied, with {granted}");
    assert!(took <= ENDED, "{took:?}");
}

pub(super) fn a_job_says_something() -> Namespace {
    let namespace = Namespace::new("noted");
    namespace.apply("says", &lingering(1, 0)).unwrap();
    succeeds(&namespace, "says");
    eventually("its pod is gone", MANY_SECONDS, || {
        pods(&namespace, "says").is_empty().then_some(())
    });
    namespace
}

/// Its pod is gone, and so are the gateways that served then.
pub(super) fn the_log_is_still_there(namespace: &Namespace) {
    if Bucket::of_the_release().is_none() {
        return;
    }
    let client = namespace.direct_client();
    let log = client.get(&client.jobs("/says/logs"));
    assert_eq!((log.status, &log.body[..]), (200, &b"about to \"linger\"\n"[..]), "{log:?}");
}
