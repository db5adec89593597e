//! A worker's report becomes status: the result is durable when this answers, without waiting for
//! the kubelet and the Job controller to notice that the pod has ended.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::{Timestamp, Unit};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use tracing::{debug, info};
use windlass_core::jobs::{Denied, ReportError, Reports, Storing, Upload, Verdict};
use windlass_core::report::{self, Ending, Event, PROGRESS_WRITE_INTERVAL, Refused, Report};
use windlass_core::result::{ByteStream, checked, location};
use windlass_core::status::{MAX_INLINE_RESULT_BYTES, Progress};
use windlass_core::{AttemptNumber, Error, Job, JobLimits, Outcome, name, validate};
use windlass_results::{Failed, Results};

use crate::attempt::owner::{PodOwner, own_batch_job, pod_owner};
use crate::crd::{ComputeFunction, ComputeJob};
use crate::error::{from_kube, within_deadline};
use crate::gateway::access::review_token;
use crate::labels::{AUDIENCE, AttemptId, AttemptLabels, LABEL_JOB};
use crate::status::write_status;

/// Tries of one compare-and-set write: the controller may write at the same time, but each of its
/// writes has a cause, so that a report cannot lose this often.
const MAX_TRIES: u32 = 10;

/// How long it is known whom a token was made for: the longest that a deleted pod's token works. What
/// it reports is checked against the pod itself.
const KEPT: Duration = Duration::from_secs(30);

/// How long it is known whose worker a pod is that says nothing more.
const IDLE: Duration = Duration::from_secs(120);

/// Longest bearer token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Attempts whose last progress write is remembered.
const MAX_PACED: usize = 10_000;

/// Commits reports to ComputeJobs.
pub struct ClusterReports {
    client: Client,
    /// Where large results go, if there is such a place.
    results: Option<Results>,
    /// When the progress that a pod reports was last written, by the pod's UID.
    paced: Mutex<HashMap<String, Instant>>,
    /// Who speaks, by digest of the token.
    speakers: Cache<[u8; 32], Speaker>,
    /// Of which pods it is known that they are the pod of this attempt of this job: that does not
    /// change. By UIDs.
    workers: Cache<(String, String, AttemptNumber), ()>,
}

/// The pod that a token was made for.
#[derive(Clone)]
struct Speaker {
    namespace: String,
    pod: String,
    pod_uid: String,
}

/// Where an attempt runs, for the status.
struct Place {
    job: String,
    pod: String,
    node: Option<String>,
    admitted: Option<Timestamp>,
}

impl ClusterReports {
    /// With this client, and a place for large results.
    pub fn new(client: Client, results: Option<Results>) -> Self {
        let speakers = Cache::builder().max_capacity(MAX_PACED as u64).time_to_live(KEPT).build();
        let workers = Cache::builder().max_capacity(MAX_PACED as u64).time_to_idle(IDLE).build();
        Self { client, results, paced: Mutex::default(), speakers, workers }
    }

    /// The pod that speaks, from the token that only it holds.
    async fn identify(&self, token: Option<&str>) -> Result<Speaker, Denied> {
        let token = token.filter(|token| token.len() <= MAX_TOKEN_BYTES);
        let token = token.ok_or(Denied::Unauthenticated)?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.speakers.get(&digest).await {
            return Ok(known);
        }
        let user = review_token(&self.client, token, Some(AUDIENCE)).await?;
        let speaker = user.as_ref().and_then(speaker).ok_or(Denied::Unauthenticated)?;
        self.speakers.insert(digest, speaker.clone()).await;
        Ok(speaker)
    }

    /// The job that the pod works for, if the pod is that of the attempt that it says.
    async fn job_of(
        &self,
        speaker: &Speaker,
        job_uid: &str,
        attempt: AttemptNumber,
    ) -> Result<(Job, Place), ReportError> {
        let not_its_pod = || ReportError::Denied(Denied::Unauthenticated);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &speaker.namespace);
        let pod = within_deadline(pods.get(&speaker.pod)).await?.map_err(from_kube)?;
        if pod.metadata.uid.as_ref() != Some(&speaker.pod_uid) {
            return Err(not_its_pod());
        }
        let labels = pod.metadata.labels.as_ref();
        let job_name = labels.and_then(|all| all.get(LABEL_JOB)).ok_or_else(not_its_pod)?;
        let job = self.read(&speaker.namespace, job_name).await?;
        if job.metadata.uid != job_uid {
            // The job that this pod worked for was deleted; another one has its name.
            return Err(Error::no_job(job_name).into());
        }
        // Labels can be copied; the chain of owners leads through a UID of ours.
        let name = name::attempt(&job.metadata.name, &job.metadata.uid, attempt);
        let admitted = match pod_owner(&pod, &name).ok_or_else(not_its_pod)? {
            PodOwner::BatchJob { uid } => {
                let carriers: Api<batch::Job> =
                    Api::namespaced(self.client.clone(), &speaker.namespace);
                let carrier = within_deadline(carriers.get(&name)).await?.map_err(from_kube)?;
                let is_ours = own_batch_job(&carrier)
                    .is_some_and(|labels| *labels.attempt.job_uid == job.metadata.uid);
                if !is_ours || carrier.metadata.uid.as_ref() != Some(&uid) {
                    return Err(not_its_pod());
                }
                carrier.metadata.creation_timestamp.map(|time| time.0)
            }
            PodOwner::Gone => {
                let job_uid = job.metadata.uid.as_str().into();
                let labels = AttemptLabels::read(&pod);
                let expected = AttemptId { job_uid, number: attempt };
                if labels.is_none_or(|labels| labels.attempt != expected) {
                    return Err(not_its_pod());
                }
                job.status.timeline.admitted
            }
        };
        let place = Place {
            job: name,
            pod: speaker.pod.clone(),
            node: pod.spec.and_then(|spec| spec.node_name),
            admitted,
        };
        Ok((job, place))
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Job, Error> {
        let jobs: Api<ComputeJob> = Api::namespaced(self.client.clone(), namespace);
        let job = within_deadline(jobs.get(name)).await?.map_err(from_kube)?;
        Ok(job.to_core())
    }

    async fn limits(&self, job: &Job) -> Result<JobLimits, Error> {
        let functions: Api<ComputeFunction> =
            Api::namespaced(self.client.clone(), &job.metadata.namespace);
        let function =
            within_deadline(functions.get_opt(&job.spec.function)).await?.map_err(from_kube)?;
        // What ran was valid when it started.
        Ok(function
            .and_then(|function| validate(&job.spec, &function.spec.0, None).ok())
            .unwrap_or_else(|| JobLimits::without_function(&job.spec)))
    }

    /// Whether a result that is said to be stored is there, in its own place.
    async fn is_stored(
        &self,
        job: &Job,
        attempt: AttemptNumber,
        outcome: &Outcome,
    ) -> Result<bool, Error> {
        let Outcome::Succeeded(result) = outcome else { return Ok(true) };
        let Some(said) = &result.location else { return Ok(true) };
        let metadata = &job.metadata;
        let own = location(&metadata.namespace, &metadata.uid, attempt, &result.sha256);
        match &self.results {
            Some(results) if *said == own => Ok(results.length(&own).await? == Some(result.bytes)),
            _ => Ok(false),
        }
    }

    async fn finish(
        &self,
        mut job: Job,
        place: Place,
        report: &Report,
        ending: &Ending,
    ) -> Result<Verdict, ReportError> {
        if !self.is_stored(&job, report.attempt, &ending.outcome).await? {
            return Ok(Verdict::Refused(Refused::Damaged));
        }
        let limits = self.limits(&job).await?;
        let now = Timestamp::now();
        let admitted = place.admitted.unwrap_or(now);
        let ending = ending.clone().between(admitted, now.round(Unit::Millisecond).unwrap_or(now));
        for _ in 0..MAX_TRIES {
            if let Err(refused) = report::check(&job, &report.job_uid, report.attempt) {
                return Ok(Verdict::Refused(refused));
            }
            let mut status = match report::finish(&job, &limits, report.attempt, &ending) {
                Ok(status) => status,
                Err(refused) => return Ok(Verdict::Refused(refused)),
            };
            status.job = Some(place.job.clone());
            status.pod = Some(place.pod.clone());
            status.node = place.node.clone();
            status.timeline.admitted = place.admitted.or(status.timeline.admitted);
            match write_status(&self.client, &job, &status).await {
                Ok(_) => {
                    let phase = status.phase.map_or("", windlass_core::Phase::as_str);
                    info!(job = %job.key(), attempt = report.attempt, phase, "outcome committed");
                    return Ok(Verdict::Accepted);
                }
                Err(Error::Conflict(_)) => {
                    job = self.read(&job.metadata.namespace, &job.metadata.name).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::unavailable("the status is being written too often").into())
    }

    /// Progress goes to the status only when it is 1 % further.
    async fn progress(&self, job: &Job, report: &Report, new: Progress) -> Result<(), Error> {
        let Some(status) = report::progress(&job.status, report.attempt, new) else {
            return Ok(());
        };
        match write_status(&self.client, job, &status).await {
            // The next one is as good.
            Err(Error::Conflict(why)) => debug!(job = %job.key(), why, "progress overtaken"),
            other => drop(other?),
        }
        Ok(())
    }

    /// Progress goes to the status every 5 seconds at most; what comes between costs nothing.
    fn is_due(&self, uid: &str) -> bool {
        let interval = PROGRESS_WRITE_INTERVAL;
        let mut paced = self.paced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if paced.len() >= MAX_PACED {
            paced.retain(|_, last| now.duration_since(*last) < interval);
        }
        match paced.get(uid) {
            Some(last) if now.duration_since(*last) < interval => false,
            _ => {
                paced.insert(uid.to_owned(), now);
                true
            }
        }
    }
}

#[async_trait]
impl Reports for ClusterReports {
    async fn report(&self, token: Option<&str>, report: Report) -> Result<Verdict, ReportError> {
        // The caller is known before anything is done, whatever it reports.
        let speaker = self.identify(token).await?;
        match &report.event {
            // The controller sees it from the pod.
            Event::Running { .. } => Ok(Verdict::Accepted),
            Event::Progress { done, total, message, elapsed_seconds } => {
                // A function that ends sooner costs no write for its progress.
                let is_early = *elapsed_seconds < PROGRESS_WRITE_INTERVAL.as_secs_f64();
                let is_due = !is_early && self.is_due(&speaker.pod_uid);
                let worker = (speaker.pod_uid.clone(), report.job_uid.clone(), report.attempt);
                // What is accepted is shown to whoever follows the job, so that its worker alone may
                // tell it, also when nothing is written.
                if !is_due && self.workers.get(&worker).await.is_some() {
                    return Ok(Verdict::Accepted);
                }
                let (job, _) = self.job_of(&speaker, &report.job_uid, report.attempt).await?;
                self.workers.insert(worker, ()).await;
                if !is_due {
                    return Ok(Verdict::Accepted);
                }
                if let Err(refused) = report::check(&job, &report.job_uid, report.attempt) {
                    return Ok(Verdict::Refused(refused));
                }
                let new = Progress::new(*done, *total, message, *elapsed_seconds);
                self.progress(&job, &report, new).await?;
                Ok(Verdict::Accepted)
            }
            Event::Finished(ending) => {
                let (job, place) =
                    match self.job_of(&speaker, &report.job_uid, report.attempt).await {
                        Ok(found) => found,
                        // Deleted while it ran: nobody waits for this result.
                        Err(ReportError::Failed(Error::NotFound { .. })) => {
                            return Ok(Verdict::Refused(Refused::OtherJob));
                        }
                        Err(error) => return Err(error),
                    };
                self.finish(job, place, &report, ending).await
            }
        }
    }

    async fn store(
        &self,
        token: Option<&str>,
        upload: &Upload,
        content: ByteStream,
    ) -> Result<Storing, ReportError> {
        let Upload { job_uid, attempt, bytes, sha256 } = upload;
        let speaker = self.identify(token).await?;
        let Some(results) = &self.results else {
            let most = MAX_INLINE_RESULT_BYTES;
            return Ok(Storing::TooLarge(format!("without an object store the most is {most}")));
        };
        let (job, _) = match self.job_of(&speaker, job_uid, *attempt).await {
            Ok(found) => found,
            Err(ReportError::Failed(Error::NotFound { .. })) => {
                return Ok(Storing::Refused(Refused::OtherJob));
            }
            Err(error) => return Err(error),
        };
        if let Err(refused) = report::check(&job, job_uid, *attempt) {
            return Ok(Storing::Refused(refused));
        }
        let most = self.limits(&job).await?.max_result_bytes;
        if *bytes > most {
            return Ok(Storing::TooLarge(format!("the function may write {most}")));
        }
        let place = location(&job.metadata.namespace, job_uid, *attempt, sha256);
        match results.put(&place, checked(content, *bytes, sha256.clone())).await {
            Ok(()) => {
                info!(job = %job.key(), attempt, bytes, "result stored");
                Ok(Storing::At(place))
            }
            Err(Failed::Content(error)) if error.kind() == ErrorKind::InvalidData => {
                Ok(Storing::Refused(Refused::Damaged))
            }
            Err(Failed::Content(error)) => {
                Err(Error::unavailable(format!("the result broke off: {error}")).into())
            }
            Err(Failed::Store(error)) => Err(error.into()),
        }
    }
}

/// Namespace and pod of a service account's bound token.
fn speaker(user: &UserInfo) -> Option<Speaker> {
    let namespace =
        user.username.as_deref()?.strip_prefix("system:serviceaccount:")?.split(':').next()?;
    let extra = user.extra.as_ref()?;
    let one = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
    Some(Speaker {
        namespace: namespace.to_owned(),
        pod: one("authentication.kubernetes.io/pod-name")?,
        pod_uid: one("authentication.kubernetes.io/pod-uid")?,
    })
}
