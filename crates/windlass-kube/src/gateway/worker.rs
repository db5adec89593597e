//! Which pod reports, and that it is the pod of the attempt that it reports of.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use moka::future::Cache;
use windlass_core::jobs::{Denied, ReportError};
use windlass_core::{AttemptNumber, Error, Job, name};

use super::token::{TokenDigest, review_token, with_digest};
use crate::attempt::owner::{PodOwner, own_batch_job, pod_owner};
use crate::crd::ComputeJob;
use crate::error::call;
use crate::labels::{AUDIENCE, AttemptId, AttemptLabels, LABEL_JOB};

/// How long it is known for which pod a token was made: the longest that a deleted pod's token works. What
/// it reports is checked against the pod itself.
const KEPT: Duration = Duration::from_secs(30);

/// Most tokens that are known.
const MOST_KEPT: u64 = 10_000;

/// The pod that a token was made for.
#[derive(Clone)]
pub(super) struct WorkerPod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Where an attempt runs, for the status.
pub(super) struct RunningAttempt {
    pub(super) batch_job: String,
    pub(super) pod: String,
    pub(super) node: Option<String>,
    pub(super) admitted: Option<Timestamp>,
}

/// Tells worker pods by their tokens.
pub(super) struct Workers {
    client: Client,
    pods: Cache<TokenDigest, WorkerPod>,
}

impl Workers {
    pub(super) fn new(client: Client) -> Self {
        let pods = Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT).build();
        Self { client, pods }
    }

    /// The pod that reports, from the token that only it holds.
    pub(super) async fn authenticate(&self, token: Option<&str>) -> Result<WorkerPod, Denied> {
        let (token, digest) = with_digest(token)?;
        if let Some(known) = self.pods.get(&digest).await {
            return Ok(known);
        }
        let user = review_token(&self.client, token, Some(AUDIENCE)).await?;
        let worker = user.as_ref().and_then(pod_of_token).ok_or(Denied::Unauthenticated)?;
        self.pods.insert(digest, worker.clone()).await;
        Ok(worker)
    }

    /// The job that the pod works for, if the pod is that of the attempt that it reports of.
    pub(super) async fn job_of(
        &self,
        worker: &WorkerPod,
        job_uid: &str,
        attempt: AttemptNumber,
    ) -> Result<(Job, RunningAttempt), ReportError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &worker.namespace);
        let pod = call(pods.get(&worker.name)).await?;
        if pod.metadata.uid.as_ref() != Some(&worker.uid) {
            return Err(not_its_pod());
        }
        let labels = pod.metadata.labels.as_ref();
        let job_name = labels.and_then(|all| all.get(LABEL_JOB)).ok_or_else(not_its_pod)?;
        let job = read_job(&self.client, &worker.namespace, job_name).await?;
        if job.metadata.uid != job_uid {
            // The job that this pod worked for was deleted; another one has its name.
            return Err(Error::no_job(job_name).into());
        }
        let batch_job = name::attempt(&job.metadata.name, &job.metadata.uid, attempt);
        let admitted = self.admitted(&pod, &job, attempt, &batch_job).await?;
        let node = pod.spec.and_then(|spec| spec.node_name);
        let pod = worker.name.clone();
        Ok((job, RunningAttempt { batch_job, pod, node, admitted }))
    }

    /// When the attempt was admitted, if this is its pod. Labels can be copied: the chain of owners leads through a UID
    /// of ours.
    async fn admitted(
        &self,
        pod: &Pod,
        job: &Job,
        attempt: AttemptNumber,
        batch_job: &str,
    ) -> Result<Option<Timestamp>, ReportError> {
        match pod_owner(pod, batch_job).ok_or_else(not_its_pod)? {
            PodOwner::BatchJob { uid } => {
                let batch_jobs: Api<batch::Job> =
                    Api::namespaced(self.client.clone(), &job.metadata.namespace);
                let found = call(batch_jobs.get(batch_job)).await?;
                let is_ours = own_batch_job(&found)
                    .is_some_and(|labels| *labels.attempt.job_uid == job.metadata.uid);
                if !is_ours || found.metadata.uid.as_ref() != Some(&uid) {
                    return Err(not_its_pod());
                }
                Ok(found.metadata.creation_timestamp.map(|time| time.0))
            }
            PodOwner::Gone => {
                let job_uid = job.metadata.uid.as_str().into();
                let expected = AttemptId { job_uid, number: attempt };
                if AttemptLabels::read(pod).is_none_or(|labels| labels.attempt != expected) {
                    return Err(not_its_pod());
                }
                Ok(job.status.timeline.admitted)
            }
        }
    }
}

/// The job as it is now.
pub(super) async fn read_job(client: &Client, namespace: &str, name: &str) -> Result<Job, Error> {
    let jobs: Api<ComputeJob> = Api::namespaced(client.clone(), namespace);
    Ok(call(jobs.get(name)).await?.to_core())
}

fn not_its_pod() -> ReportError {
    ReportError::Denied(Denied::Unauthenticated)
}

/// The pod of a service account's bound token.
fn pod_of_token(user: &UserInfo) -> Option<WorkerPod> {
    let namespace =
        user.username.as_deref()?.strip_prefix("system:serviceaccount:")?.split(':').next()?;
    let extra = user.extra.as_ref()?;
    let first = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
    Some(WorkerPod {
        namespace: namespace.to_owned(),
        name: first("authentication.kubernetes.io/pod-name")?,
        uid: first("authentication.kubernetes.io/pod-uid")?,
    })
}
