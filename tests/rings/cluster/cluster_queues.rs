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

/// From when to when each attempt of a namespace's jobs held its CPU, in seconds.
fn times(namespace: &Namespace) -> Vec<[f64; 2]> {
    let jobs = get(&["cjobs", "-n", &namespace.0])["items"].take();
    let seconds = |time: &Value| {
        let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
        time.as_duration().as_secs_f64()
    };
    let of_job = |job: &Value| {
        let timeline = &job["status"]["timeline"];
        let last = [seconds(&timeline["admitted"]), seconds(&timeline["finished"])];
        let earlier = timeline["earlier"].as_array().cloned().unwrap_or_default().into_iter();
        let earlier = earlier.map(|one| [seconds(&one["admitted"]), seconds(&one["ended"])]);
        earlier.chain([last]).collect::<Vec<_>>()
    };
    jobs.as_array().unwrap().iter().flat_map(of_job).collect()
}

/// CPU seconds that these jobs held before `end`.
fn held_before(end: f64, jobs: &[[f64; 2]]) -> f64 {
    jobs.iter().map(|[from, to]| (to.min(end) - from.min(end)).max(0.0)).sum()
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
    // All wait before the first starts. The node may have room for fewer at a time: pods that it has no room for hold
    // their CPUs, too.
    let (many, few) = (24, 12);
    let job = json!({ "function": "misbehave", "parallelism": 1,
        "input": { "mode": "linger", "milliseconds": 200 } });
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
    // As long as both have jobs that wait.
    let last = |jobs: &[[f64; 2]]| jobs.iter().map(|[from, _]| *from).fold(0.0, f64::max);
    let end = last(&heavy).min(last(&light));
    let [of_heavy, of_light] = [&heavy, &light].map(|jobs| held_before(end, jobs));
    let share = of_heavy / (of_heavy + of_light);
    println!(
        "weights 3 and 1 of {CPUS} CPUs: {:.1} % of what was held is the first's",
        100.0 * share
    );
    assert!((0.675..=0.825).contains(&share), "{share}: 0.75 and a tenth");
    let all: Vec<_> = heavy.into_iter().chain(light).collect();
    // A batch Job's creation is told in whole seconds: a job surely holds its CPU only a second after that.
    let at_once = |[from, _]: &[f64; 2]| {
        all.iter().filter(|[other, to]| other <= from && from + 1.0 < *to).count()
    };
    let most = all.iter().map(at_once).max().unwrap();
    assert!(most <= CPUS, "{most} at one moment");
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

/// A job that lingers for so many seconds.
fn lingering(seconds: u64, priority: i32) -> Value {
    json!({ "function": "misbehave", "parallelism": 1, "priority": priority,
        "input": { "mode": "linger", "milliseconds": 1000 * seconds } })
}

fn becomes(namespace: &Namespace, job: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
    let what = format!("{job} {what}");
    eventually(&what, ALL_ENDED, || is_so(&namespace.job(job)["status"]).then_some(()));
}

/// A job was ended for another, in these words, and has succeeded since, without a retry.
fn was_ended_once_for(namespace: &Namespace, job: &str, words: &str) {
    let status = namespace.wait(job)["status"].take();
    assert_eq!(
        (&status["phase"], &status["attempt"]),
        (&json!("Succeeded"), &json!(2)),
        "{status}"
    );
    assert!(status["retries"].is_null(), "{status}");
    let about = format!("involvedObject.name={job},reason=Preempted");
    let events = get(&["events", "-n", &namespace.0, "--field-selector", &about]);
    let note = events["items"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(note.contains(&format!("ended for a job of {words}")), "{events}");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn jobs_are_ended_for_urgent_ones_and_for_what_is_guaranteed_and_run_again() {
    let (owner, borrower) = (Namespace::new("owner"), Namespace::new("borrower"));
    // A queue of its own: the lower priority ends for the higher.
    owner.apply_queue("default", &json!({ "cpus": 1, "preemption": "lowerPriority" }));
    owner.apply("low", &lingering(10, 0)).unwrap();
    becomes(&owner, "low", "runs", |status| status["phase"] == "Running");
    owner.apply("urgent", &lingering(1, 5)).unwrap();
    assert_eq!(owner.wait("urgent")["status"]["phase"], "Succeeded");
    was_ended_once_for(&owner, "low", "queue \"default\" with priority 5");

    // A shared pool: what is lent comes back.
    let pool = Pool::new("reclaim", &json!({ "cpus": 1 }));
    owner.apply_queue(
        "default",
        &json!({ "cpus": 1, "guaranteedCpus": 1, "preemption": "reclaim" }),
    );
    borrower.apply_queue("default", &json!({ "cpus": 1 }));
    pool.select(&owner);
    pool.select(&borrower);
    pool.becomes_ready();
    borrower.apply("lent", &lingering(10, 9)).unwrap();
    becomes(&borrower, "lent", "runs", |status| status["phase"] == "Running");
    owner.apply("guaranteed", &lingering(1, 0)).unwrap();
    assert_eq!(owner.wait("guaranteed")["status"]["phase"], "Succeeded");
    // The words are for a tenant who may know nothing of the other.
    was_ended_once_for(&borrower, "lent", "another namespace, to which these CPUs are guaranteed");
    owner.becomes_empty("jobs,pods");
    borrower.becomes_empty("jobs,pods");
}
