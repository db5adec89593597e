//! Chapters on namespaces that share the CPUs of a ClusterComputeQueue, and on jobs that end for others.

use serde_json::{Value, json};

use super::node::Cpus;
use super::{ALL_ENDED, Pool, is_told, lingering, runs, seconds, succeeds, time};
use crate::support::cluster::{Namespace, get, kubectl};
use crate::support::eventually;
use crate::support::release::Upgraded;

pub(super) fn no_namespace_passes_by_a_pool() {
    let namespace = Namespace::new("no-escape");
    let pool = Pool::new("no-escape", &json!({ "cpus": 1 }));
    pool.select(&[&namespace]);
    namespace.apply("waits", &json!({ "function": "echo" })).unwrap();
    is_told(&namespace, "waits", "QueueNotFound", "queue \"default\" is not there");
    namespace.apply_queue("default", &json!({ "cpus": 100 }));
    succeeds(&namespace, "waits");
}

/// The borrower has the whole pool while the owner does not need it. Nothing is ended for the owner, and nobody comes before.
pub(super) fn what_is_lent_comes_back() {
    let (owner, borrower) = (Namespace::new("lender"), Namespace::new("borrower"));
    let pool = Pool::new("lent", &json!({ "cpus": 2 }));
    owner.apply_queue("default", &json!({ "cpus": 2, "guaranteedCpus": 1 }));
    borrower.apply_queue("default", &json!({ "cpus": 2 }));
    pool.select(&[&owner, &borrower]);
    for job in ["first", "second"] {
        borrower.apply(job, &lingering(600_000, 9)).unwrap();
    }
    ["first", "second"].iter().for_each(|job| runs(&borrower, job));
    // Whoever lists jobs sees what all the namespaces hold together.
    eventually("it is told how much of the pool is in use", ALL_ENDED, || {
        let client = owner.direct_client();
        let capacity = client.get(&format!("/v1/namespaces/{}/capacity", owner.0)).json();
        assert_eq!(capacity["shared"]["name"], json!(pool.0), "{capacity}");
        assert_eq!(capacity["shared"]["cpus"], 2, "{capacity}");
        (capacity["shared"]["granted"] == 2).then_some(())
    });
    borrower.apply("third", &lingering(1, 9)).unwrap();
    is_told(&borrower, "third", "WaitingForCpus", "has 2 CPUs");
    // It takes longer than the whole seconds in which a batch Job's creation is told: what comes after it has a later one.
    owner.apply("guaranteed", &lingering(1500, 0)).unwrap();
    is_told(&owner, "guaranteed", "WaitingForCpus", "");
    borrower.cancel("first");
    let guaranteed = succeeds(&owner, "guaranteed");
    let third = succeeds(&borrower, "third");
    borrower.cancel("second");
    let [first, second] = ["first", "second"].map(|job| borrower.wait(job));
    for job in [&first, &second, &third] {
        assert_eq!(job["status"]["attempt"], 1, "{job}");
    }
    let (given_back, taken) = (time(&first, "finished"), time(&guaranteed, "admitted"));
    assert!(given_back < taken + 1.0, "it had to wait: {given_back} {taken}");
    assert!(taken < time(&third, "admitted"), "{third}");
}

pub(super) fn a_lower_priority_ends_for_a_higher() {
    let namespace = Namespace::new("urgent");
    namespace.apply_queue("default", &json!({ "cpus": 1, "preemption": "lowerPriority" }));
    namespace.apply("low", &lingering(10_000, 0)).unwrap();
    runs(&namespace, "low");
    namespace.apply("urgent", &lingering(1000, 5)).unwrap();
    succeeds(&namespace, "urgent");
    was_ended_once_for(&namespace, "low", "queue \"default\" with priority 5");
    namespace.becomes_empty("jobs,pods");
}

pub(super) fn what_is_guaranteed_is_reclaimed() {
    let (owner, borrower) = (Namespace::new("owner"), Namespace::new("reclaimed"));
    let pool = Pool::new("reclaim", &json!({ "cpus": 1 }));
    let guaranteed = json!({ "cpus": 1, "guaranteedCpus": 1, "preemption": "reclaim" });
    owner.apply_queue("default", &guaranteed);
    borrower.apply_queue("default", &json!({ "cpus": 1 }));
    pool.select(&[&owner, &borrower]);
    borrower.apply("lent", &lingering(10_000, 9)).unwrap();
    runs(&borrower, "lent");
    owner.apply("guaranteed", &lingering(1000, 0)).unwrap();
    succeeds(&owner, "guaranteed");
    // The words are for a tenant who may know nothing of the other.
    was_ended_once_for(&borrower, "lent", "another namespace, to which these CPUs are guaranteed");
    owner.becomes_empty("jobs,pods");
    borrower.becomes_empty("jobs,pods");
}

/// A job was ended for another, in these words, and has succeeded since, without a retry.
fn was_ended_once_for(namespace: &Namespace, job: &str, words: &str) {
    let status = succeeds(namespace, job)["status"].take();
    assert_eq!(status["attempt"], 2, "{status}");
    assert!(status["retries"].is_null(), "{status}");
    let about = format!("involvedObject.name={job},reason=Preempted");
    let events = get(&["events", "-n", &namespace.0, "--field-selector", &about]);
    let note = events["items"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(note.contains(&format!("ended for a job of {words}")), "{events}");
}

/// CPUs that are shared by weights: with one at a time the lighter queue has a twentieth of them, in place of a hundredth.
const CPUS: usize = 20;

/// Jobs of the heavier queue, and of the lighter one: more than it starts meanwhile.
const MANY: usize = 200;
const FEW: usize = 60;

/// All wait before the first starts. The node has room for all that may run: whose pod is next is not the scheduler's choice.
pub(super) fn shares_follow_the_weights() {
    let _room = Cpus::of_the_node(CPUS as u64 + 4);
    // Where the node's CPUs cannot be changed, no pod is to give its CPUs back meanwhile.
    let _patient = Upgraded::to("controller.unschedulableTimeoutSeconds=0");
    let (heavy, light) = (Namespace::new("heavy"), Namespace::new("light"));
    let pool = Pool::new("weights", &json!({ "cpus": CPUS, "hold": true }));
    heavy.apply_queue("default", &json!({ "cpus": 100, "weight": 100 }));
    light.apply_queue("default", &json!({ "cpus": 100 }));
    pool.select(&[&heavy, &light]);
    apply_many(&heavy, MANY);
    apply_many(&light, FEW);
    // The pool's own number is written only when it has changed by half.
    all_are(&heavy, MANY, "Queued");
    all_are(&light, FEW, "Queued");
    pool.apply(&json!({ "cpus": CPUS }));
    let [heavy, light] = [(&heavy, MANY), (&light, FEW)].map(|(namespace, count)| {
        all_are(namespace, count, "Succeeded");
        times(namespace)
    });
    // As long as both have jobs that wait.
    let last = |jobs: &[[f64; 2]]| jobs.iter().map(|[from, _]| *from).fold(0.0, f64::max);
    let end = last(&heavy).min(last(&light));
    let [of_heavy, of_light] = [&heavy, &light].map(|jobs| held_before(end, jobs));
    let share = of_heavy / (of_heavy + of_light);
    let started = heavy.iter().filter(|[from, _]| *from <= end).count();
    println!(
        "weights 100 and 1 of {CPUS} CPUs: {:.1} % of what was held is the first's, of which {started} jobs had started",
        100.0 * share
    );
    assert!(started >= MANY * 9 / 10, "the lighter queue had no jobs left after {started}");
    assert!(share >= 0.9 * 100.0 / 101.0, "{share}: 100 of 101 less a tenth");
    assert!(of_light > 0.0, "the lighter queue had nothing as long as both waited");
    let all: Vec<_> = heavy.into_iter().chain(light).collect();
    // A batch Job's creation is told in whole seconds: a job surely holds its CPU only a second after that.
    let at_once = |[from, _]: &[f64; 2]| {
        all.iter().filter(|[other, to]| other <= from && from + 1.0 < *to).count()
    };
    let most = all.iter().map(at_once).max().unwrap();
    assert!(most <= CPUS, "{most} at one moment");
}

fn apply_many(namespace: &Namespace, count: usize) {
    let named = |number: usize| {
        json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": format!("j{number}") }, "spec": lingering(1, 0) })
    };
    let jobs: Vec<_> = (0..count).map(named).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": jobs });
    kubectl(&["create", "-n", &namespace.0, "-f", "-"], &list.to_string()).unwrap();
}

/// Waits until so many jobs of a namespace are in this phase.
fn all_are(namespace: &Namespace, count: usize, wanted: &str) {
    eventually(&format!("all jobs are {wanted}"), ALL_ENDED, || {
        let phases = "jsonpath={.items[*].status.phase}";
        let phases = kubectl(&["get", "cjobs", "-n", &namespace.0, "-o", phases], "").unwrap();
        (phases.split(' ').filter(|phase| *phase == wanted).count() == count).then_some(())
    });
}

/// From when to when each attempt of a namespace's jobs held its CPU, in seconds.
fn times(namespace: &Namespace) -> Vec<[f64; 2]> {
    let jobs = get(&["cjobs", "-n", &namespace.0])["items"].take();
    let of_job = |job: &Value| {
        let earlier = job["status"]["timeline"]["earlier"].as_array().cloned().unwrap_or_default();
        let earlier = earlier.iter().map(|one| [seconds(&one["admitted"]), seconds(&one["ended"])]);
        let last = [time(job, "admitted"), time(job, "finished")];
        earlier.chain([last]).collect::<Vec<_>>()
    };
    jobs.as_array().unwrap().iter().flat_map(of_job).collect()
}

/// CPU seconds that these jobs held before `end`.
fn held_before(end: f64, jobs: &[[f64; 2]]) -> f64 {
    jobs.iter().map(|[from, to]| (to.min(end) - from.min(end)).max(0.0)).sum()
}
