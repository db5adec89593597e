//! What a cluster does beside the API server: the Job controller makes pods of batch Jobs, unless somebody else manages
//! them; a kubelet runs them, the garbage collector ends those whose batch Job is gone. The Job controller's cache may
//! be old: it makes pods of batch Jobs that were deleted a moment ago. Attempts take some milliseconds, and end as the
//! job's input says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_core::assignment::termination_message;
use windlass_core::report::{Ending, Outcome};
use windlass_core::result::inline_result;
use windlass_core::status::FailureReason;

use crate::server::{Key, Server, State, is_live, key};
use crate::standby;
use crate::story::{Claims, Story, must_fail};
use crate::virtual_time::now;

/// A Job controller makes a pod of a batch Job that was deleted at most so many milliseconds later.
const LATE_POD: u64 = 4_000;

/// How often each of them acts.
const TICK: Duration = Duration::from_millis(20);

/// Runs until it is dropped. Attempts run for at most so many milliseconds. `spread` makes each run another one.
pub(crate) async fn run(server: Server, longest: u64, spread: u64) {
    play(server, longest, spread, Story::default().claims).await;
}

/// The same, with what becomes of claimed standbys.
pub(crate) async fn play(server: Server, longest: u64, spread: u64, claims: Claims) {
    let delays = Delays::new(spread);
    let mut cluster = Cluster { longest, claims, delays, without_pod: BTreeMap::new() };
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        cluster.delays.now = Instant::now();
        let mut state = server.lock();
        // Standbys that wait need nothing.
        let pods = all_but(&state, "pods", standby::is_settled);
        let settled = state.all("pods").filter(|(_, pod)| standby::is_settled(pod));
        let settled: HashSet<_> = settled.map(|(_, pod)| owner(pod).clone()).collect();
        let jobs = all_but(&state, "jobs", |job| {
            standby::is_settled(job) && settled.contains(&job["metadata"]["uid"])
        });
        if jobs.is_empty() && pods.is_empty() && cluster.without_pod.is_empty() {
            continue;
        }
        let uids = state.all("jobs").map(|(_, job)| job["metadata"]["uid"].clone()).collect();
        cluster.make_late_pods(&mut state, &uids);
        for (key, job) in jobs.iter().filter(|(_, job)| job["spec"]["managedBy"].is_null()) {
            cluster.run_job_controller(&mut state, key, job);
        }
        for (key, pod) in all_but(&state, "pods", standby::is_settled) {
            cluster.run_kubelet(&mut state, &key, pod, &uids);
        }
    }
}

fn all_but(state: &State, plural: &str, is_left_out: impl Fn(&Value) -> bool) -> Vec<(Key, Value)> {
    let rest = state.all(plural).filter(|(_, object)| !is_left_out(object));
    rest.map(|(key, object)| (key.clone(), object.clone())).collect()
}

/// Random delays: each step of each object has its own.
pub(crate) struct Delays {
    due: HashMap<(Key, &'static str), Instant>,
    random: u64,
    now: Instant,
}

impl Delays {
    fn new(spread: u64) -> Self {
        Self { due: HashMap::new(), random: spread, now: Instant::now() }
    }

    /// Whether the delay before this step of this object is over. It begins with the first question.
    pub(crate) fn is_over(&mut self, key: &Key, step: &'static str, milliseconds: u64) -> bool {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_millis(5 + (self.random >> 33) % milliseconds);
        self.now >= *self.due.entry((key.clone(), step)).or_insert(self.now + delay)
    }
}

struct Cluster {
    longest: u64,
    claims: Claims,
    delays: Delays,
    /// Batch Jobs without a pod, as the Job controller knows them.
    without_pod: BTreeMap<Key, Value>,
}

impl Cluster {
    /// The Job controller makes pods of batch Jobs that were deleted a moment ago.
    fn make_late_pods(&mut self, state: &mut State, uids: &HashSet<Value>) {
        let delays = &mut self.delays;
        self.without_pod.retain(|key, job| {
            let is_present = uids.contains(&job["metadata"]["uid"]);
            let is_made = !is_present && delays.is_over(key, "late pod", LATE_POD);
            if is_made {
                make_pod(state, key, job);
            }
            !is_present && !is_made
        });
    }

    /// What the Job controller does about one batch Job.
    fn run_job_controller(&mut self, state: &mut State, key: &Key, job: &Value) {
        if !job["status"]["ended"].is_null() {
            return;
        }
        let uid = &job["metadata"]["uid"];
        let has_pod = pods_of(state, uid).next().is_some();
        // One whose pod has ended by itself, or was deleted by somebody else, is over, suspended or not.
        let ended_by_itself = pods_of(state, uid).any(|(_, pod)| {
            let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
            (is_deleted || !is_live(pod)) && pod["status"]["suspended"].is_null()
        });
        let is_paused = job["spec"]["suspend"] == true || job["spec"]["parallelism"] == 0;
        let says_suspended = job["status"]["conditions"][0]["type"] == "Suspended";
        if is_paused && !ended_by_itself {
            // It was about to make the pod of one that went on when that was suspended once more.
            let is_on_its_way = says_suspended && self.without_pod.contains_key(key);
            if is_on_its_way && self.delays.is_over(key, "on its way", 20) {
                self.without_pod.remove(key);
                make_pod(state, key, job);
            }
            if self.delays.is_over(key, "suspend", 40) {
                self.without_pod.remove(key);
                suspend(state, key, job);
            }
            return;
        }
        let needs_pod = !has_pod && job["status"]["had_pod"].is_null();
        if needs_pod && self.delays.is_over(key, "pod", 40) {
            let mut job = job.clone();
            job["status"]["had_pod"] = json!(true);
            state.put(key, job.clone());
            make_pod(state, key, &job);
            return;
        }
        if needs_pod {
            self.without_pod.insert(key.clone(), job.clone());
            return;
        }
        // It says only after it has made the pod that a batch Job goes on.
        if says_suspended && !self.delays.is_over(key, "go on", 40) {
            return;
        }
        let resumed = says_suspended.then(|| {
            let mut job = job.clone();
            job["status"]["conditions"] = Value::Null;
            state.put(key, job.clone());
            job
        });
        let job = resumed.as_ref().unwrap_or(job);
        let over = pods_of(state, uid).all(|(_, pod)| !is_live(pod));
        if over && job["status"]["had_pod"] == true {
            end_job(state, key, uid);
        }
    }

    /// What a kubelet does about one pod, and the garbage collector when its batch Job is gone.
    fn run_kubelet(&mut self, state: &mut State, key: &Key, mut pod: Value, uids: &HashSet<Value>) {
        let delays = &mut self.delays;
        let stopping = !pod["metadata"]["deletionTimestamp"].is_null();
        let running = pod["status"]["phase"] == "Running";
        let is_garbage = !owner(&pod).is_null() && !uids.contains(owner(&pod));
        if !stopping && is_garbage && delays.is_over(key, "collect", 60) {
            state.delete(key);
        } else if stopping && !is_live(&pod) {
            state.remove(key);
        } else if stopping && delays.is_over(key, "stop", 40) {
            if running {
                end(state, key, pod, None);
            } else {
                pod["status"] = json!({ "phase": "Failed" });
                state.put(key, pod);
            }
        } else if !running && is_live(&pod) && !stopping && !has_room(state, &pod) {
            say_unschedulable(state, key, pod);
        } else if !running && is_live(&pod) && !stopping && delays.is_over(key, "run", 60) {
            pod["spec"]["nodeName"] = json!("n");
            pod["status"] = json!({ "phase": "Running", "containerStatuses": [{
                "name": "function", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": { "running": { "startedAt": now() } } }] });
            state.put(key, pod);
        } else if running && !stopping && !standby::is_told(&pod) {
            standby::tell(state, key, pod, delays, self.claims);
        } else if running && !stopping && delays.is_over(key, "end", self.longest) {
            let outcome = outcome(state, &pod);
            end(state, key, pod, Some(outcome));
        } else if running && !stopping {
            standby::say_running(state, key, pod, delays);
        }
    }
}

/// Whether the node has room for a pod. Without a number it has room for all.
fn has_room(state: &State, pod: &Value) -> bool {
    let node = state.objects.get(&("nodes".into(), String::new(), "n".into()));
    let cpus = node.and_then(|node| node["status"]["allocatable"]["cpu"].as_u64());
    let Some(cpus) = cpus else { return true };
    let has_node = |pod: &&Value| !pod["spec"]["nodeName"].is_null() && is_live(pod);
    let used: u64 = state.all("pods").map(|(_, pod)| pod).filter(has_node).map(cpus_of).sum();
    used + cpus_of(pod) <= cpus
}

fn cpus_of(pod: &Value) -> u64 {
    let cpus = pod["metadata"]["labels"]["windlass.dev/cpus"].as_str();
    cpus.map_or(0, |cpus| cpus.parse().unwrap())
}

/// What the scheduler says of a pod that it finds no node for.
fn say_unschedulable(state: &mut State, key: &Key, mut pod: Value) {
    if pod["status"]["conditions"].is_null() {
        pod["status"]["conditions"] = json!([{ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu.",
            "lastTransitionTime": now() }]);
        state.put(key, pod);
    }
}

fn pods_of<'a>(state: &'a State, uid: &'a Value) -> impl Iterator<Item = (&'a Key, &'a Value)> {
    state.all("pods").filter(move |(_, pod)| owner(pod) == uid)
}

/// The batch Job has had its pod, and none lives any more.
fn end_job(state: &mut State, key: &Key, uid: &Value) {
    let mut job = state.objects[key].clone();
    job["status"]["ended"] = json!(true);
    if pods_of(state, uid).any(|(_, pod)| pod["status"]["phase"] == "Succeeded") {
        job["status"]["completionTime"] = json!(now());
    } else {
        job["status"]["conditions"] = json!([{ "type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "message": "no pod" }]);
    }
    state.put(key, job);
}

/// Its pods are deleted, and others made when it goes on: that is no failure.
fn suspend(state: &mut State, key: &Key, job: &Value) {
    let pods = pods_of(state, &job["metadata"]["uid"]).filter(|(_, pod)| is_live(pod));
    let pods: Vec<_> = pods.map(|(key, pod)| (key.clone(), pod.clone())).collect();
    for (key, mut pod) in pods {
        // It takes its finalizer away first, and does not count the pod as failed then.
        if pod["metadata"]["deletionTimestamp"].is_null() {
            pod["status"]["suspended"] = json!(true);
            state.put(&key, pod);
        }
        state.delete(&key);
    }
    let is_told = job["status"]["conditions"][0]["type"] == "Suspended";
    let had_pod = job["status"]["had_pod"] == true;
    if had_pod || job["spec"]["suspend"] == true && !is_told {
        let mut job = job.clone();
        job["status"]["had_pod"] = Value::Null;
        if job["spec"]["suspend"] == true {
            job["status"]["conditions"] = json!([{ "type": "Suspended", "status": "True",
                "reason": "JobSuspended", "message": "", "lastTransitionTime": now() }]);
        }
        state.put(key, job);
    }
}

fn owner(object: &Value) -> &Value {
    &object["metadata"]["ownerReferences"][0]["uid"]
}

fn make_pod(state: &mut State, key: &Key, job: &Value) {
    let uid = job["metadata"]["uid"].as_str().unwrap();
    let name = format!("{}-{}", key.2, &uid[uid.len() - 4..]);
    let mut labels = job["spec"]["template"]["metadata"]["labels"].clone();
    labels["batch.kubernetes.io/controller-uid"] = job["metadata"]["uid"].clone();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "labels": labels,
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": key.2,
                "uid": job["metadata"]["uid"], "controller": true }],
        },
        "spec": { "containers": [] }, "status": { "phase": "Pending" },
    });
    state.create(("pods".into(), key.1.clone(), name), pod);
}

/// As the job's input says: `{"crashes": n}` fails its first n attempts, or all.
fn outcome(state: &State, pod: &Value) -> Outcome {
    let labels = &pod["metadata"]["labels"];
    let name = labels["windlass.dev/job"].as_str().unwrap();
    let attempt: u64 = labels["windlass.dev/attempt"].as_str().unwrap().parse().unwrap();
    let job = state.objects.get(&key("computejobs", name));
    let crashes = job.and_then(|job| job["spec"]["input"]["crashes"].as_u64()).unwrap_or(0);
    if must_fail(crashes) || attempt <= crashes {
        Outcome::failed(FailureReason::Crashed, "as its input says")
    } else {
        Outcome::Succeeded(inline_result(attempt.to_string().as_bytes(), "text/plain").unwrap())
    }
}

fn end(state: &mut State, key: &Key, mut pod: Value, outcome: Option<Outcome>) {
    let now = now();
    let started: Timestamp = serde_json::from_value(
        pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone(),
    )
    .unwrap();
    // A standby that ends without a job has none.
    let cpus = pod["metadata"]["labels"]["windlass.dev/cpus"].as_str().unwrap_or("1");
    let cpus = cpus.parse().unwrap();
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
