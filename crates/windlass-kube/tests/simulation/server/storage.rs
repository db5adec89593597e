//! What is stored: objects, their versions, and what happens at a write.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::promises::went_back;
use super::rest::{Answer, Path, Query, json_answer, problem};
use super::{Key, State};
use crate::virtual_time::now;

impl State {
    pub(super) fn read(&self, path: &Path, query: &Query) -> Answer {
        if let Some(name) = &path.name {
            let key =
                (path.plural.clone(), path.namespace.clone().unwrap_or_default(), name.clone());
            return match self.objects.get(&key) {
                Some(object) => json_answer(StatusCode::OK, object),
                None => problem(404, "not found"),
            };
        }
        let items: Vec<_> = self
            .objects
            .iter()
            .filter(|((plural, ..), object)| {
                *plural == path.plural && selected(object, path.namespace.as_deref(), query)
            })
            .map(|(_, object)| object)
            .collect();
        let list = json!({ "apiVersion": "v1", "kind": "List",
            "metadata": { "resourceVersion": self.version.to_string() }, "items": items });
        json_answer(StatusCode::OK, &list)
    }

    pub(super) fn write(&mut self, method: &Method, path: &Path, body: Value) -> Answer {
        let namespace = path.namespace.clone().unwrap_or_default();
        if *method == Method::POST {
            let name = body["metadata"]["name"].as_str().unwrap_or("event").to_owned();
            let key = (path.plural.clone(), namespace, name);
            if self.objects.contains_key(&key) {
                return problem(409, "already exists");
            }
            return json_answer(StatusCode::CREATED, &self.create(key, body));
        }
        let key = (path.plural.clone(), namespace, path.name.clone().unwrap_or_default());
        let Some(old) = self.objects.get(&key).cloned() else { return problem(404, "not found") };
        let expected = &body[if *method == Method::DELETE { "preconditions" } else { "metadata" }];
        let differs =
            |field: &str| !expected[field].is_null() && expected[field] != old["metadata"][field];
        if differs("uid") || differs("resourceVersion") {
            // Nothing may change a UID: that is what an API server says to a patch.
            let is_patched = ![Method::DELETE, Method::PUT].contains(method) && differs("uid");
            let status = if is_patched { 422 } else { 409 };
            return problem(status, "the object has been modified");
        }
        match *method {
            Method::DELETE => {
                self.delete(&key);
                json_answer(StatusCode::OK, &old)
            }
            Method::PUT => json_answer(StatusCode::OK, &self.put(&key, body)),
            _ => {
                let mut new = old;
                let mut patch = body;
                if path.subresource.is_some() {
                    patch.as_object_mut().map(|patch| patch.remove("metadata"));
                }
                merge(&mut new, &patch);
                json_answer(StatusCode::OK, &self.put(&key, new))
            }
        }
    }

    pub(crate) fn create(&mut self, key: Key, mut object: Value) -> Value {
        self.uids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012}", self.uids);
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["name"] = json!(key.2);
        if !key.1.is_empty() {
            object["metadata"]["namespace"] = json!(key.1);
        }
        object["metadata"]["generation"] = json!(1);
        // Nobody here reads what a pod is made of, and each change of a batch Job would copy it many times.
        if key.0 == "jobs" {
            object["spec"]["template"].as_object_mut().map(|template| template.remove("spec"));
        }
        object["metadata"]["creationTimestamp"] = json!(now());
        if self.drops_managed_by && self.uids.is_multiple_of(2) {
            object["spec"].as_object_mut().map(|spec| spec.remove("managedBy"));
        }
        if key.0 == "pods" {
            object["status"]["phase"] = json!("Pending");
            self.note_pod(&object);
        }
        self.record(key, "ADDED", object)
    }

    /// Remembers of a batch Job that it has a pod. That is no change of it.
    fn note_pod(&mut self, pod: &Value) {
        let uid = &pod["metadata"]["ownerReferences"][0]["uid"];
        let mut jobs = self.objects.iter_mut().filter(|((plural, ..), _)| plural == "jobs");
        if let Some((_, job)) = jobs.find(|(_, job)| job["metadata"]["uid"] == *uid) {
            job["status"]["had_pod"] = json!(true);
        }
    }

    pub(crate) fn put(&mut self, key: &Key, mut object: Value) -> Value {
        if key.0 == "jobs"
            && let Some(old) = self.objects.get(key)
        {
            let generation = old["metadata"]["generation"].as_u64().unwrap();
            let is_changed = old["spec"] != object["spec"];
            object["metadata"]["generation"] = json!(generation + u64::from(is_changed));
        }
        if key.0 == "computejobs"
            && let Some(old) = self.objects.get(key)
        {
            let broken = went_back(&old["status"], &object["status"]);
            self.broken_promises.extend(broken.map(|what| format!("{}: {what}", key.2)));
        }
        self.record(key.clone(), "MODIFIED", object)
    }

    /// Deletes an object and what it owns. A pod is only marked as deleted: the kubelet removes it.
    pub(crate) fn delete(&mut self, key: &Key) {
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        if key.0 == "pods" {
            if object["metadata"]["deletionTimestamp"].is_null() {
                object["metadata"]["deletionTimestamp"] = json!(now());
                self.put(key, object);
            }
            return;
        }
        self.remove(key);
        for owned in self.owned_by(&object) {
            self.delete(&owned);
        }
    }

    /// Deletes an object. What it owns stays, without an owner.
    pub(crate) fn delete_and_orphan(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key).cloned() else { return };
        for owned in self.owned_by(&object) {
            let mut orphan = self.objects[&owned].clone();
            orphan["metadata"]["ownerReferences"] = Value::Null;
            self.put(&owned, orphan);
        }
        self.remove(key);
    }

    /// The objects that this one owns.
    fn owned_by(&self, owner: &Value) -> Vec<Key> {
        let uid = &owner["metadata"]["uid"];
        let owned = self
            .objects
            .iter()
            .filter(|(_, object)| object["metadata"]["ownerReferences"][0]["uid"] == *uid);
        owned.map(|(key, _)| key.clone()).collect()
    }

    /// Takes the label by which they are watched from the pods of a batch Job: for who watches by it, they are gone.
    pub(crate) fn unlabel_pods(&mut self, batch_job: &Key) {
        let Some(owner) = self.objects.get(batch_job).cloned() else { return };
        for pod in self.owned_by(&owner) {
            let mut object = self.objects[&pod].clone();
            self.version += 1;
            self.log.push((self.version, pod.0.clone(), "DELETED", object.clone()));
            object["metadata"]["labels"].as_object_mut().unwrap().remove("windlass.dev/job-uid");
            self.put(&pod, object);
        }
    }

    /// Deletes the pods of a batch Job at once. Returns their names.
    pub(crate) fn lose_pods(&mut self, batch_job: &Key) -> Vec<String> {
        let Some(owner) = self.objects.get(batch_job).cloned() else { return Vec::new() };
        let pods = self.owned_by(&owner);
        pods.iter().for_each(|pod| self.remove(pod));
        pods.into_iter().map(|(_, _, name)| name).collect()
    }

    /// Suspends a batch Job, or has it go on; at every second time by its parallelism. Whoever has it go on changes what
    /// they have changed before, and nothing else.
    pub(crate) fn suspend(&mut self, key: &Key, suspended: bool) {
        if let Some(mut object) = self.objects.get(key).cloned() {
            let was_by_parallelism = object["status"]["by_parallelism"] == true;
            let by_parallelism =
                if suspended { self.version.is_multiple_of(2) } else { was_by_parallelism };
            object["status"]["by_parallelism"] = json!(by_parallelism);
            if by_parallelism {
                object["spec"]["parallelism"] = json!(u8::from(!suspended));
            } else {
                object["spec"]["suspend"] = json!(suspended);
            }
            self.put(key, object);
        }
    }

    /// Takes an object away for good.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.get(key).cloned() {
            self.record(key.clone(), "DELETED", object);
        }
    }

    fn record(&mut self, key: Key, kind: &'static str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.log.push((self.version, key.0.clone(), kind, object.clone()));
        if kind == "DELETED" {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, object.clone());
        }
        let broken = self.broken_promises.len();
        self.check_objects();
        self.note(&object, kind);
        let broken = self.broken_promises[broken..].iter().map(|what| format!("BROKEN: {what}"));
        self.course.extend(broken);
        self.versions.send_replace(self.version);
        object
    }

    /// Notes what becomes of a batch Job or a pod.
    fn note(&mut self, object: &Value, change: &str) {
        let (meta, status) = (&object["metadata"], &object["status"]);
        if matches!(object["kind"].as_str(), Some("Job" | "Pod")) {
            let (kind, name) = (&object["kind"], &meta["name"]);
            let phase =
                if status["phase"].is_null() { &status["conditions"] } else { &status["phase"] };
            let deleted = if meta["deletionTimestamp"].is_null() { "" } else { ", deleted" };
            self.course.push(format!("{}    {kind} {name} {change} {phase}{deleted}", now()));
        }
    }

    pub(crate) fn all<'a>(&'a self, plural: &'a str) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        self.objects.iter().filter(move |((of, ..), _)| of == plural)
    }
}

/// Whether an object belongs to an answer, by its namespace and labels.
pub(super) fn selected(object: &Value, namespace: Option<&str>, query: &Query) -> bool {
    let meta = &object["metadata"];
    let label = |selector: &String| match selector.split_once(" in ") {
        Some((key, set)) => {
            set.trim_matches(['(', ')']).split(',').any(|value| meta["labels"][key] == value)
        }
        None => selector.split(',').all(|part| match part.split_once('=') {
            Some((key, value)) => meta["labels"][key] == value,
            None => !meta["labels"][part].is_null(),
        }),
    };
    namespace.is_none_or(|namespace| meta["namespace"] == namespace)
        && query.get("labelSelector").is_none_or(label)
}

/// Applies a merge patch (RFC 7396).
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}
