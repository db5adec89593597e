//! What a function says of its pods: read strictly, and refused where Windlass itself says it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core_v1;
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use windlass_core::contract::STOP_GRACE_SECONDS;
use windlass_core::function::{RESERVED_NAME, RESERVED_PREFIX};
use windlass_core::{Error, FunctionSpec, Problem};

use super::worker_source::NAME as WORKER;
use crate::labels::{CONTAINER, OWN_PREFIX, let_it_run};

/// How long a pod may take to end after it was told: the worker's grace for its function and some
/// seconds for the worker itself.
pub(super) const POD_GRACE_SECONDS: i64 = STOP_GRACE_SECONDS as i64 + 5;
/// Names of our volumes.
const OWN_VOLUMES: [&str; 4] = ["input", "token", "work", "shm"];
/// What Windlass says of a pod.
const OF_POD: [&str; 2] = ["restartPolicy", "activeDeadlineSeconds"];
/// What Windlass says of the function's container, where not the function itself does.
const OF_CONTAINER: [(&str, &str); 7] = [
    ("image", "is the function's image"),
    ("command", "is the function's command"),
    ("args", "is the function's args"),
    ("restartPolicy", "is said by Windlass"),
    ("resizePolicy", "is said by Windlass"),
    ("terminationMessagePath", "is said by Windlass"),
    ("terminationMessagePolicy", "is said by Windlass"),
];
/// The resources that follow from the CPUs granted.
const RESOURCES: [&str; 2] = ["cpu", "memory"];
/// Where Windlass' own files are in the function's container.
const OWN_DIRECTORY: &str = "/windlass";

/// The function's pod template. `Invalid`, with the paths, where it says what it must not.
pub(crate) fn pod_template(function: &FunctionSpec) -> Result<core_v1::PodTemplateSpec, Error> {
    if function.working_directory.as_ref().is_some_and(|path| !path.starts_with('/')) {
        let why = "must be absolute on a cluster, where no manifest has a directory";
        return Err(Error::Invalid(vec![Problem::at("/workingDirectory", why)]));
    }
    let Some(template) = &function.pod_template else { return Ok(Default::default()) };
    let value = json!({ "metadata": template.metadata, "spec": template.spec });
    let read: core_v1::PodTemplateSpec = serde_json::from_value(value.clone())
        .map_err(|why| Error::Invalid(vec![Problem::at("/podTemplate", why.to_string())]))?;
    let known = serde_json::to_value(&read)
        .map_err(|error| Error::Bug(format!("a pod template: {error}")))?;
    let mut problems = Problems(Vec::new());
    problems.unknown_fields(&value, &known, "/podTemplate");
    problems.metadata(&value["metadata"]);
    problems.pod(&value["spec"]);
    problems.containers(&value["spec"], function);
    if problems.0.is_empty() { Ok(read) } else { Err(Error::Invalid(problems.0)) }
}

/// The metadata of a pod of this template, with these labels and annotations of ours.
pub(super) fn pod_metadata(
    template: &core_v1::PodTemplateSpec,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
) -> ObjectMeta {
    let theirs = template.metadata.clone().unwrap_or_default();
    let mut all_labels = theirs.labels.unwrap_or_default();
    all_labels.extend(labels);
    let mut all_annotations = let_it_run();
    all_annotations.extend(theirs.annotations.unwrap_or_default());
    all_annotations.extend(annotations);
    ObjectMeta {
        labels: Some(all_labels),
        annotations: Some(all_annotations),
        ..ObjectMeta::default()
    }
}

/// What is wrong with a template.
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, pointer: String, message: &str) {
        self.0.push(Problem::at(pointer, message));
    }

    /// The types of Kubernetes leave out what they do not know.
    fn unknown_fields(&mut self, said: &Value, known: &Value, at: &str) {
        match (said, known) {
            (Value::Object(said), Value::Object(known)) => {
                for (key, value) in said {
                    let at = format!("{at}/{}", escape(key));
                    match known.get(key) {
                        Some(known) => self.unknown_fields(value, known, &at),
                        None if is_nothing(value) => {}
                        None => self.add(at, "unknown field"),
                    }
                }
            }
            (Value::Array(said), Value::Array(known)) => {
                for (index, (said, known)) in said.iter().zip(known).enumerate() {
                    self.unknown_fields(said, known, &format!("{at}/{index}"));
                }
            }
            _ => {}
        }
    }

    fn metadata(&mut self, metadata: &Value) {
        let at = "/podTemplate/metadata";
        for (key, value) in members(metadata) {
            if !["labels", "annotations"].contains(&key.as_str()) {
                self.add(format!("{at}/{}", escape(key)), "only labels and annotations are taken");
                continue;
            }
            for (name, _) in members(value).filter(|(name, _)| name.starts_with(OWN_PREFIX)) {
                let at = format!("{at}/{key}/{}", escape(name));
                self.add(at, "names that begin with windlass.dev/ are Windlass' own");
            }
        }
    }

    fn pod(&mut self, pod: &Value) {
        let at = "/podTemplate/spec";
        for field in OF_POD.into_iter().filter(|field| !pod[*field].is_null()) {
            self.add(format!("{at}/{field}"), "is said by Windlass");
        }
        self.resources(&pod["resources"], &format!("{at}/resources"));
        let grace = pod["terminationGracePeriodSeconds"].as_i64();
        if grace.is_some_and(|grace| grace < POD_GRACE_SECONDS) {
            let least = format!("at least {POD_GRACE_SECONDS}: a function has time to stop");
            self.add(format!("{at}/terminationGracePeriodSeconds"), &least);
        }
        for (index, volume) in items(&pod["volumes"]) {
            if is_own_volume(&volume["name"]) {
                let taken = "a volume of Windlass has this name";
                self.add(format!("{at}/volumes/{index}/name"), taken);
            }
        }
        for (index, gate) in items(&pod["schedulingGates"]) {
            if gate["name"].as_str().is_some_and(|name| name.starts_with(OWN_PREFIX)) {
                self.add(format!("{at}/schedulingGates/{index}/name"), "is Windlass' own");
            }
        }
    }

    fn containers(&mut self, pod: &Value, function: &FunctionSpec) {
        let at = "/podTemplate/spec/containers";
        let is_function = |container: &Value| container["name"] == CONTAINER;
        let mut has_function = false;
        for (index, container) in items(&pod["containers"]) {
            let at = format!("{at}/{index}");
            self.mounts(container, &at);
            if is_function(container) && !has_function {
                has_function = true;
                self.function(container, function, &at);
            } else if is_function(container) || container["name"] == WORKER {
                self.add(format!("{at}/name"), "another container has this name");
            } else if function.warm.is_some() {
                let why = "a function that is warm takes native sidecars only: initContainers \
                           with restartPolicy Always";
                self.add(at, why);
            }
        }
        if !has_function && items(&pod["containers"]).next().is_some() {
            self.add(at.into(), "none of them is named function");
        }
        for (index, container) in items(&pod["initContainers"]) {
            let at = format!("/podTemplate/spec/initContainers/{index}");
            self.mounts(container, &at);
            if is_function(container) || container["name"] == WORKER {
                self.add(format!("{at}/name"), "another container has this name");
            }
        }
    }

    /// Our volumes are the worker's and the function's: in one is the reporting token.
    fn mounts(&mut self, container: &Value, at: &str) {
        for (index, mount) in items(&container["volumeMounts"]) {
            if is_own_volume(&mount["name"]) {
                self.add(format!("{at}/volumeMounts/{index}/name"), "is a volume of Windlass");
            }
        }
    }

    fn function(&mut self, container: &Value, function: &FunctionSpec, at: &str) {
        for (field, why) in OF_CONTAINER {
            if !container[field].is_null() {
                self.add(format!("{at}/{field}"), why);
            }
        }
        self.resources(&container["resources"], &format!("{at}/resources"));
        for (index, mount) in items(&container["volumeMounts"]) {
            let path = mount["mountPath"].as_str().unwrap_or_default().trim_end_matches('/');
            let below = path.strip_prefix(OWN_DIRECTORY);
            if path.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                let why = "/ and /windlass are Windlass' own";
                self.add(format!("{at}/volumeMounts/{index}/mountPath"), why);
            }
        }
        for (index, variable) in items(&container["env"]) {
            let name = variable["name"].as_str().unwrap_or_default();
            let at = format!("{at}/env/{index}/name");
            if name.starts_with(RESERVED_PREFIX) {
                self.add(at, RESERVED_NAME);
            } else if function.env.iter().any(|own| own.name == name) {
                self.add(at, "is in the function's env, too");
            }
        }
    }

    fn resources(&mut self, resources: &Value, at: &str) {
        for part in ["requests", "limits"] {
            for name in RESOURCES.into_iter().filter(|name| !resources[part][*name].is_null()) {
                let why = "follows from the CPUs granted and the function's memory";
                self.add(format!("{at}/{part}/{name}"), why);
            }
        }
    }
}

fn is_own_volume(name: &Value) -> bool {
    name.as_str().is_some_and(|name| name == WORKER || OWN_VOLUMES.contains(&name))
}

/// What Kubernetes' types may leave out although they know it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = (usize, &Value)> {
    value.as_array().into_iter().flatten().enumerate()
}

/// A part of a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
