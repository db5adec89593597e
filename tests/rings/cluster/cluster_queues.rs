//! Namespaces of a cluster that share the CPUs of a ClusterComputeQueue.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::{Namespace, get, kubectl};
use crate::support::eventually;

/// Longest time until all jobs of a test have ended.
const ALL_ENDED: Duration = Duration::from_secs(180);

/// CPUs that are shared.
const CPUS: usize = 4;

/// A ClusterComputeQueue that selects namespaces by the label `pool` of its name. Deleted at the end of the test.
struct Pool(String);

impl Pool {
    fn new(test: &str, spec: &Value) -> Self {
        let pool = Self(format!("{test}-{}", std::process::id()));
        pool.apply(spec);
        pool
    }

    fn apply(&self, spec: &Value) {
        let mut spec = spec.clone();
        spec["namespaceSelector"] = json!({ "matchLabels": { "pool": self.0 } });
        let object = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ClusterComputeQueue",
            "metadata": { "name": self.0 }, "spec": spec });
        kubectl(&["apply", "-f", "-"], &object.to_string()).unwrap();
    }

    fn select(&self, namespace: &Namespace) {
        let label = format!("pool={}", self.0);
        kubectl(&["label", "namespace", &namespace.0, &label], "").unwrap();
    }

    fn becomes_ready(&self) {
        eventually("the pool is ready", ALL_ENDED, || {
            let status = get(&["ccqueue", &self.0])["status"].take();
            let ready = &status["conditions"][0];
            (ready["type"] == "Ready" && ready["status"] == "True").then_some(())
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Without an answer the next test's queues are not selected by it all the same.
        drop(kubectl(&["delete", "ccqueue", &self.0, "--wait=false"], ""));
    }
}

/// When each job of a namespace ran: from its grant to its end.
fn times(namespace: &Namespace) -> Vec<[jiff::Timestamp; 2]> {
    let jobs = get(&["cjobs", "-n", &namespace.0])["items"].take();
    let time = |job: &Value, step: &str| job["status"]["timeline"][step].as_str().unwrap().parse();
    let of = |job: &Value| ["running", "finished"].map(|step| time(job, step).unwrap());
    jobs.as_array().unwrap().iter().map(of).collect()
}

fn have_ended(namespace: &Namespace, count: usize) {
    eventually("all jobs have ended", ALL_ENDED, || {
        let jobs = get(&["cjobs", "-n", &namespace.0])["items"].take();
        let ended = jobs.as_array().unwrap().iter();
        let ended = ended.filter(|job| job["status"]["phase"] == "Succeeded").count();
        (ended == count).then_some(())
    });
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn namespaces_share_cpus_by_their_weights_and_never_hold_more() {
    let (heavy, light) = (Namespace::new("heavy"), Namespace::new("light"));
    let pool = Pool::new("weights", &json!({ "cpus": CPUS, "hold": true }));
    pool.select(&heavy);
    pool.select(&light);
    heavy.apply_queue("default", &json!({ "cpus": 100, "weight": 3 }));
    light.apply_queue("default", &json!({ "cpus": 100 }));
    pool.becomes_ready();
    // Each job holds a CPU for a while, and all wait before the first starts.
    let (many, few) = (30, 20);
    let job = json!({ "function": "misbehave", "parallelism": 1,
        "input": { "mode": "linger", "milliseconds": 1_000 } });
    for (namespace, count) in [(&heavy, many), (&light, few)] {
        let named = |number: usize| {
            json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
                "metadata": { "name": format!("j{number}") }, "spec": job })
        };
        let list = json!({ "apiVersion": "v1", "kind": "List",
            "items": (0..count).map(named).collect::<Vec<_>>() });
        kubectl(&["create", "-n", &namespace.0, "-f", "-"], &list.to_string()).unwrap();
    }
    eventually("the pool says who waits", ALL_ENDED, || {
        let waiting = get(&["ccqueue", &pool.0])["status"]["waiting"].as_u64();
        (waiting == Some(many as u64 + few as u64)).then_some(())
    });
    pool.apply(&json!({ "cpus": CPUS }));
    have_ended(&heavy, many);
    have_ended(&light, few);

    let (heavy, light) = (times(&heavy), times(&light));
    let heavy_is_over = heavy.iter().map(|[began, _]| *began).max().unwrap();
    let beside = light.iter().filter(|[began, _]| *began <= heavy_is_over).count();
    println!(
        "beside {many} jobs of weight 3 began {beside} of weight 1; a third would be {}",
        many / 3
    );
    // Four at a time: the last of them may begin in another order.
    assert!(beside.abs_diff(many / 3) <= CPUS, "{beside}");
    let all: Vec<_> = heavy.into_iter().chain(light).collect();
    let at_once = |[began, _]: &[jiff::Timestamp; 2]| {
        all.iter().filter(|[other, ended]| other <= began && began < ended).count()
    };
    let most = all.iter().map(at_once).max().unwrap();
    assert_eq!(most, CPUS, "at one moment; all of them are used");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_namespace_without_a_queue_does_not_pass_by_the_pool() {
    let namespace = Namespace::new("no-escape");
    let pool = Pool::new("no-escape", &json!({ "cpus": 1 }));
    pool.select(&namespace);
    pool.becomes_ready();
    namespace.apply("waits", &json!({ "function": "echo" })).unwrap();
    super::queues::is_told(&namespace, "waits", "QueueNotFound", "queue \"default\" is not there");
    namespace.apply_queue("default", &json!({ "cpus": 100 }));
    assert_eq!(namespace.wait("waits")["status"]["phase"], "Succeeded");
}
