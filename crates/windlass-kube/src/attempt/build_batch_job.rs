//! Builds the `batch/v1` Job of an attempt, whose pod runs `windlass worker -- FUNCTION`.
//!
//! Pure: from a job, its function and a grant to the manifest. Image, command and everything else
//! that is shaped like a pod come from the function, which an admin wrote; nothing comes from the
//! job but its input, as data.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use windlass_core::{AttemptNumber, Cpus, Error, Job, JobLimits, name};

use super::managed::MANAGED_BY;
use super::new_attempt::NewAttempt;
use super::pod::pod_spec;
use super::pod_template::{pod_metadata, pod_template};
use crate::labels::{
    ANNOTATION_INPUT, ANNOTATION_MAKER, LABEL_ATTEMPT, LABEL_CPUS, LABEL_JOB, LABEL_JOB_UID,
    LABEL_QUEUE,
};

/// Slack of the pod-level deadline behind the worker's own clock, in seconds.
const DEADLINE_SLACK_SECONDS: i64 = 120;

/// The batch Job of this attempt. `Conflict` when the function cannot run on a cluster.
pub(crate) fn batch_job(attempt: &NewAttempt<'_>) -> Result<batch::Job, Error> {
    let NewAttempt { job, limits, function, number, maker, .. } = *attempt;
    let is_managed = maker.is_some();
    let deadline = active_deadline_seconds(limits);
    let labels = labels(job, number, attempt.cpus);
    let annotations = BTreeMap::from([(ANNOTATION_INPUT.to_owned(), input_text(job))]);
    let template = pod_template(function)?;
    let pod = core_v1::PodTemplateSpec {
        metadata: Some(pod_metadata(&template, labels.clone(), annotations)),
        spec: Some(core_v1::PodSpec {
            active_deadline_seconds: is_managed.then_some(deadline),
            ..pod_spec(attempt, &template)?
        }),
    };
    Ok(batch::Job {
        metadata: ObjectMeta {
            name: Some(name::attempt(&job.metadata.name, &job.metadata.uid, number)),
            namespace: Some(job.metadata.namespace.clone()),
            labels: Some(labels),
            annotations: maker
                .map(|maker| BTreeMap::from([(ANNOTATION_MAKER.to_owned(), maker.to_owned())])),
            owner_references: Some(vec![owner(job)]),
            ..Default::default()
        },
        spec: Some(batch::JobSpec {
            // The kubelet enforces that of a pod, with no controller.
            active_deadline_seconds: (!is_managed).then_some(deadline),
            managed_by: is_managed.then(|| MANAGED_BY.to_owned()),
            ..batch_job_spec(pod)
        }),
        status: None,
    })
}

/// How long the batch Job of an attempt may take, in seconds.
pub(super) fn active_deadline_seconds(limits: &JobLimits) -> i64 {
    i64::from(limits.start_deadline_seconds)
        + i64::from(limits.timeout_seconds)
        + DEADLINE_SLACK_SECONDS
}

/// A batch Job that runs one pod once.
pub(super) fn batch_job_spec(template: core_v1::PodTemplateSpec) -> batch::JobSpec {
    batch::JobSpec {
        backoff_limit: Some(0),
        completions: Some(1),
        parallelism: Some(1),
        // A second pod only after the first is proven dead.
        pod_replacement_policy: Some("Failed".into()),
        template,
        ..Default::default()
    }
}

/// The labels of a batch Job and a pod that are this attempt.
pub(super) fn labels(job: &Job, attempt: AttemptNumber, cpus: Cpus) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "windlass".to_owned()),
        (LABEL_JOB.to_owned(), job.metadata.name.clone()),
        (LABEL_JOB_UID.to_owned(), job.metadata.uid.clone()),
        (LABEL_ATTEMPT.to_owned(), attempt.to_string()),
        (LABEL_QUEUE.to_owned(), job.spec.queue().to_owned()),
        (LABEL_CPUS.to_owned(), cpus.to_string()),
    ])
}

/// The owner reference by which the cluster removes the batch Job with its ComputeJob. It does not
/// block the owner's deletion: that would need a right that the controller has no other use for.
pub(super) fn owner(job: &Job) -> OwnerReference {
    OwnerReference {
        api_version: windlass_core::API_VERSION.into(),
        kind: Job::KIND.into(),
        name: job.metadata.name.clone(),
        uid: job.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The input, as the pod gets it.
pub(super) fn input_text(job: &Job) -> String {
    String::from_utf8_lossy(&job.spec.input_bytes()).into_owned()
}
