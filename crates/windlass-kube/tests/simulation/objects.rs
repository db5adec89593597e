//! The objects that a story begins with.

use serde_json::{Value, json};

use crate::server::{Key, Server, key};

pub(crate) fn create_function(server: &Server) {
    create_warm_function(server, None);
}

/// The same for all namespaces.
pub(crate) fn create_cluster_function(server: &Server) {
    let all = ("clustercomputefunctions".into(), String::new(), "f".into());
    server.lock().create(all, function("ClusterComputeFunction"));
}

fn function(kind: &str) -> Value {
    // It was looked at before: this server makes no dry runs.
    let ready = json!({ "type": "Ready", "status": "True", "reason": "Accepted", "message": "",
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z" });
    json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": kind, "metadata": {},
        "spec": { "image": "i", "command": ["f"], "retries": 2 },
        "status": { "observedGeneration": 1, "conditions": [ready] } })
}

/// With standbys, if it is to have some.
pub(crate) fn create_warm_function(server: &Server, standbys: Option<u32>) {
    let mut state = server.lock();
    let mut function = function("ComputeFunction");
    if let Some(min) = standbys {
        function["spec"]["warm"] = json!({ "min": min });
    }
    state.create(key("computefunctions", "f"), function);
    state.create(("nodes".into(), String::new(), "n".into()), json!({ "metadata": {} }));
}

/// Gives the node so many CPUs.
pub(crate) fn set_node_cpus(server: &Server, cpus: u32) {
    let mut state = server.lock();
    let key = ("nodes".into(), String::new(), "n".into());
    let mut node = state.objects[&key].clone();
    node["status"]["allocatable"]["cpu"] = json!(cpus);
    state.put(&key, node);
}

pub(crate) fn create_queue(server: &Server, cpus: u32) {
    create_queue_of(server, "default", json!({ "cpus": cpus }));
}

pub(crate) fn create_queue_of(server: &Server, name: &str, spec: Value) {
    server.lock().create(
        key("computequeues", name),
        json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue", "metadata": {},
            "spec": spec }),
    );
}

/// The queue `default`, which ends jobs for more urgent ones, and takes back its share where CPUs are shared.
pub(crate) fn let_queue_preempt(server: &Server, cpus: Option<u32>) {
    let preemption = if cpus.is_some() { "reclaim" } else { "lowerPriority" };
    change_spec(server, "computequeues", "default", "preemption", json!(preemption));
    if let Some(cpus) = cpus {
        change_spec(server, "computequeues", "default", "guaranteedCpus", json!(cpus - 1));
    }
}

/// A job of two CPUs that is more urgent than all others.
pub(crate) fn create_urgent_job(server: &Server) {
    let spec =
        json!({ "function": "f", "parallelism": 2, "priority": 9, "input": { "crashes": 0 } });
    create_job_of(server, "urgent", spec);
}

/// CPUs that the queues `default` and `other` share.
pub(crate) fn create_shared_queues(server: &Server, cpus: u32) {
    create_namespace(server, "a");
    create_cluster_queue(server, "pool", cpus);
    create_queue_of(server, "default", json!({ "cpus": 9, "guaranteedCpus": 1 }));
    create_queue_of(server, "other", json!({ "cpus": 9, "weight": 2 }));
}

/// The only namespace, with a label that says whose it is.
pub(crate) fn create_namespace(server: &Server, team: &str) {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "labels": { "team": team } } });
    server.lock().create(("namespaces".into(), String::new(), "default".into()), namespace);
}

/// CPUs for the namespaces of team `a`.
pub(crate) fn create_cluster_queue(server: &Server, name: &str, cpus: u32) {
    let queue = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ClusterComputeQueue",
        "metadata": {},
        "spec": { "cpus": cpus, "namespaceSelector": { "matchLabels": { "team": "a" } } } });
    server.lock().create(cluster_queue_key(name), queue);
}

pub(crate) fn cluster_queue_key(name: &str) -> Key {
    ("clustercomputequeues".into(), String::new(), name.into())
}

/// Changes the specification of an object.
pub(crate) fn change_spec(server: &Server, plural: &str, name: &str, field: &str, value: Value) {
    let mut state = server.lock();
    let mut object = state.objects[&key(plural, name)].clone();
    object["spec"][field] = value;
    state.put(&key(plural, name), object);
}

/// Returns the job's UID.
pub(crate) fn create_job(server: &Server, index: usize, crashes: u32) -> String {
    create_job_in(server, None, index, crashes)
}

/// The same of a job in this queue.
pub(crate) fn create_job_in(
    server: &Server,
    queue: Option<&str>,
    index: usize,
    crashes: u32,
) -> String {
    let mut spec = json!({ "function": "f", "parallelism": 2, "minParallelism": 1 + index % 2,
        "input": { "crashes": crashes } });
    if let Some(queue) = queue {
        spec["queue"] = json!(queue);
    }
    create_job_of(server, &format!("j{index}"), spec)
}

pub(crate) fn create_job_of(server: &Server, name: &str, spec: Value) -> String {
    let job = server.lock().create(
        key("computejobs", name),
        json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob", "metadata": {},
            "spec": spec }),
    );
    job["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// A function and so many jobs of it in another namespace.
pub(crate) fn create_jobs_elsewhere(server: &Server, namespace: &str, count: usize) {
    let mut state = server.lock();
    let elsewhere = |plural: &str, name: String| (plural.into(), namespace.into(), name);
    state.create(elsewhere("computefunctions", "f".into()), function("ComputeFunction"));
    for index in 0..count {
        let job = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": {}, "spec": { "function": "f", "input": {} } });
        state.create(elsewhere("computejobs", format!("j{index}")), job);
    }
}

/// Somebody else's batch Job that has the name of the first attempt of the first job.
pub(crate) fn create_stranger(server: &Server, job_uid: &str) {
    let name = windlass_core::name::attempt("j0", job_uid, 1);
    let labels = json!({ "windlass.dev/job": "j0", "windlass.dev/job-uid": job_uid,
        "windlass.dev/attempt": "1", "windlass.dev/cpus": "0", "windlass.dev/queue": "default" });
    let stranger = json!({ "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "labels": labels }, "spec": { "suspend": true } });
    server.lock().create(key("jobs", &name), stranger);
}
