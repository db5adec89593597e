//! The objects that a story begins with.

use serde_json::{Value, json};

use crate::server::{Server, key};

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
        "status": { "conditions": [ready] } })
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

/// Changes the specification of an object.
pub(crate) fn change_spec(server: &Server, plural: &str, name: &str, field: &str, value: Value) {
    let mut state = server.lock();
    let mut object = state.objects[&key(plural, name)].clone();
    object["spec"][field] = value;
    state.put(&key(plural, name), object);
}

/// Returns the job's UID.
pub(crate) fn create_job(server: &Server, index: usize, crashes: u32) -> String {
    let spec = json!({ "function": "f", "parallelism": 2, "minParallelism": 1 + index % 2,
        "input": { "crashes": crashes } });
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

/// Somebody else's batch Job that has the name of the first attempt of the first job.
pub(crate) fn create_stranger(server: &Server, job_uid: &str) {
    let name = windlass_core::name::attempt("j0", job_uid, 1);
    let labels = json!({ "windlass.dev/job": "j0", "windlass.dev/job-uid": job_uid,
        "windlass.dev/attempt": "1", "windlass.dev/cpus": "0", "windlass.dev/queue": "default" });
    let stranger = json!({ "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "labels": labels }, "spec": { "suspend": true } });
    server.lock().create(key("jobs", &name), stranger);
}
