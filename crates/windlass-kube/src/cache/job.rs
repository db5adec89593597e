//! A ComputeJob as the watch keeps it: without its input, which nobody needs before its start.
//!
//! Ten thousand jobs that wait cost what their names and numbers cost, whatever their inputs weigh:
//! the input is skipped while the answer of the API server is read, and is fetched by name when an
//! attempt is made of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use serde::Deserialize;
use windlass_core::status::{ConditionType, Failure, reasons};
use windlass_core::{Cpus, Job, JobSpec, JobStatus};

use crate::crd::{ComputeJob, metadata, seen};

/// A ComputeJob without its input.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WatchedJob {
    metadata: ObjectMeta,
    spec: SpecWithoutInput,
    #[serde(default)]
    status: JobStatus,
}

/// The fields of a [`JobSpec`] but for the input.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecWithoutInput {
    function: String,
    parallelism: Option<Cpus>,
    min_parallelism: Option<Cpus>,
    queue: Option<String>,
    #[serde(default)]
    priority: i32,
    retries: Option<u32>,
    timeout_seconds: Option<u32>,
    ttl_seconds_after_finished: Option<u32>,
    #[serde(default)]
    cancel: bool,
}

impl WatchedJob {
    /// Drops what nobody reads of a job that is kept: the bytes of its result above all.
    pub(crate) fn prune(&mut self) {
        self.metadata.annotations = None;
        self.metadata.labels = None;
        self.metadata.owner_references = None;
        if let Some(result) = &mut self.status.result {
            result.text = None;
            result.base64 = None;
        }
    }

    /// Its UID.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.metadata.uid.as_deref()
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Name of its function.
    pub(crate) fn function(&self) -> &str {
        &self.spec.function
    }

    /// What is told of it, without the bytes of its result.
    pub(crate) fn status(&self) -> &JobStatus {
        &self.status
    }

    /// Name of its queue.
    pub(crate) fn queue(&self) -> &str {
        self.spec.queue.as_deref().unwrap_or(windlass_core::queue::DEFAULT_QUEUE)
    }

    /// Whether it waits for this function, which was not there.
    pub(crate) fn lacks_function(&self, function: &str) -> bool {
        let admitted = self.status.condition(ConditionType::Admitted);
        let lacks = [reasons::FUNCTION_NOT_FOUND, reasons::FUNCTION_DELETED];
        self.spec.function == function
            && !self.is_finished()
            && admitted.is_some_and(|admitted| lacks.contains(&admitted.reason.as_str()))
    }

    /// Its latest failure.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.status.failure.as_ref()
    }

    /// Whether it has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.status.is_finished()
    }

    /// The job as core knows it, but for its input, and for the bytes of its result.
    pub(crate) fn to_core(&self) -> Job {
        let kept = &self.spec;
        let ttl = kept.ttl_seconds_after_finished;
        let spec = JobSpec {
            function: kept.function.clone(),
            input: serde_json::Map::new(),
            // Not here either: they are the input, too.
            input_blob: None,
            files: BTreeMap::new(),
            parallelism: kept.parallelism,
            min_parallelism: kept.min_parallelism,
            queue: kept.queue.clone(),
            priority: kept.priority,
            retries: kept.retries,
            timeout_seconds: kept.timeout_seconds,
            ttl_seconds_after_finished: ttl.unwrap_or(JobSpec::default_ttl_seconds()),
            cancel: kept.cancel,
        };
        Job { status: seen(self.status.clone()), ..Job::new(metadata(&self.metadata), spec) }
    }

    /// A reference to the job of this namespace and name.
    pub(crate) fn reference(namespace: &str, name: &str) -> ObjectRef<Self> {
        ObjectRef::new(name).within(namespace)
    }
}

impl Resource for WatchedJob {
    type DynamicType = ();
    type Scope = <ComputeJob as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        ComputeJob::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ComputeJob::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ComputeJob::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ComputeJob::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_the_job_without_its_input_and_result() {
        let object = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": "j", "namespace": "n", "uid": "u", "resourceVersion": "7",
                "generation": 2, "labels": { "a": "b" }, "annotations": { "large": "x" } },
            "spec": { "function": "f", "input": { "x": [1, 2] }, "parallelism": 3,
                "minParallelism": 2, "queue": "q", "priority": -4, "retries": 5,
                "timeoutSeconds": 6, "ttlSecondsAfterFinished": 7, "cancel": true },
            "status": { "phase": "Succeeded", "attempt": 1, "result": { "text": "abc",
                "contentType": "a/b", "bytes": 3, "sha256": "0".repeat(64) } },
        });
        let whole: ComputeJob = serde_json::from_value(object.clone()).unwrap();
        let mut watched: WatchedJob = serde_json::from_value(object).unwrap();
        watched.prune();
        let mut expected = whole.to_core();
        expected.spec.input = serde_json::Map::new();
        expected.metadata.labels.clear();
        expected.status.result.as_mut().unwrap().text = None;
        assert_eq!(watched.to_core(), expected);
    }

    #[test]
    fn the_smallest_job_has_the_same_defaults() {
        let object = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": "j" }, "spec": { "function": "f" } });
        let whole: ComputeJob = serde_json::from_value(object.clone()).unwrap();
        let watched: WatchedJob = serde_json::from_value(object).unwrap();
        assert_eq!(watched.to_core(), whole.to_core());
    }
}
