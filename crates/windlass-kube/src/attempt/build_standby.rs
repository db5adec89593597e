//! Builds standby batch Jobs, and the patches that make one an attempt. Pure.
//!
//! Until it is claimed, a standby belongs to its function. A claim makes it the job's: owner reference, labels and
//! deadline of the batch Job in one write that fails if the batch Job has changed. The pod follows: labels, what its
//! worker is told, and the CPUs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use windlass_core::result::hex;
use windlass_core::{Error, Function};

use super::build_batch_job::{active_deadline_seconds, batch_job_spec, input_text, labels, owner};
use super::new_attempt::NewAttempt;
use super::pod::{memory_bytes, standby_assignment, standby_pod_spec};
use super::pod_template::{pod_metadata, pod_template};
use super::report_endpoint::ReportEndpoint;
use super::standby::{Exchange, Standby};
use super::worker_source::WorkerSource;
use crate::labels::{
    ANNOTATION_ASSIGNMENT, ANNOTATION_ATTEMPT_IS, ANNOTATION_CLAIMED, ANNOTATION_INPUT,
    ANNOTATION_NAMED_FOR, CONTAINER, LABEL_FUNCTION_DIGEST, LABEL_JOB_UID, LABEL_STANDBY,
};

/// Hexadecimal digits of a function's digest.
const DIGEST: usize = 16;

/// What the standbys of a function are made from.
pub(crate) struct StandbyTemplate {
    namespace: String,
    function: String,
    owner: OwnerReference,
    pod: core_v1::PodTemplateSpec,
    /// Tells standbys of another version of the function, or of Windlass, apart.
    pub(crate) digest: String,
}

impl StandbyTemplate {
    /// That of this function. `Conflict` when it cannot run on a cluster.
    pub(crate) fn new(
        function: &Function,
        report: &ReportEndpoint,
        worker: Option<&WorkerSource>,
    ) -> Result<Self, Error> {
        let Function { kind, metadata, spec, .. } = function;
        let labels = labels_of_standby(&metadata.name);
        let template = pod_template(spec)?;
        let pod = core_v1::PodTemplateSpec {
            metadata: Some(pod_metadata(&template, labels, BTreeMap::new())),
            spec: Some(standby_pod_spec(&metadata.name, spec, &template, report, worker)?),
        };
        let text = serde_json::to_vec(&pod)
            .map_err(|error| Error::Bug(format!("the pod of a standby: {error}")))?;
        let digest = hex(&Sha256::digest(text));
        Ok(Self {
            namespace: metadata.namespace.clone(),
            function: metadata.name.clone(),
            owner: OwnerReference {
                api_version: windlass_core::API_VERSION.into(),
                kind: kind.clone(),
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
                controller: Some(true),
                block_owner_deletion: None,
            },
            pod,
            digest: digest[..DIGEST].to_owned(),
        })
    }

    /// Name of one of them, by its number.
    pub(crate) fn name(&self, number: u32) -> String {
        let function = self.function.get(..30).unwrap_or(&self.function).trim_end_matches('-');
        format!("standby-{function}-{}-{number}", &self.digest[..8])
    }

    /// A standby of this name: that of an attempt which is another standby, or any.
    pub(crate) fn batch_job(&self, name: String, exchange: Option<&Exchange>) -> batch::Job {
        let mut of_batch_job = labels_of_standby(&self.function);
        of_batch_job.insert(LABEL_FUNCTION_DIGEST.to_owned(), self.digest.clone());
        let annotations = exchange.map(|Exchange { attempt, name, uid }| {
            let named_for = format!("{}/{}", attempt.job_uid, attempt.number);
            BTreeMap::from([
                (ANNOTATION_NAMED_FOR.to_owned(), named_for),
                (ANNOTATION_ATTEMPT_IS.to_owned(), format!("{name}/{uid}")),
            ])
        });
        batch::Job {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(self.namespace.clone()),
                labels: Some(of_batch_job),
                annotations,
                owner_references: Some(vec![self.owner.clone()]),
                ..Default::default()
            },
            spec: Some(batch_job_spec(self.pod.clone())),
            status: None,
        }
    }
}

/// What Windlass has against the pods of a function, as far as that is known without a cluster. `Conflict` when it has
/// no image, or too much memory to be counted; `Invalid` when its template says what it must not.
pub fn check_function(function: &Function) -> Result<(), Error> {
    let report = ReportEndpoint { url: String::new(), authorities: None, keep_log_bytes: None };
    StandbyTemplate::new(function, &report, None).map(drop)
}

/// The labels of the batch Job and the pod of a standby of this function.
fn labels_of_standby(function: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "windlass".to_owned()),
        (LABEL_STANDBY.to_owned(), function.to_owned()),
        // The watches look for the label. It has the job's UID from the claim on.
        (LABEL_JOB_UID.to_owned(), String::new()),
    ])
}

/// Makes a standby batch Job this attempt: only in the version that was read.
pub(crate) fn claim_patch(standby: &Standby, attempt: &NewAttempt<'_>, now: Timestamp) -> Value {
    // It began to wait when it was created, and its deadline counts from then.
    let waited = now.duration_since(standby.created).as_secs().max(0);
    json!({
        "metadata": {
            "uid": standby.uid,
            "resourceVersion": standby.resource_version,
            "labels": labels(attempt.job, attempt.number, attempt.cpus),
            "annotations": { ANNOTATION_CLAIMED: now.to_string() },
            "ownerReferences": [owner(attempt.job)],
        },
        "spec": { "activeDeadlineSeconds": waited + active_deadline_seconds(attempt.limits) },
    })
}

/// Makes the pod of a claimed standby that of this attempt, with what its worker is told.
pub(crate) fn pod_patch(
    pod_uid: &str,
    attempt: &NewAttempt<'_>,
    claimed: Timestamp,
) -> Result<Value, Error> {
    let assignment = serde_json::to_string(&standby_assignment(attempt))
        .map_err(|error| Error::Bug(format!("assignment: {error}")))?;
    Ok(json!({ "metadata": {
        "uid": pod_uid,
        "labels": labels(attempt.job, attempt.number, attempt.cpus),
        "annotations": {
            ANNOTATION_CLAIMED: claimed.to_string(),
            ANNOTATION_ASSIGNMENT: assignment,
            ANNOTATION_INPUT: input_text(attempt.job),
        },
    } }))
}

/// Gives the pod the CPUs of this attempt, and the memory that the function says for them if that is more.
pub(crate) fn resize_patch(attempt: &NewAttempt<'_>) -> Result<Value, Error> {
    let NewAttempt { job, function, cpus, .. } = *attempt;
    let of = |cpus| memory_bytes(function, &job.spec.function, cpus);
    let mut requests = BTreeMap::from([("cpu", cpus.to_string())]);
    let mut limits = requests.clone();
    let memory = of(cpus)?;
    if memory > of(function.parallelism.default)? {
        requests.insert("memory", (memory - 1).to_string());
        limits.insert("memory", memory.to_string());
    }
    Ok(json!({ "spec": { "containers": [
        { "name": CONTAINER, "resources": { "requests": requests, "limits": limits } },
    ] } }))
}
