//! What only a real cluster can show: image, kubelet, real pods, real CPU requests.

mod admin;
mod crowds;
mod examples;
mod failures;
mod functions;
mod gateway;
mod health;
pub(crate) mod inputs;
mod jobs;
mod logs;
mod managed;
mod moving;
mod room;
mod starts;
mod suspended;

use std::time::Duration;

use serde_json::{Value, json};

pub(crate) use self::gateway::{Gateways, times};
use crate::support::cluster::{Namespace, get};
use crate::support::eventually;

const MANY_SECONDS: Duration = Duration::from_secs(60);

/// The pods of a job.
fn pods(namespace: &Namespace, job: &str) -> Vec<Value> {
    let selector = format!("windlass.dev/job={job}");
    let all = get(&["pods", "-n", &namespace.0, "-l", &selector]);
    all["items"].as_array().unwrap().clone()
}

/// Starts a job that goes on until it is ended, with these further fields; gives its running pod.
fn spinning(namespace: &Namespace, job: &str, more: &[(&str, u64)]) -> Value {
    let mut spec = json!({ "function": "misbehave", "input": { "mode": "spin" } });
    for (field, value) in more {
        spec[*field] = json!(value);
    }
    namespace.apply(job, &spec).unwrap();
    running_pod(namespace, job)
}

/// Waits until the job's pod runs and gives it.
pub(crate) fn running_pod(namespace: &Namespace, job: &str) -> Value {
    eventually("the pod runs", MANY_SECONDS, || {
        pods(namespace, job).into_iter().find(|pod| pod["status"]["phase"] == "Running")
    })
}
