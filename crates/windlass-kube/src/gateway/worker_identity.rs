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
use crate::attempt::owner::is_standby;
use crate::attempt::owner::{batch_job_of, is_attempt, job_of as controlling_job};
use crate::attempt::standby::claimed_since;
use crate::crd::ComputeJob;
use crate::error::call;
use crate::labels::{AUDIENCE, AttemptLabels};

/// How long it is known for which pod a token was made: the longest that a deleted pod's token works. What
/// it reports is checked against the pod itself.
const KEPT: Duration = Duration::from_secs(30);

/// The same for samples that follow others: they are hints in memory, and a job sends some every 30 s.
const KEPT_FOR_SAMPLES: Duration = Duration::from_secs(600);

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
    pub(super) is_standby: bool,
}

/// Tells worker pods by their tokens.
pub(super) struct Workers {
    client: Client,
    pods: Cache<TokenDigest, WorkerPod>,
    pods_of_samples: Cache<TokenDigest, WorkerPod>,
}

impl Workers {
    pub(super) fn new(client: Client) -> Self {
        let [pods, pods_of_samples] = [KEPT, KEPT_FOR_SAMPLES]
            .map(|kept| Cache::builder().max_capacity(MOST_KEPT).time_to_live(kept).build());
        Self { client, pods, pods_of_samples }
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
        self.pods_of_samples.insert(digest, worker.clone()).await;
        Ok(worker)
    }

    /// The same of a worker that reports samples which are not stored: it may have been known for longer.
    pub(super) async fn recognize(&self, token: Option<&str>) -> Result<WorkerPod, Denied> {
        let (_, digest) = with_digest(token)?;
        match self.pods_of_samples.get(&digest).await {
            Some(known) => Ok(known),
            None => self.authenticate(token).await,
        }
    }

    /// The job that the pod works for, if the pod is that of the attempt that it reports of. The chain of controllers
    /// leads to it by UIDs, since whoever may create pods may give them any labels.
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
        let owner = batch_job_of(&pod).ok_or_else(not_its_pod)?;
        let batch_jobs: Api<batch::Job> = Api::namespaced(self.client.clone(), &worker.namespace);
        let batch_job = call(batch_jobs.get(&owner.name)).await?;
        if batch_job.metadata.uid.as_ref() != Some(&owner.uid) {
            return Err(not_its_pod());
        }
        let controller = controlling_job(&batch_job).ok_or_else(not_its_pod)?;
        let job = read_job(&self.client, &worker.namespace, &controller.name).await?;
        if job.metadata.uid != job_uid || controller.uid != job_uid {
            // The job that this pod worked for was deleted; another one has its name.
            return Err(Error::no_job(&controller.name).into());
        }
        if !is_attempt(&batch_job, &job, attempt) {
            return Err(not_its_pod());
        }
        let is_standby = is_standby(&batch_job.metadata);
        let created = batch_job.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let admitted = claimed_since(&batch_job.metadata).or(created);
        let (batch_job, pod_name) = (owner.name.clone(), worker.name.clone());
        let node = pod.spec.and_then(|spec| spec.node_name);
        Ok((job, RunningAttempt { batch_job, pod: pod_name, node, admitted, is_standby }))
    }
}

/// Whether a pod is that of the latest attempt of a job, which its status names. The pod of a job that has ended
/// outlives its batch Job by moments.
pub(super) async fn is_pod_of(client: &Client, pod: &Pod, job: &Job) -> Result<bool, Error> {
    let Job { metadata, status, .. } = job;
    let attempt = status.attempt.unwrap_or(1);
    let named = name::attempt(&metadata.name, &metadata.uid, attempt);
    // A standby has a name of its own, and its pod has the job's labels.
    let is_its = AttemptLabels::read(pod).is_some_and(|labels| {
        is_standby(&pod.metadata)
            && *labels.attempt.job_uid == *metadata.uid
            && labels.attempt.number == attempt
    });
    let Some(owner) = batch_job_of(pod).filter(|owner| owner.name == named || is_its) else {
        return Ok(false);
    };
    let name = &owner.name;
    let batch_jobs: Api<batch::Job> = Api::namespaced(client.clone(), &metadata.namespace);
    let Some(batch_job) = call(batch_jobs.get_opt(name)).await? else {
        return Ok(status.is_finished());
    };
    Ok(batch_job.metadata.uid.as_ref() == Some(&owner.uid) && is_attempt(&batch_job, job, attempt))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "0190b7a2-1111-7abc-8def-0123456789ab";
    const BATCH_JOB: &str = "j-0190b7a2-1";

    /// A client of an API server that has these objects of namespace `n`, by plural and name.
    fn client(objects: &[(&str, &Value)]) -> Client {
        let key = |(plural, object): &(&str, &Value)| {
            let name = object["metadata"]["name"].as_str().unwrap();
            (format!("/namespaces/n/{plural}/{name}"), object.to_string())
        };
        let objects: BTreeMap<String, String> = objects.iter().map(key).collect();
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path();
            let found = objects.iter().find(|(end, _)| path.ends_with(end.as_str()));
            let missing = json!({ "kind": "Status", "code": 404, "reason": "NotFound" });
            let (code, body) =
                found.map_or((404, missing.to_string()), |(_, object)| (200, object.clone()));
            let answer = Response::builder().status(code).body(Full::from(body)).unwrap();
            std::future::ready(Ok::<_, std::convert::Infallible>(answer))
        });
        Client::new(service, "n")
    }

    fn owner(api: &str, kind: &str, name: &str, uid: &str, controls: bool) -> Value {
        json!([{ "apiVersion": api, "kind": kind, "name": name, "uid": uid,
            "controller": controls }])
    }

    fn job() -> Value {
        json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": "j", "namespace": "n", "uid": UID },
            "spec": { "function": "f" }, "status": { "attempt": 1, "pod": "p" } })
    }

    fn batch_job(owners: &Value) -> Value {
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": BATCH_JOB,
            "namespace": "n", "uid": "b", "ownerReferences": owners } })
    }

    /// It has all labels of an attempt's pod, which prove nothing.
    fn pod(owners: &Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "n",
            "uid": "u", "ownerReferences": owners, "labels": { "windlass.dev/job": "j",
            "windlass.dev/job-uid": UID, "windlass.dev/attempt": "1", "windlass.dev/cpus": "1",
            "windlass.dev/queue": "default" } } })
    }

    fn of_job(uid: &str, controls: bool) -> Value {
        owner("windlass.dev/v1alpha1", "ComputeJob", "j", uid, controls)
    }

    fn of_batch_job(uid: &str, controls: bool) -> Value {
        owner("batch/v1", "Job", BATCH_JOB, uid, controls)
    }

    /// The owners of a pod and of the batch Job, and whether the pod is that of the attempt.
    fn chains() -> Vec<(Value, Value, bool)> {
        vec![
            (of_batch_job("b", true), of_job(UID, true), true),
            (of_batch_job("b", false), of_job(UID, true), false),
            (of_batch_job("an earlier one", true), of_job(UID, true), false),
            (of_batch_job("b", true), of_job("another", true), false),
            (of_batch_job("b", true), of_job(UID, false), false),
            (owner("x/v1", "Job", BATCH_JOB, "b", true), of_job(UID, true), false),
            (json!([]), of_job(UID, true), false),
        ]
    }

    #[tokio::test]
    async fn a_pod_reports_for_an_attempt_only_by_the_chain_of_its_controllers() {
        for (of_pod, of_batch_job, expected) in chains() {
            let (pod, batch_job, job) = (pod(&of_pod), batch_job(&of_batch_job), job());
            let client = client(&[("pods", &pod), ("jobs", &batch_job), ("computejobs", &job)]);
            let worker = WorkerPod { namespace: "n".into(), name: "p".into(), uid: "u".into() };
            let workers = Workers::new(client);
            let found = workers.job_of(&worker, UID, 1).await;
            assert_eq!(found.is_ok(), expected, "{of_pod} {of_batch_job}");
            assert!(workers.job_of(&worker, UID, 2).await.is_err(), "another attempt");
        }
    }

    #[tokio::test]
    async fn a_pod_whose_labels_were_removed_is_still_that_of_its_attempt() {
        let mut pod = pod(&of_batch_job("b", true));
        pod["metadata"]["labels"] = json!({});
        let (batch_job, job) = (batch_job(&of_job(UID, true)), job());
        let client = client(&[("pods", &pod), ("jobs", &batch_job), ("computejobs", &job)]);
        let worker = WorkerPod { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        assert!(Workers::new(client).job_of(&worker, UID, 1).await.is_ok());
    }

    #[tokio::test]
    async fn a_token_is_reviewed_rarely_for_samples_alone() {
        let reviews = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reviews);
        let service = tower::service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let extra = json!({ "authentication.kubernetes.io/pod-name": ["p"],
                "authentication.kubernetes.io/pod-uid": ["u"] });
            let user = json!({ "username": "system:serviceaccount:n:default", "extra": extra });
            let status = json!({ "authenticated": true, "audiences": [AUDIENCE], "user": user });
            let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "metadata": {}, "spec": {}, "status": status });
            let answer = Response::new(Full::from(review.to_string()));
            std::future::ready(Ok::<_, std::convert::Infallible>(answer))
        });
        let workers = Workers::new(Client::new(service, "n"));
        assert!(workers.recognize(None).await.is_err());
        for _ in 0..3 {
            assert_eq!(workers.recognize(Some("t")).await.unwrap().name, "p");
            // As after 30 s.
            workers.pods.invalidate_all();
        }
        assert_eq!(reviews.load(Ordering::Relaxed), 1);
        workers.authenticate(Some("t")).await.unwrap();
        assert_eq!(reviews.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_log_is_read_only_of_the_attempts_own_pod() {
        let job: ComputeJob = serde_json::from_value(job()).unwrap();
        let job = job.to_core();
        for (of_pod, of_batch_job, expected) in chains() {
            let (pod, batch_job) = (pod(&of_pod), batch_job(&of_batch_job));
            let client = client(&[("jobs", &batch_job)]);
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let found = is_pod_of(&client, &pod, &job).await.unwrap();
            assert_eq!(found, expected, "{of_pod} {of_batch_job}");
        }
    }
}
