//! The promises of Windlass, checked at every write.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use super::rest::Path;
use super::{Key, State, is_live, key};

impl State {
    /// A controller deletes, and writes the status of, only the object that it has observed: by UID, or by version.
    pub(super) fn check_write(&mut self, method: &Method, path: &Path, body: &Value) {
        let name = path.name.as_deref().unwrap_or_default();
        if *method == Method::DELETE && body["preconditions"]["uid"].is_null() {
            self.broken_promises.push(format!("{}/{name} is deleted whatever it is", path.plural));
        }
        let is_status = path.subresource.as_deref() == Some("status");
        if is_status && body["metadata"]["resourceVersion"].is_null() {
            self.broken_promises.push(format!("the status of {name} is written whatever it was"));
        }
    }

    /// The batch Job that was created or claimed last is one that its queue has named. So may the object before, if the
    /// queue was deleted and made again: a claim stands, and counts, until its attempt is there.
    pub(super) fn check_claim(&mut self, path: &Path) {
        let Some((_, _, _, object)) = self.log.last() else { return };
        let labels = &object["metadata"]["labels"];
        let deleted = self.log.iter().filter_map(|(_, plural, kind, object)| {
            let is_default = plural == "computequeues" && object["metadata"]["name"] == "default";
            let is_queue = is_default || plural == "clustercomputequeues";
            (is_queue && *kind == "DELETED").then_some(object)
        });
        let there = self.cluster_queue().or_else(|| self.default_queue());
        let queues: Vec<_> = there.into_iter().chain(deleted).collect();
        if queues.is_empty() || path.plural != "jobs" {
            return;
        }
        // A standby that nobody has claimed.
        if labels["windlass.dev/job"].is_null() {
            return;
        }
        let number = |label: &str| labels[label].as_str().unwrap().parse::<u64>().ok();
        let is_its = |claim: &Value| {
            claim["jobUid"] == labels["windlass.dev/job-uid"]
                && claim["attempt"].as_u64() == number("windlass.dev/attempt")
                && claim["cpus"].as_u64() == number("windlass.dev/cpus")
                && (claim["queue"].is_null() || claim["queue"] == labels["windlass.dev/queue"])
        };
        let claims = queues.iter().filter_map(|queue| queue["status"]["claims"].as_array());
        if !claims.flatten().any(is_its) {
            let name = &object["metadata"]["name"];
            self.broken_promises.push(format!("{name} is made, and was not claimed: {queues:?}"));
        }
    }

    /// No job has two live pods, and no queue grants more than its quota.
    pub(super) fn check_objects(&mut self) {
        let mut broken = Vec::new();
        let mut live: BTreeMap<String, u32> = BTreeMap::new();
        let mut attempts: BTreeMap<String, u64> = BTreeMap::new();
        let mut batch_jobs: BTreeMap<String, u32> = BTreeMap::new();
        for ((plural, ..), object) in &self.objects {
            let labels = &object["metadata"]["labels"];
            // By its name: somebody may take the label away by which it is watched.
            let Some(job) = labels["windlass.dev/job"].as_str() else { continue };
            let attempt = format!("{job}/{}", labels["windlass.dev/attempt"].as_str().unwrap());
            let cpus: u64 = labels["windlass.dev/cpus"].as_str().unwrap().parse().unwrap();
            if plural == "pods" && is_live(object) {
                *live.entry(job.to_owned()).or_default() += 1;
                attempts.insert(attempt, cpus);
            } else if plural == "jobs" {
                *batch_jobs.entry(attempt.clone()).or_default() += 1;
                // The pod of a standby gets its labels later.
                let is_claimed = !labels["windlass.dev/standby"].is_null();
                let uid = &object["metadata"]["uid"];
                let has_live_pod = || pods_of(&self.objects, uid).any(is_live);
                // One that the Job controller says is suspended gets none, unless somebody has it go on.
                let is_paused =
                    object["spec"]["suspend"] == true || object["spec"]["parallelism"] == 0;
                let is_suspended =
                    is_paused && object["status"]["conditions"][0]["type"] == "Suspended";
                let may_get_pod = object["status"]["had_pod"].is_null() && !is_suspended;
                if may_get_pod || is_claimed && has_live_pod() {
                    attempts.insert(attempt, cpus);
                }
            }
        }
        for (attempt, count) in batch_jobs.iter().filter(|(_, count)| **count > 1) {
            broken.push(format!("{count} batch Jobs of attempt {attempt}"));
        }
        for (job, pods) in live.iter().filter(|(_, pods)| **pods > 1) {
            broken.push(format!("{pods} live pods of job {job}"));
        }
        let granted: u64 = attempts.values().sum();
        let queue = self.cluster_queue().or_else(|| self.default_queue());
        let quota = queue.and_then(|queue| queue["spec"]["cpus"].as_u64());
        if let Some(quota) = quota.filter(|quota| granted > *quota) {
            broken.push(format!("{granted} CPUs granted of {quota}: {attempts:?}"));
        }
        self.broken_promises.extend(broken);
    }

    /// The one that the only namespace has.
    fn cluster_queue(&self) -> Option<&Value> {
        self.all("clustercomputequeues").map(|(_, queue)| queue).next()
    }

    fn default_queue(&self) -> Option<&Value> {
        self.objects.get(&key("computequeues", "default"))
    }
}

fn pods_of<'a>(
    objects: &'a BTreeMap<Key, Value>,
    uid: &'a Value,
) -> impl Iterator<Item = &'a Value> {
    let is_its = move |pod: &&Value| pod["metadata"]["ownerReferences"][0]["uid"] == *uid;
    let pods = objects.iter().filter(|((plural, ..), _)| plural == "pods");
    pods.map(|(_, pod)| pod).filter(is_its)
}

/// What is worse in a new status of a job than in the old one.
pub(super) fn went_back(old: &Value, new: &Value) -> Option<String> {
    let over = matches!(old["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled"));
    if over && old["phase"] != new["phase"] {
        return Some(format!("{} became {}", old["phase"], new["phase"]));
    }
    if !old["result"].is_null() && old["result"] != new["result"] {
        return Some("its result changed".into());
    }
    let attempt = |status: &Value| status["attempt"].as_u64().unwrap_or(0);
    (attempt(old) > attempt(new)).then(|| "its attempt went back".into())
}
