//! A worker's report becomes status: the result is durable when this answers. It does not wait until the kubelet and
//! the Job controller notice that the pod has ended.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{Timestamp, Unit};
use kube::Client;
use moka::future::Cache;
use tokio::time::Instant;
use tracing::{debug, info};
use windlass_core::blobs::Blobs as _;
use windlass_core::jobs::{
    AssignReply, Denied, FetchReply, ReportError, Reports, StoreReply, Storing, Upload, UploadKind,
    Verdict, WantedBlob,
};
use windlass_core::kept_log::{MAX_KEPT_LOG_BYTES, log_location};
use windlass_core::report::{self, Ending, Event, PROGRESS_WRITE_INTERVAL, Report, ReportRefusal};
use windlass_core::result::{ByteStream, checked, location};
use windlass_core::status::{MAX_INLINE_RESULT_BYTES, Progress};
use windlass_core::usage_over_time::{UsageOverTime, usage_location};
use windlass_core::{AttemptNumber, Error, Job, JobLimits, Outcome, validate};
use windlass_results::{Failed, Results};

use super::assign::{assign, mark_running};
use super::jobs::function_of;
use super::kept_usage;
use super::worker_identity::{RunningAttempt, WorkerPod, Workers, read_job};
use crate::status::write_status;

/// Tries of one compare-and-set write: the controller may write at the same time, but each of its
/// writes has a cause, so that a report cannot lose this often.
const MAX_TRIES: u32 = 10;

/// How long it is known that a pod is the pod of an attempt, when the pod reports nothing more.
const IDLE: Duration = Duration::from_secs(120);

/// Attempts whose last progress write is remembered.
const MAX_PACED: usize = 10_000;

/// Commits reports to ComputeJobs.
pub struct ClusterReports {
    client: Client,
    /// The store of large results and blobs, if there is one.
    results: Option<Results>,
    workers: Workers,
    /// The pods that are known to be the pod of this attempt of this job, which does not change. By the UIDs of the pod
    /// and of the job.
    verified: Cache<(String, String, AttemptNumber), ()>,
    pace: ProgressPace,
}

impl ClusterReports {
    /// With this client, and a store of large results and blobs.
    pub fn new(client: Client, results: Option<Results>) -> Self {
        let workers = Workers::new(client.clone());
        let verified = Cache::builder().max_capacity(MAX_PACED as u64).time_to_idle(IDLE).build();
        Self { client, results, workers, verified, pace: ProgressPace::default() }
    }

    /// The job and the attempt of a pod that has something to leave. A job that was deleted while it ran refuses
    /// it: nobody waits for this result.
    async fn unless_deleted(
        &self,
        worker: &WorkerPod,
        job_uid: &str,
        attempt: AttemptNumber,
    ) -> Result<Result<(Job, RunningAttempt), ReportRefusal>, ReportError> {
        match self.workers.job_of(worker, job_uid, attempt).await {
            Ok(found) => Ok(Ok(found)),
            Err(ReportError::Failed(Error::NotFound { .. })) => Ok(Err(ReportRefusal::OtherJob)),
            Err(error) => Err(error),
        }
    }

    /// The job of a pod that is its current attempt.
    async fn job_of_current(
        &self,
        worker: &WorkerPod,
        job_uid: &str,
        attempt: AttemptNumber,
    ) -> Result<Result<Job, ReportRefusal>, ReportError> {
        let found = self.unless_deleted(worker, job_uid, attempt).await?;
        Ok(found.and_then(|(job, _)| report::check(&job, job_uid, attempt).map(|()| job)))
    }

    async fn limits(&self, job: &Job) -> Result<JobLimits, Error> {
        let namespace = &job.metadata.namespace;
        let function = function_of(&self.client, namespace, &job.spec.function).await?;
        // What ran was valid when it started.
        Ok(function
            .and_then(|function| validate(&job.spec, &function.spec, None).ok())
            .unwrap_or_else(|| JobLimits::without_function(&job.spec)))
    }

    /// Whether a result that is reported as stored is there, at its own location.
    async fn is_stored(
        &self,
        job: &Job,
        attempt: AttemptNumber,
        outcome: &Outcome,
    ) -> Result<bool, Error> {
        let Some(result) = outcome.result() else { return Ok(true) };
        let Some(reported) = &result.location else { return Ok(true) };
        let metadata = &job.metadata;
        let own = location(&metadata.namespace, &metadata.uid, attempt, &result.sha256);
        match &self.results {
            Some(results) if *reported == own => {
                Ok(results.length(&own).await? == Some(result.bytes))
            }
            _ => Ok(false),
        }
    }

    /// Writes the end of an attempt into the status.
    async fn commit_ending(
        &self,
        mut job: Job,
        running: RunningAttempt,
        report: &Report,
        ending: &Ending,
    ) -> Result<Verdict, ReportError> {
        let mut ending = ending.clone();
        let stored = self.is_stored(&job, report.attempt, &ending.outcome).await;
        match &mut ending.outcome {
            // A failure is one without what was computed before it, too.
            Outcome::Failed { partial, .. } => {
                partial.take_if(|_| !matches!(stored, Ok(true)));
            }
            Outcome::Succeeded(_) => {
                if !stored? {
                    return Ok(Verdict::Refused(ReportRefusal::Damaged));
                }
            }
        }
        let limits = self.limits(&job).await?;
        let now = Timestamp::now();
        let admitted = running.admitted.unwrap_or(now);
        let ending = ending.between(admitted, now.round(Unit::Millisecond).unwrap_or(now));
        for _ in 0..MAX_TRIES {
            if let Err(refused) = report::check(&job, &report.job_uid, report.attempt) {
                return Ok(Verdict::Refused(refused));
            }
            let mut status = match report::finish(&job, &limits, report.attempt, &ending) {
                Ok(status) => status,
                Err(refused) => return Ok(Verdict::Refused(refused)),
            };
            status.job = Some(running.batch_job.clone());
            status.pod = Some(running.pod.clone());
            status.node = running.node.clone();
            status.timeline.admitted = running.admitted.or(status.timeline.admitted);
            match write_status(&self.client, &job, &status).await {
                Ok(_) => {
                    let phase = status.phase.map_or("", windlass_core::Phase::as_str);
                    info!(job = %job.key(), attempt = report.attempt, phase, "outcome committed");
                    return Ok(Verdict::Accepted);
                }
                Err(Error::Conflict(_)) => {
                    let metadata = &job.metadata;
                    job = read_job(&self.client, &metadata.namespace, &metadata.name).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::unavailable("the status is being written too often").into())
    }

    /// Accepts progress, and writes it into the status when that is due.
    async fn accept_progress(
        &self,
        worker: WorkerPod,
        report: &Report,
        progress: Progress,
        elapsed_seconds: f64,
    ) -> Result<Verdict, ReportError> {
        // A function that ends sooner costs no write for its progress.
        let is_early = elapsed_seconds < PROGRESS_WRITE_INTERVAL.as_secs_f64();
        let is_due = !is_early && self.pace.is_due(&worker.uid);
        let verified = (worker.uid.clone(), report.job_uid.clone(), report.attempt);
        // Who follows the job is shown all progress that is accepted. So only the job's own worker may report it, even
        // when nothing is written.
        if !is_due && self.verified.get(&verified).await.is_some() {
            return Ok(Verdict::Accepted);
        }
        let (job, _) = self.workers.job_of(&worker, &report.job_uid, report.attempt).await?;
        self.verified.insert(verified, ()).await;
        if !is_due {
            return Ok(Verdict::Accepted);
        }
        if let Err(refused) = report::check(&job, &report.job_uid, report.attempt) {
            return Ok(Verdict::Refused(refused));
        }
        self.write_progress(&job, report, progress).await?;
        Ok(Verdict::Accepted)
    }

    /// Accepts samples. Nothing of them goes to the API server; the last are stored.
    async fn accept_usage(
        &self,
        worker: WorkerPod,
        report: &Report,
        over_time: &UsageOverTime,
        is_last: bool,
    ) -> Result<Verdict, ReportError> {
        let Report { job_uid, attempt, .. } = report;
        let verified = (worker.uid.clone(), job_uid.clone(), *attempt);
        // What is stored of a job that was deleted meanwhile, nobody would delete.
        if is_last || self.verified.get(&verified).await.is_none() {
            match self.unless_deleted(&worker, job_uid, *attempt).await? {
                Ok(_) => self.verified.insert(verified, ()).await,
                Err(refused) => return Ok(Verdict::Refused(refused)),
            }
        }
        if let Some(results) = self.results.as_ref().filter(|_| is_last) {
            let location = usage_location(&worker.namespace, job_uid, *attempt);
            kept_usage::write(results, &location, over_time).await?;
        }
        Ok(Verdict::Accepted)
    }

    /// Progress goes to the status only when it is 1 % further.
    async fn write_progress(&self, job: &Job, report: &Report, new: Progress) -> Result<(), Error> {
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
}

#[async_trait]
impl Reports for ClusterReports {
    async fn report(&self, token: Option<&str>, report: Report) -> Result<Verdict, ReportError> {
        // The caller is known before anything is done, whatever it reports.
        let worker = match &report.event {
            Event::Usage { is_last: false, .. } => self.workers.recognize(token).await?,
            _ => self.workers.authenticate(token).await?,
        };
        match &report.event {
            // The controller observes it from the pod, which says it of a standby only when it is told.
            Event::Running { .. } => {
                mark_running(&self.client, &self.workers, &worker, &report).await?;
                Ok(Verdict::Accepted)
            }
            Event::Progress { done, total, message, elapsed_seconds } => {
                let progress = Progress::new(*done, *total, message, *elapsed_seconds);
                self.accept_progress(worker, &report, progress, *elapsed_seconds).await
            }
            Event::Usage { over_time, is_last, .. } => {
                self.accept_usage(worker, &report, over_time, *is_last).await
            }
            Event::Finished(ending) => {
                match self.unless_deleted(&worker, &report.job_uid, report.attempt).await? {
                    Ok((job, running)) => self.commit_ending(job, running, &report, ending).await,
                    Err(refused) => Ok(Verdict::Refused(refused)),
                }
            }
        }
    }

    async fn namespace(&self, token: Option<&str>) -> Result<String, Denied> {
        Ok(self.workers.recognize(token).await?.namespace)
    }

    async fn assign(&self, token: Option<&str>, within: Duration) -> AssignReply {
        let worker = self.workers.authenticate(token).await?;
        assign(&self.client, &self.workers, &worker, within).await
    }

    async fn fetch(&self, token: Option<&str>, wanted: &WantedBlob) -> FetchReply {
        let WantedBlob { job_uid, attempt, sha256 } = wanted;
        let worker = self.workers.authenticate(token).await?;
        let job = match self.job_of_current(&worker, job_uid, *attempt).await? {
            Ok(job) => job,
            Err(refused) => return Ok(Err(refused)),
        };
        if !job.spec.blobs().any(|(_, blob)| blob.sha256 == *sha256) {
            return Ok(Err(ReportRefusal::OtherBlob));
        }
        let Some(results) = &self.results else { return Ok(Err(ReportRefusal::BlobLost)) };
        match results.read(&job.metadata.namespace, sha256).await {
            Ok(found) => Ok(Ok(found)),
            Err(Error::NotFound { .. }) => Ok(Err(ReportRefusal::BlobLost)),
            Err(error) => Err(error.into()),
        }
    }

    async fn store(&self, token: Option<&str>, upload: &Upload, content: ByteStream) -> StoreReply {
        let Upload { what, job_uid, attempt, bytes, sha256 } = upload;
        let worker = self.workers.authenticate(token).await?;
        let Some(results) = &self.results else {
            let most = MAX_INLINE_RESULT_BYTES;
            return Ok(Storing::TooLarge(match what {
                UploadKind::Result => format!("without an object store the most is {most}"),
                UploadKind::Log => "without an object store no log is kept".into(),
            }));
        };
        let job = match what {
            UploadKind::Result => self.job_of_current(&worker, job_uid, *attempt).await?,
            // What an attempt has said is worth as much when it was cancelled.
            UploadKind::Log => {
                self.unless_deleted(&worker, job_uid, *attempt).await?.map(|(job, _)| job)
            }
        };
        let job = match job {
            Ok(job) => job,
            Err(refused) => return Ok(Storing::Refused(refused)),
        };
        let most = match what {
            UploadKind::Result => self.limits(&job).await?.max_result_bytes,
            UploadKind::Log => MAX_KEPT_LOG_BYTES,
        };
        if *bytes > most {
            return Ok(Storing::TooLarge(format!("the function may write {most}")));
        }
        let namespace = &job.metadata.namespace;
        let content = checked(content, *bytes, sha256.clone());
        let (own, stored) = match what {
            UploadKind::Result => {
                let own = location(namespace, job_uid, *attempt, sha256);
                let stored = results.put(&own, content).await;
                (own, stored)
            }
            UploadKind::Log => {
                let own = log_location(namespace, job_uid, *attempt);
                let stored = results.put_log(&own, content).await;
                (own, stored)
            }
        };
        match stored {
            Ok(()) => {
                info!(job = %job.key(), attempt, bytes, ?what, "stored for a worker");
                Ok(Storing::At(own))
            }
            Err(Failed::Content(error)) if error.kind() == ErrorKind::InvalidData => {
                Ok(Storing::Refused(ReportRefusal::Damaged))
            }
            Err(Failed::Content(error)) => {
                Err(Error::unavailable(format!("what it stores broke off: {error}")).into())
            }
            Err(Failed::Store(error)) => Err(error.into()),
        }
    }
}

/// Progress goes to the status every 5 seconds at most; what comes between costs nothing.
#[derive(Default)]
struct ProgressPace {
    /// When the progress that a pod reports was last written, by the pod's UID.
    last_written: Mutex<HashMap<String, Instant>>,
}

impl ProgressPace {
    /// Whether the progress of this pod is to be written now. If so, it counts as written.
    fn is_due(&self, pod_uid: &str) -> bool {
        let interval = PROGRESS_WRITE_INTERVAL;
        let mut written = self.last_written.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if written.len() >= MAX_PACED {
            written.retain(|_, last| now.duration_since(*last) < interval);
        }
        match written.get(pod_uid) {
            Some(last) if now.duration_since(*last) < interval => false,
            _ => {
                written.insert(pod_uid.to_owned(), now);
                true
            }
        }
    }
}
