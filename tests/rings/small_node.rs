//! What the chart's own pods leave to jobs on a small node. Alone on its cluster: the release is upgraded to the requests
//! of the chart, without which it runs for the other tests.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::checkout;
use crate::support::cluster::{Namespace, kubectl, node_cpus};
use crate::support::release::Upgraded;

/// Longest time from `kubectl apply` to the end of a job.
const ENDED: Duration = Duration::from_secs(30);
/// What `charts/windlass/values.yaml` says of both.
const REQUEST: &str = "requests: { cpu: 20m,";

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn the_sample_and_a_job_of_the_whole_node_end_beside_the_charts_own_requests() {
    let values = std::fs::read_to_string(checkout().join("charts/windlass/values.yaml")).unwrap();
    assert_eq!(values.matches(REQUEST).count(), 2, "of gateway and controller");
    let _release =
        Upgraded::to("gateway.resources.requests.cpu=20m,controller.resources.requests.cpu=20m");
    let namespace = Namespace::new("small");
    let sample = checkout().join("manifests/samples/price.yaml");
    let applied = Instant::now();
    kubectl(&["apply", "-n", &namespace.0, "-f", sample.to_str().unwrap()], "").unwrap();
    let job = namespace.wait("price");
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    assert!(applied.elapsed() <= ENDED, "{:?}", applied.elapsed());

    // As many CPUs as the node has, of which some are the release's.
    let all = node_cpus();
    let spec = json!({ "function": "echo", "parallelism": all, "minParallelism": 1 });
    let applied = Instant::now();
    namespace.apply("whole", &spec).unwrap();
    let job = namespace.wait("whole");
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    let granted = job["status"]["parallelism"].as_u64().unwrap();
    assert!(granted < all, "the release has CPUs of the node: {job}");
    println!(
        "a job of {all} CPUs ended {:.1?} after it was applied, with {granted}",
        applied.elapsed()
    );
    assert!(applied.elapsed() <= ENDED, "{:?}", applied.elapsed());
}
