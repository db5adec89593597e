//! What a node and a gateway do about a standby: the pod gets its CPUs or not, and the worker is told what to do once the
//! gateway has seen that its pod is an attempt.

use serde_json::{Value, json};

use crate::cluster::Delays;
use crate::server::{Key, State, key};
use crate::story::Claims;
use crate::virtual_time::now;

/// How long it takes until a function is said to run, in milliseconds.
const SAID_TO_RUN: u64 = 1_000;

/// Whether an object is a standby that nobody has claimed.
pub(crate) fn is_waiting(object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    !labels["windlass.dev/standby"].is_null() && labels["windlass.dev/job"].is_null()
}

/// Whether an object is a standby that waits, and its pod runs.
pub(crate) fn is_settled(object: &Value) -> bool {
    let status = &object["status"];
    is_waiting(object)
        && object["metadata"]["deletionTimestamp"].is_null()
        && (status["had_pod"] == true && status["ended"].is_null() || status["phase"] == "Running")
}

/// Whether the worker of a pod has nothing to wait for any more.
pub(crate) fn is_told(pod: &Value) -> bool {
    pod["metadata"]["labels"]["windlass.dev/standby"].is_null() || pod["status"]["told"] == true
}

/// Says of a function on a standby that it runs, once it has run for a while.
pub(crate) fn say_running(state: &mut State, key: &Key, mut pod: Value, delays: &mut Delays) {
    let annotations = &pod["metadata"]["annotations"];
    if pod["status"]["told"] == true
        && annotations["windlass.dev/running"].is_null()
        && delays.is_over(key, "said to run", SAID_TO_RUN)
    {
        pod["metadata"]["annotations"]["windlass.dev/running"] = json!(now().to_string());
        state.put(key, pod);
    }
}

/// Tells the worker of a pod what to do, if its pod is an attempt and has its CPUs.
pub(crate) fn tell(
    state: &mut State,
    key: &Key,
    mut pod: Value,
    delays: &mut Delays,
    claims: Claims,
) {
    if pod["spec"]["containers"][0]["resources"].is_null() {
        return;
    }
    if claims.deferred && key.2.ends_with(['0', '2', '4', '6', '8']) {
        if pod["status"]["conditions"].is_null() {
            pod["status"]["conditions"] = json!([{ "type": "PodResizePending", "status": "True",
                "reason": "Deferred", "message": "no room", "lastTransitionTime": now() }]);
            state.put(key, pod);
        }
    } else if delays.is_over(key, "told", claims.answered_within) && may_run(state, &pod) {
        pod["status"]["told"] = json!(true);
        state.put(key, pod);
    }
}

/// What a gateway asks before it tells a worker of its job: the chain of controllers leads to a job that wants this
/// attempt.
fn may_run(state: &State, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let Some(job) = labels["windlass.dev/job"].as_str() else { return false };
    let owner = &pod["metadata"]["ownerReferences"][0];
    let batch_job = state.objects.get(&key("jobs", owner["name"].as_str().unwrap_or_default()));
    let job = state.objects.get(&key("computejobs", job));
    let (Some(batch_job), Some(job)) = (batch_job, job) else { return false };
    let phase = job["status"]["phase"].as_str().unwrap_or_default();
    batch_job["metadata"]["uid"] == owner["uid"]
        && batch_job["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        && batch_job["metadata"]["labels"]["windlass.dev/attempt"] == labels["windlass.dev/attempt"]
        && labels["windlass.dev/job-uid"] == job["metadata"]["uid"]
        && job["spec"]["cancel"] != true
        && !matches!(phase, "Succeeded" | "Failed" | "Cancelled")
}
