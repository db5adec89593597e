//! ComputeJob: one request.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_with_macros::skip_serializing_none;

use crate::queue::DEFAULT_QUEUE;
use crate::status::JobResult;
use crate::{BlobRef, Cpus, Error, JobStatus, Metadata, Phase, media_type, schema};

/// Largest input, in bytes of compact JSON: 128 KiB. It travels to a pod as an annotation, and all
/// annotations of an object together hold 256 KiB.
pub const MAX_INPUT_BYTES: usize = 128 * 1024;

/// One request: a function, its input and the CPUs wanted. Cannot be changed once created, but for
/// `cancel`, and for `queue` and `priority` while it has not started.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::immutable_presence(&[
    "parallelism", "minParallelism", "retries", "timeoutSeconds", "inputBlob", "files",
])))]
pub struct JobSpec {
    /// Name of a ComputeFunction in the same namespace or, where that has none, of a ClusterComputeFunction.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = schema::immutable()))]
    pub function: String,
    /// What the function reads: a JSON object that meets the function's `inputSchema`. At most
    /// 128 KiB, its integers from -2^63 to 2^63 - 1. Default `{}`.
    #[serde(default)]
    #[schemars(schema_with = "schema::immutable_object")]
    pub input: Map<String, Value>,
    /// The input when it is larger, no object, or no JSON. It was sent before. The function's
    /// `inputTypes` and `maxInputBytes` say what is taken.
    #[schemars(extend("x-kubernetes-validations" = schema::immutable()))]
    pub input_blob: Option<BlobRef>,
    /// Files beside the input, by name: at most 64. They were sent before. A name has letters,
    /// digits, dots, underscores and hyphens, at most 128.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "x-kubernetes-validations" = schema::immutable()))]
    pub files: BTreeMap<String, BlobRef>,
    /// CPUs wanted: threads of the function and CPU request and limit of its pod. Default and
    /// maximum are the function's.
    #[schemars(
        range(min = 1, max = 1024),
        extend("x-kubernetes-validations" = schema::immutable())
    )]
    pub parallelism: Option<Cpus>,
    /// Fewest CPUs the job may start with, when `parallelism` are not free. Default: `parallelism`.
    #[schemars(
        range(min = 1, max = 1024),
        extend("x-kubernetes-validations" = schema::immutable())
    )]
    pub min_parallelism: Option<Cpus>,
    /// Name of a ComputeQueue in the same namespace, for which the job waits if it is not there. Default
    /// `default`, which may be missing where there is no queue at all: then there is no quota.
    #[schemars(length(min = 1, max = 63))]
    pub queue: Option<String>,
    /// Higher starts first. From -1000 to 1000, default 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Further attempts after the first one failed, also with `FunctionError`. Default: the function's, else 2, and none
    /// after a `FunctionError`.
    #[schemars(range(max = 100), extend("x-kubernetes-validations" = schema::immutable()))]
    pub retries: Option<u32>,
    /// How long one attempt may run, in seconds. Default and maximum are the function's.
    #[schemars(
        range(min = 1, max = 2_592_000),
        extend("x-kubernetes-validations" = schema::immutable())
    )]
    pub timeout_seconds: Option<u32>,
    /// How long the finished job and its result are kept, in seconds. Default 86400 (one day).
    #[serde(default = "JobSpec::default_ttl_seconds")]
    #[schemars(
        range(max = 31_536_000),
        extend("x-kubernetes-validations" = schema::immutable())
    )]
    pub ttl_seconds_after_finished: u32,
    /// Set to true to cancel. Cannot be taken back.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = schema::latch()))]
    pub cancel: bool,
}

impl JobSpec {
    /// Name of the queue, the default one included.
    pub fn queue(&self) -> &str {
        self.queue.as_deref().unwrap_or(DEFAULT_QUEUE)
    }

    /// How long a finished job is kept when it does not say, in seconds.
    pub const fn default_ttl_seconds() -> u32 {
        86_400
    }

    /// The media type of the input.
    pub fn input_type(&self) -> &str {
        self.input_blob.as_ref().map_or(media_type::JSON, |blob| &blob.media_type)
    }

    /// All the blobs that it names, each with its JSON pointer.
    pub fn blobs(&self) -> impl Iterator<Item = (String, &BlobRef)> {
        let input = self.input_blob.iter().map(|blob| ("/inputBlob".to_owned(), blob));
        input.chain(self.files.iter().map(|(name, blob)| (format!("/files/{name}"), blob)))
    }

    /// The bytes of an inline input: compact JSON with sorted keys. None of one that is a blob.
    pub fn input_bytes(&self) -> Vec<u8> {
        if self.input_blob.is_some() {
            return Vec::new();
        }
        // A map of JSON values with string keys always serializes.
        serde_json::to_vec(&self.input).unwrap_or_default()
    }
}

/// A ComputeJob object: the same JSON in every answer, in both worlds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Always `windlass.dev/v1alpha1`.
    pub api_version: String,
    /// Always `ComputeJob`.
    pub kind: String,
    /// Name, namespace, UID, versions.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: JobSpec,
    /// What is told.
    #[serde(default)]
    pub status: JobStatus,
}

impl Job {
    /// Kind of the resource.
    pub const KIND: &'static str = "ComputeJob";

    /// A job as somebody submits it: no status, no UID.
    pub fn new(metadata: Metadata, spec: JobSpec) -> Self {
        Self {
            api_version: crate::API_VERSION.into(),
            kind: Self::KIND.into(),
            metadata,
            spec,
            status: JobStatus::default(),
        }
    }

    /// When a finished job and its result are forgotten; `None` while it has not ended.
    pub fn expires(&self) -> Option<Timestamp> {
        let finished = self.status.timeline.finished.filter(|_| self.status.is_finished())?;
        let ttl = SignedDuration::from_secs(i64::from(self.spec.ttl_seconds_after_finished));
        Some(finished.checked_add(ttl).unwrap_or(Timestamp::MAX))
    }

    /// Its result; with `partial` also what it had computed before it failed.
    pub fn result(&self, partial: bool) -> Result<&JobResult, Error> {
        let may_read = partial || self.status.phase == Some(Phase::Succeeded);
        let found = self.status.result.as_ref().filter(|_| may_read);
        found.ok_or_else(|| Error::no_result(self))
    }

    /// Namespace and name.
    pub fn key(&self) -> JobKey {
        JobKey::new(&self.metadata.namespace, &self.metadata.name)
    }
}

/// Namespace and name of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl JobKey {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
