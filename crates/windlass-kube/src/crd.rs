//! The five resources as Kubernetes knows them.
//!
//! The schemas are core's: a wrapper adds the group, names, printer columns and selectable fields. [`definitions`] adds
//! the rules that see a whole object.

mod definitions;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;
use windlass_core::idempotency::REQUEST_ANNOTATION;
use windlass_core::jobs::RETRY_ANNOTATION;
use windlass_core::{
    AttemptNumber, ClusterQueueSpec, Cpus, Function, FunctionSpec, Job, JobSpec, JobStatus,
    Metadata, Queue, QueueSpec,
};

use crate::condition::Condition;
use crate::function_status::FunctionStatus;
use crate::labels::AttemptId;

pub use self::definitions::all;

/// Defines a custom resource of our group: a wrapper around core's specification, with what only Kubernetes knows of it.
macro_rules! custom_resource {
    ($(#[$doc:meta])* $name:ident($spec:ident): $($kube:tt)*) => {
        $(#[$doc])*
        #[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[kube(
            group = "windlass.dev",
            version = "v1alpha1",
            category = "windlass",
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
    namespaced,
    shortname = "cjob",
    shortname = "cjobs",
    status = "JobStatus",
    doc = "One request: a function, its input and the CPUs wanted.",
    selectable = ".spec.function",
    selectable = ".spec.queue",
    selectable = ".status.phase",
    printcolumn(name = "Function", type_ = "string", json_path = ".spec.function"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.failure.reason"),
    printcolumn(name = "CPUs", type_ = "integer", json_path = ".status.parallelism"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.percent"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queue", priority = 1),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt", priority = 1),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node", priority = 1),
    printcolumn(name = "Started", type_ = "date", json_path = ".status.timeline.running", priority = 1),
    printcolumn(name = "Ended", type_ = "date", json_path = ".status.timeline.finished", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
}

/// Defines a kind of functions.
macro_rules! function_resource {
    ($(#[$doc:meta])* $name:ident: $($kube:tt)*) => {
        custom_resource! {
            $(#[$doc])*
            $name(FunctionSpec):
            status = "FunctionStatus",
            printcolumn(
                name = "Ready",
                type_ = "string",
                json_path = ".status.conditions[?(@.type=='Ready')].status"
            ),
            printcolumn(name = "Description", type_ = "string", json_path = ".spec.description"),
            printcolumn(name = "Default", type_ = "integer", json_path = ".spec.parallelism.default"),
            printcolumn(name = "Max", type_ = "integer", json_path = ".spec.parallelism.max"),
            printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
            printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
            $($kube)*
        }
    };
}

function_resource! {
    /// A program that requests may name.
    ComputeFunctionSpec:
    kind = "ComputeFunction",
    plural = "computefunctions",
    namespaced,
    shortname = "cfn",
    doc = "A program that requests may name."
}

function_resource! {
    /// A program for all namespaces that have none of its name.
    ClusterComputeFunctionSpec:
    kind = "ClusterComputeFunction",
    plural = "clustercomputefunctions",
    shortname = "ccfn",
    doc = "A program for all namespaces that have none of its name."
}

custom_resource! {
    /// A quota of CPUs that jobs share.
    ComputeQueueSpec(QueueSpec):
    kind = "ComputeQueue",
    plural = "computequeues",
    namespaced,
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

custom_resource! {
    /// CPUs that the queues of several namespaces share.
    ClusterComputeQueueSpec(ClusterQueueSpec):
    kind = "ClusterComputeQueue",
    plural = "clustercomputequeues",
    shortname = "ccqueue",
    status = "ClusterQueueStatus",
    doc = "CPUs that the queues of several namespaces share.",
    printcolumn(name = "CPUs", type_ = "integer", json_path = ".spec.cpus"),
    printcolumn(name = "Granted", type_ = "integer", json_path = ".status.granted"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.waiting"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Hold", type_ = "boolean", json_path = ".spec.hold"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
}

/// How much of a ClusterComputeQueue is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterQueueStatus {
    /// The numbers and the claims of all its queues together.
    #[serde(flatten)]
    pub usage: QueueStatus,
    /// The generation of the queue that this is about. -1 until it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One, `Ready`: whether it has every namespace that it selects, and all the CPUs that are guaranteed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
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
#[skip_serializing_none]
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
    /// Namespace of the queue, where queues of several namespaces share CPUs.
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Name of the queue, where queues of several namespaces share CPUs.
    #[schemars(length(max = 63))]
    pub queue: Option<String>,
}

impl Claim {
    /// Of the queue on which it stands.
    pub(crate) fn new(attempt: &AttemptId, cpus: Cpus) -> Self {
        let job_uid = attempt.job_uid.to_string();
        Self { job_uid, attempt: attempt.number, cpus, namespace: None, queue: None }
    }

    pub(crate) fn attempt(&self) -> AttemptId {
        AttemptId { job_uid: self.job_uid.as_str().into(), number: self.attempt }
    }
}

impl ComputeJob {
    /// The object as core knows it.
    pub fn to_core(&self) -> Job {
        Job {
            status: seen(self.status.clone().unwrap_or_default()),
            ..Job::new(metadata(&self.metadata), self.spec.0.clone())
        }
    }
}

impl ComputeFunction {
    /// The object as core knows it.
    pub fn to_core(&self) -> Function {
        function_of_kind(Function::KIND, &self.metadata, &self.spec.0)
    }
}

impl ClusterComputeFunction {
    /// The object as core knows it.
    pub fn to_core(&self) -> Function {
        function_of_kind(Function::CLUSTER_KIND, &self.metadata, &self.spec.0)
    }
}

fn function_of_kind(kind: &str, meta: &kube::core::ObjectMeta, spec: &FunctionSpec) -> Function {
    let (api_version, metadata) = (windlass_core::API_VERSION.into(), metadata(meta));
    Function { api_version, kind: kind.into(), metadata, spec: spec.clone() }
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

/// A status without the generation that [`definitions`] gives to one that nobody has written.
pub(crate) fn seen(mut status: JobStatus) -> JobStatus {
    status.observed_generation.take_if(|generation| *generation == definitions::UNSEEN);
    status
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
