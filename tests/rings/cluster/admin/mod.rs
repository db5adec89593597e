//! The admin's story, as one test: what a quota holds back, what it shares, and what is still known when all is over. It
//! upgrades the release, and measures: alone on its cluster.

mod node;
mod pools;
mod queues;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::MANY_SECONDS;
use crate::support::cluster::{Namespace, get, kubectl};
use crate::support::eventually;
use crate::support::release::Upgraded;

/// Longest time until all jobs of a chapter have ended.
const ALL_ENDED: Duration = Duration::from_secs(400);

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn the_admins_story() {
    let mut story = Story::default();
    let noted = story.chapter("a job says something", node::a_job_says_something);

    story.chapter("a queue that nobody has made is no way out", queues::nobody_leaves_a_quota);
    story.chapter("nor is having no queue", pools::no_namespace_passes_by_a_pool);
    story.chapter("a deleted queue holds its jobs", queues::a_deleted_queue_holds_its_jobs);
    story.chapter("hold and resume", queues::a_queue_is_held_and_resumed);
    story.chapter("to another queue", queues::jobs_are_moved_until_they_start);
    story.chapter("the urgent first", queues::a_higher_priority_starts_first);

    story.chapter("what is idle is lent and comes back", pools::what_is_lent_comes_back);
    story.chapter("the urgent before the lower", pools::a_lower_priority_ends_for_a_higher);
    story.chapter("guarantees end what is lent", pools::what_is_guaranteed_is_reclaimed);
    story.chapter("weights 100 and 1", pools::shares_follow_the_weights);

    // The other tests run with a release that asks for no CPUs.
    let _default = Upgraded::to(node::THE_CHARTS_REQUESTS);
    story.chapter("the sample beside the chart's own requests", node::the_sample_ends);
    story.chapter("fewer CPUs on a full node", node::a_job_takes_what_is_free);
    if let Some(noted) = noted {
        story.chapter("what was said is still there", || node::the_log_is_still_there(&noted));
    }
    assert!(story.failed.is_empty(), "these chapters failed: {:?}", story.failed);
}

/// It goes on after a chapter that fails, and knows which did.
#[derive(Default)]
struct Story {
    failed: Vec<&'static str>,
}

impl Story {
    /// Tells a part of it, and how long that took. `None` when it failed.
    fn chapter<T>(&mut self, title: &'static str, tell: impl FnOnce() -> T) -> Option<T> {
        println!("{title} ...");
        let began = Instant::now();
        let told = catch_unwind(AssertUnwindSafe(tell));
        println!("{title}: {:.1?}", began.elapsed());
        told.inspect_err(|_| self.failed.push(title)).ok()
    }
}

fn admitted(namespace: &Namespace, job: &str) -> Value {
    let job = namespace.job(job);
    let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Admitted").unwrap_or_default()
}

fn is_told(namespace: &Namespace, job: &str, reason: &str, words: &str) {
    eventually(&format!("{job} says {reason}"), MANY_SECONDS, || {
        let told = admitted(namespace, job);
        let says = told["message"].as_str().is_some_and(|message| message.contains(words));
        (says && told["status"] == "False" && told["reason"] == reason).then_some(())
    });
}

/// A job that lingers for so many milliseconds.
fn lingering(milliseconds: u64, priority: i32) -> Value {
    json!({ "function": "misbehave", "parallelism": 1, "priority": priority,
        "input": { "mode": "linger", "milliseconds": milliseconds } })
}

fn becomes(namespace: &Namespace, job: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
    let what = format!("{job} {what}");
    eventually(&what, ALL_ENDED, || is_so(&namespace.job(job)["status"]).then_some(()));
}

fn runs(namespace: &Namespace, job: &str) {
    becomes(namespace, job, "runs", |status| status["phase"] == "Running");
}

fn succeeds(namespace: &Namespace, job: &str) -> Value {
    let job = namespace.wait(job);
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    job
}

/// A moment of a job's timeline, in seconds.
fn time(job: &Value, moment: &str) -> f64 {
    seconds(&job["status"]["timeline"][moment])
}

fn seconds(time: &Value) -> f64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    time.as_duration().as_secs_f64()
}

/// A ClusterComputeQueue that selects namespaces by the label `pool` of its name. Deleted at the end of its chapter.
struct Pool(String);

impl Pool {
    fn new(chapter: &str, spec: &Value) -> Self {
        let pool = Self(format!("{chapter}-{}", std::process::id()));
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

    /// These namespaces share its CPUs from now on.
    fn select(&self, namespaces: &[&Namespace]) {
        for namespace in namespaces {
            let label = format!("pool={}", self.0);
            kubectl(&["label", "namespace", &namespace.0, &label], "").unwrap();
        }
        eventually("the pool is ready", ALL_ENDED, || {
            let status = get(&["ccqueue", &self.0])["status"].take();
            let ready = &status["conditions"][0];
            (ready["type"] == "Ready" && ready["status"] == "True").then_some(())
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Without an answer the next chapter's namespaces are not selected by it all the same.
        drop(kubectl(&["delete", "ccqueue", &self.0, "--wait=false"], ""));
    }
}
