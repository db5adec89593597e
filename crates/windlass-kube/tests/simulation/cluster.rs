//! What a cluster does beside the API server: the Job controller makes pods of batch Jobs, a kubelet
//! runs them, the garbage collector ends those whose batch Job is gone. The Job controller's cache may
//! be old: it makes pods of batch Jobs that were deleted a moment ago. Attempts take some milliseconds, and end as the job's input says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_core::assignment::termination_message;
use windlass_core::report::{Ending, Outcome};
use windlass_core::result::inline_result;
use windlass_core::status::FailureReason;

use crate::server::{Key, Server, State, is_live};

/// A Job controller makes a pod of a batch Job that was deleted at most so many milliseconds later.
const LATE_POD: u64 = 4_000;

/// How often somebody looks.
const TICK: Duration = Duration::from_millis(20);

/// Runs until it is dropped. Attempts run for at most so many milliseconds. `spread` makes each run another one.
pub(crate) async fn run(server: Server, longest: u64, spread: u64) {
    let mut due: HashMap<(Key, &'static str), Instant> = HashMap::new();
    // Batch Jobs without a pod, as the Job controller knows them.
    let mut without_pod: BTreeMap<Key, Value> = BTreeMap::new();
    let mut tick = tokio::time::interval(TICK);
    let mut count = spread;
    loop {
        tick.tick().await;
        let now = Instant::now();
        let mut wait = |key: &Key, step: &'static str, milliseconds: u64| {
            count = count
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let delay = Duration::from_millis(5 + (count >> 33) % milliseconds);
            now >= *due.entry((key.clone(), step)).or_insert(now + delay)
        };
        let mut state = server.lock();
        let nothing = |plural| state.all(plural).next().is_none();
        if nothing("jobs") && nothing("pods") && without_pod.is_empty() {
            continue;
        }
        let jobs: Vec<_> = state.all("jobs").map(|(k, v)| (k.clone(), v.clone())).collect();
        let uids: HashSet<_> = jobs.iter().map(|(_, job)| job["metadata"]["uid"].clone()).collect();
        without_pod.retain(|key, job| {
            let is_there = uids.contains(&job["metadata"]["uid"]);
            let comes = !is_there && wait(key, "late pod", LATE_POD);
            if comes {
                make_pod(&mut state, key, job);
            }
            !is_there && !comes
        });
        for (key, job) in &jobs {
            let uid = &job["metadata"]["uid"];
            let has_pod = state.all("pods").any(|(_, pod)| owner(pod) == uid);
            // One whose pod has ended by itself is over, suspended or not.
            let ended_by_itself = state.all("pods").any(|(_, pod)| {
                owner(pod) == uid && !is_live(pod) && pod["metadata"]["deletionTimestamp"].is_null()
            });
            if job["spec"]["suspend"] == true && !ended_by_itself {
                suspend(&mut state, key, job);
                continue;
            }
            if !has_pod && job["status"]["had_pod"].is_null() && wait(key, "pod", 40) {
                let mut job = job.clone();
                job["status"]["had_pod"] = json!(true);
                state.put(key, job.clone());
                make_pod(&mut state, key, &job);
            } else if !has_pod && job["status"]["had_pod"].is_null() {
                without_pod.insert(key.clone(), job.clone());
            }
            let over = state
                .all("pods")
                .filter(|(_, pod)| owner(pod) == uid)
                .all(|(_, pod)| !is_live(pod));
            if over && job["status"]["had_pod"] == true && job["status"]["ended"].is_null() {
                let mut job = state.objects[key].clone();
                job["status"]["ended"] = json!(true);
                if state
                    .all("pods")
                    .any(|(_, pod)| owner(pod) == uid && pod["status"]["phase"] == "Succeeded")
                {
                    job["status"]["completionTime"] = json!(Timestamp::now());
                }
                if !has_pod {
                    job["status"]["conditions"] = json!([{ "type": "Failed", "status": "True",
                        "reason": "BackoffLimitExceeded", "message": "no pod" }]);
                }
                state.put(key, job);
            }
        }
        let pods: Vec<_> = state.all("pods").map(|(k, v)| (k.clone(), v.clone())).collect();
        for (key, pod) in pods {
            let stopping = !pod["metadata"]["deletionTimestamp"].is_null();
            let running = pod["status"]["phase"] == "Running";
            let is_garbage = !owner(&pod).is_null() && !uids.contains(owner(&pod));
            if !stopping && is_garbage && wait(&key, "collect", 60) {
                state.delete(&key);
            } else if stopping && !is_live(&pod) {
                state.remove(&key);
            } else if stopping && wait(&key, "stop", 40) {
                if running {
                    end(&mut state, &key, pod, None);
                } else {
                    let mut pod = pod;
                    pod["status"] = json!({ "phase": "Failed" });
                    state.put(&key, pod);
                }
            } else if !running && is_live(&pod) && !stopping && wait(&key, "run", 60) {
                let mut pod = pod;
                pod["spec"]["nodeName"] = json!("n");
                pod["status"] = json!({ "phase": "Running", "containerStatuses": [{
                    "name": "function", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": { "running": { "startedAt": Timestamp::now() } } }] });
                state.put(&key, pod);
            } else if running && !stopping && wait(&key, "end", longest) {
                let outcome = outcome(&state, &pod);
                end(&mut state, &key, pod, Some(outcome));
            }
        }
    }
}

/// Its pods are deleted, and others made when it goes on: that is no failure.
fn suspend(state: &mut State, key: &Key, job: &Value) {
    let pods: Vec<_> = state
        .all("pods")
        .filter(|(_, pod)| owner(pod) == &job["metadata"]["uid"] && is_live(pod))
        .map(|(key, _)| key.clone())
        .collect();
    for pod in pods {
        state.delete(&pod);
    }
    if job["status"]["had_pod"] == true && job["status"]["ended"].is_null() {
        let mut job = job.clone();
        job["status"]["had_pod"] = Value::Null;
        state.put(key, job);
    }
}

fn owner(object: &Value) -> &Value {
    &object["metadata"]["ownerReferences"][0]["uid"]
}

fn make_pod(state: &mut State, key: &Key, job: &Value) {
    let uid = job["metadata"]["uid"].as_str().unwrap();
    let name = format!("{}-{}", key.2, &uid[uid.len() - 4..]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": key.2,
                "uid": job["metadata"]["uid"], "controller": true }],
        },
        "spec": { "containers": [] }, "status": { "phase": "Pending" },
    });
    state.create(("pods".into(), key.1.clone(), name), pod);
}

/// As the job's input says: `{"crashes": n}` fails its first n attempts.
fn outcome(state: &State, pod: &Value) -> Outcome {
    let labels = &pod["metadata"]["labels"];
    let name = labels["windlass.dev/job"].as_str().unwrap().to_owned();
    let attempt: u64 = labels["windlass.dev/attempt"].as_str().unwrap().parse().unwrap();
    let job = state.objects.get(&("computejobs".into(), "default".into(), name));
    let crashes = job.and_then(|job| job["spec"]["input"]["crashes"].as_u64()).unwrap_or(0);
    if attempt <= crashes {
        Outcome::failed(FailureReason::Crashed, "as its input says")
    } else {
        Outcome::Succeeded(inline_result(attempt.to_string().as_bytes(), "text/plain").unwrap())
    }
}

fn end(state: &mut State, key: &Key, mut pod: Value, outcome: Option<Outcome>) {
    let now = Timestamp::now();
    let started: Timestamp = serde_json::from_value(
        pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone(),
    )
    .unwrap();
    let cpus = pod["metadata"]["labels"]["windlass.dev/cpus"].as_str().unwrap().parse().unwrap();
    let message = outcome.as_ref().map(|outcome| {
        termination_message(&Ending {
            outcome: outcome.clone(),
            started,
            running: Some(started),
            finished: now,
            parallelism: cpus,
            usage: None,
            progress: None,
        })
    });
    let good = matches!(outcome, Some(Outcome::Succeeded(_)));
    pod["status"]["phase"] = json!(if good { "Succeeded" } else { "Failed" });
    pod["status"]["containerStatuses"][0]["state"] = json!({ "terminated": {
        "exitCode": i32::from(!good), "reason": if good { "Completed" } else { "Error" },
        "finishedAt": now, "message": message } });
    state.put(key, pod);
}
