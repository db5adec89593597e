//! The three resources as Kubernetes knows them.
//!
//! The schemas are core's: a wrapper adds the group, names, printer columns and selectable fields.
//! `windlass print crds` writes what [`all`] gives; `manifests/crds.yaml` is that output.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, ValidationRule,
};
use kube::{CustomResource, CustomResourceExt as _, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_with_macros::skip_serializing_none;
use windlass_core::idempotency::REQUEST_ANNOTATION;
use windlass_core::jobs::RETRY_ANNOTATION;
use windlass_core::{
    AttemptNumber, Cpus, Function, FunctionSpec, Job, JobSpec, JobStatus, Metadata, Queue,
    QueueSpec,
};

use crate::function_status::FunctionStatus;
use crate::labels::AttemptId;

/// Defines a custom resource of our group: a wrapper around core's specification, with what only Kubernetes knows of it.
macro_rules! custom_resource {
    ($(#[$doc:meta])* $name:ident($spec:ident): $($kube:tt)*) => {
        $(#[$doc])*
        #[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[kube(
            group = "windlass.dev",
            version = "v1alpha1",
            category = "windlass",
            namespaced,
            derive = "PartialEq",
            $($kube)*
        )]
        #[serde(transparent)]
        pub struct $name(pub $spec);
    };
}

custom_resource! {
    /// One request: a function, its input and the CPUs wanted.
    ComputeJobSpec(JobSpec):
    kind = "ComputeJob",
    plural = "computejobs",
    shortname = "cjob",
    shortname = "cjobs",
    status = "JobStatus",
    doc = "One request: a function, its input and the CPUs wanted.",
    selectable = ".spec.function",
    selectable = ".spec.queue",
    selectable = ".status.phase",
    printcolumn(name = "Function", type_ = "string", json_path = ".spec.function"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "CPUs", type_ = "integer", json_path = ".status.parallelism"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.percent"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queue", priority = 1),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt", priority = 1),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node", priority = 1),
    printcolumn(name = "Started", type_ = "date", json_path = ".status.timeline.running", priority = 1),
    printcolumn(name = "Ended", type_ = "date", json_path = ".status.timeline.finished", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
}

custom_resource! {
    /// A program that requests may name.
    ComputeFunctionSpec(FunctionSpec):
    kind = "ComputeFunction",
    plural = "computefunctions",
    shortname = "cfn",
    status = "FunctionStatus",
    doc = "A program that requests may name.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description"),
    printcolumn(name = "Default", type_ = "integer", json_path = ".spec.parallelism.default"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.parallelism.max"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
}

custom_resource! {
    /// A quota of CPUs that jobs share.
    ComputeQueueSpec(QueueSpec):
    kind = "ComputeQueue",
    plural = "computequeues",
    shortname = "cqueue",
    status = "QueueStatus",
    doc = "A quota of CPUs that jobs share.",
    printcolumn(name = "CPUs", type_ = "integer", json_path = ".spec.cpus"),
    printcolumn(name = "Granted", type_ = "integer", json_path = ".status.granted"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.waiting"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".spec.weight"),
    printcolumn(name = "Hold", type_ = "boolean", json_path = ".spec.hold"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
}

/// How much of a queue is in use. Written with each grant, by compare-and-set, so that no two
/// controllers can grant the same CPUs.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// CPUs that its jobs hold, told again when that has changed by half.
    #[serde(default)]
    pub granted: Cpus,
    /// Jobs that wait in it; told again when that has changed by half.
    #[serde(default)]
    pub waiting: u32,
    /// The controller that made the last grant.
    #[schemars(length(max = 253))]
    pub holder: Option<String>,
    /// Grants of which the controller has not seen the batch Job yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096))]
    pub claims: Vec<Claim>,
}

/// CPUs that were granted to an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// UID of the job.
    #[schemars(length(max = 64))]
    pub job_uid: String,
    /// Number of the attempt.
    pub attempt: AttemptNumber,
    /// CPUs.
    pub cpus: Cpus,
}

impl Claim {
    pub(crate) fn new(attempt: &AttemptId, cpus: Cpus) -> Self {
        Self { job_uid: attempt.job_uid.to_string(), attempt: attempt.number, cpus }
    }

    pub(crate) fn attempt(&self) -> AttemptId {
        AttemptId { job_uid: self.job_uid.as_str().into(), number: self.attempt }
    }
}

/// The three definitions, ready to be applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut job = ComputeJob::crd();
    add_rules(
        &mut job,
        &[
            ("!has(oldSelf.status) || has(self.status)", "the status cannot be dropped"),
            ("size(self.metadata.name) <= 63", "the name has at most 63 characters"),
            (&unless_started("self.spec.priority == oldSelf.spec.priority"), MOVED_TOO_LATE),
            (
                &unless_started(
                    "(has(self.spec.queue) ? self.spec.queue : '') == \
                     (has(oldSelf.spec.queue) ? oldSelf.spec.queue : '')",
                ),
                MOVED_TOO_LATE,
            ),
        ],
    );
    let (mut function, mut queue) = (ComputeFunction::crd(), ComputeQueue::crd());
    for named in [&mut function, &mut queue] {
        // Jobs name them, by a DNS label. That an object's name begins and ends with a letter or a digit is
        // Kubernetes' own rule.
        add_rules(
            named,
            &[(
                "self.metadata.name.matches('^[a-z0-9-]{1,63}$')",
                "the name has at most 63 lower-case letters, digits and '-'",
            )],
        );
    }
    add_rules(
        &mut function,
        &[(
            "!has(self.spec.warm) || self.spec.warm.min <= self.spec.warm.max",
            "spec.warm.min must not be above spec.warm.max",
        )],
    );
    let mut all = [function, queue, job];
    for root in all.iter_mut().flat_map(schemas) {
        // The formats of Rust's integers mean nothing to an API server, which warns.
        *root = without(root, &|key, value| {
            key == "format" && value.as_str().is_some_and(|f| f.starts_with("uint"))
        });
    }
    all.into()
}

/// What is said to somebody who changes the place of a job that has started.
const MOVED_TOO_LATE: &str = "queue and priority can be changed only while the job has not started";

/// A rule that holds from the first attempt on.
fn unless_started(rule: &str) -> String {
    let waits = "oldSelf.status.phase == 'Queued' && !has(oldSelf.status.attempt)";
    format!("!has(oldSelf.status) || !has(oldSelf.status.phase) || ({waits}) || {rule}")
}

/// The schemas of all the versions of a definition.
fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = crd.spec.versions.iter_mut();
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// Adds CEL rules at the root of the schema, the only place that sees spec, status and metadata.
/// A rule about the status of an object that has none yet would fail without `has`.
fn add_rules(crd: &mut CustomResourceDefinition, rules: &[(&str, &str)]) {
    let rules = rules.iter().map(|(rule, message)| ValidationRule {
        rule: (*rule).into(),
        message: Some((*message).into()),
        ..ValidationRule::default()
    });
    for root in schemas(crd) {
        root.x_kubernetes_validations.get_or_insert_default().extend(rules.clone());
    }
}

/// A copy of the schema without the members for which `drop` holds.
fn without<T: Serialize + for<'a> Deserialize<'a> + Clone>(
    schema: &T,
    drop: &dyn Fn(&str, &Value) -> bool,
) -> T {
    fn walk(value: Value, drop: &dyn Fn(&str, &Value) -> bool) -> Value {
        match value {
            Value::Object(map) => map
                .into_iter()
                .filter(|(key, value)| !drop(key, value))
                .map(|(key, value)| (key, walk(value, drop)))
                .collect(),
            Value::Array(items) => items.into_iter().map(|item| walk(item, drop)).collect(),
            other => other,
        }
    }
    serde_json::to_value(schema)
        .ok()
        .and_then(|value| serde_json::from_value(walk(value, drop)).ok())
        .unwrap_or_else(|| schema.clone())
}

impl ComputeJob {
    /// The object as core knows it.
    pub fn to_core(&self) -> Job {
        Job {
            status: self.status.clone().unwrap_or_default(),
            ..Job::new(metadata(&self.metadata), self.spec.0.clone())
        }
    }
}

impl ComputeFunction {
    /// The object as core knows it.
    pub fn to_core(&self) -> Function {
        Function {
            metadata: metadata(&self.metadata),
            ..Function::new(self.name_any(), self.spec.0.clone())
        }
    }
}

impl ComputeQueue {
    /// The object as core knows it.
    pub fn to_core(&self) -> Queue {
        Queue {
            api_version: windlass_core::API_VERSION.into(),
            kind: Queue::KIND.into(),
            metadata: metadata(&self.metadata),
            spec: self.spec.0.clone(),
            status: (self.status.as_ref()).map(|status| windlass_core::QueueStatus {
                granted: status.granted,
                waiting: status.waiting,
            }),
        }
    }
}

pub(crate) fn metadata(meta: &kube::core::ObjectMeta) -> Metadata {
    Metadata {
        name: meta.name.clone().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp.as_ref().map(|time| time.0),
        deletion_timestamp: meta.deletion_timestamp.as_ref().map(|time| time.0),
        labels: meta.labels.clone().unwrap_or_default(),
        annotations: own_annotations(meta),
    }
}

/// The annotations that Windlass writes on a job. What others write is not shown: kubectl keeps a
/// second copy of the input in one.
fn own_annotations(meta: &kube::core::ObjectMeta) -> std::collections::BTreeMap<String, String> {
    let is_own = |key: &String| [REQUEST_ANNOTATION, RETRY_ANNOTATION].contains(&key.as_str());
    let own = meta.annotations.iter().flatten().filter(|(key, _)| is_own(key));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A merge patch (RFC 7396) that turns `old` into `new`: what is gone becomes null, what is equal
/// is left out. `None` when nothing differs.
pub(crate) fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (old, new) if old == new => None,
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = serde_json::Map::new();
            for (key, value) in new {
                if let Some(part) = merge_patch(old.get(key).unwrap_or(&Value::Null), value) {
                    patch.insert(key.clone(), part);
                }
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            Some(Value::Object(patch))
        }
        (_, new) => Some(new.clone()),
    }
}

/// The patch of `/status` from one status to the next, guarded by the version that was read: an
/// API server answers 409 when somebody wrote in between.
pub(crate) fn status_patch(job: &Job, status: &JobStatus) -> Option<Value> {
    let old = serde_json::to_value(&job.status).ok()?;
    let new = serde_json::to_value(status).ok()?;
    let patch = merge_patch(&old, &new)?;
    Some(json!({
        "metadata": { "resourceVersion": job.metadata.resource_version },
        "status": patch,
    }))
}

/// How an Event names a job.
pub(crate) fn job_reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some(windlass_core::API_VERSION.into()),
        kind: Some(Job::KIND.into()),
        namespace: Some(job.metadata.namespace.clone()),
        name: Some(job.metadata.name.clone()),
        uid: Some(job.metadata.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::function::{RESERVED_NAME, RESERVED_PREFIX};

    use super::*;

    #[test]
    fn functions_and_queues_have_names_that_a_job_can_name() {
        for mut crd in all() {
            let rules: Vec<_> = schemas(&mut crd)
                .flat_map(|root| root.x_kubernetes_validations.clone().unwrap_or_default())
                .map(|rule| rule.rule)
                .collect();
            let bounds_names = rules.iter().any(|rule| rule.contains("self.metadata.name"));
            assert!(bounds_names, "{}: {rules:?}", crd.spec.names.kind);
        }
    }

    #[test]
    fn a_variable_of_windlass_itself_is_refused_by_an_api_server_too() {
        let crds = serde_json::to_value(all()).unwrap();
        let schema = &crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let name = "/properties/spec/properties/env/items/properties/name";
        let name = schema.pointer(name).unwrap();
        let rule = format!("!self.startsWith('{RESERVED_PREFIX}')");
        let rules = json!([{ "rule": rule, "message": RESERVED_NAME }]);
        assert_eq!(name["x-kubernetes-validations"], rules);
    }

    #[test]
    fn a_merge_patch_names_only_what_differs() {
        let old = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1]});
        let new = json!({"a": 1, "b": {"c": 4}, "e": [1, 2], "f": {"g": 1}});
        let patch = json!({"b": {"c": 4, "d": null}, "e": [1, 2], "f": {"g": 1}});
        assert_eq!(merge_patch(&old, &new), Some(patch));
        assert_eq!(merge_patch(&old, &old), None);
    }
}
