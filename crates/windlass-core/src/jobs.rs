//! The seam between front and back: what the gateway asks of a world.

mod access;
mod submission;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::assignment::StandbyAssignment;
use crate::estimate::{Estimate, Estimates};
use crate::history::HistoryReport;
use crate::labels::Selector;
use crate::live::Shown;
use crate::log_tail::{LogRange, WantedLog};
use crate::report::ReportRefusal;
use crate::result::{ByteStream, StoredResult};
use crate::status::JobResult;
use crate::usage_over_time::UsageOverTime;
use crate::{AttemptNumber, Cpus, Error, Function, Job, JobKey, Phase, Queue, Report, SharedCpus};

pub use access::{Access, Caller, Checked, Denied, Permission, Resource, Verb};
pub use submission::{RETRY_ANNOTATION, Submission};

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only jobs of this function.
    pub function: Option<String>,
    /// Only jobs of this queue; of the default one also those that name none.
    pub queue: Option<String>,
    /// Only jobs in this phase.
    pub phase: Option<Phase>,
    /// Only jobs with such labels; an empty one selects all.
    pub labels: Selector,
    /// At most so many, and fewer where the world had to look at more; the rest by `continue_from`.
    /// 0 for the default, 500.
    pub limit: u32,
    /// The token of the page before.
    pub continue_from: Option<String>,
}

/// One page of jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The jobs, in the order of their names.
    pub items: Vec<Job>,
    /// Token of the next page; none on the last.
    pub continue_from: Option<String>,
}

/// The result of a job; with `partial` also what it had computed before it failed.
pub fn result_of(job: &Job, partial: bool) -> Result<&JobResult, Error> {
    let may_read = partial || job.status.phase == Some(Phase::Succeeded);
    let found = job.status.result.as_ref().filter(|_| may_read);
    found.ok_or_else(|| Error::no_result(job))
}

/// `Conflict` where this is not the job with the UID that is meant, if one is.
pub fn check_uid(job: &Job, uid: Option<&str>) -> Result<(), Error> {
    match uid {
        Some(uid) if uid != job.metadata.uid => Err(Error::another_job(&job.metadata.name)),
        _ => Ok(()),
    }
}

/// A world that runs jobs: one machine or a cluster.
///
/// Every call may take as long as the world needs; the caller sets deadlines.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// Accepts a job. When this returns, the job is not lost any more. `Conflict` when its name is
    /// taken. A job that is waited for may have ended by then; when it cannot be stored, nothing of it
    /// stays.
    async fn submit(&self, submission: Submission) -> Result<Job, Error>;
    /// One job.
    async fn get(&self, key: &JobKey) -> Result<Job, Error>;
    /// Jobs of one namespace.
    async fn list(&self, namespace: &str, filter: &Filter) -> Result<Page, Error>;
    /// Asks for a job's end. Repeating it changes nothing; a finished job stays as it is. With a UID `Conflict` when
    /// another job has the name.
    async fn cancel(&self, key: &JobKey, uid: Option<&str>) -> Result<Job, Error>;
    /// Ends and forgets a job. With a UID `Conflict` when another job has the name.
    async fn delete(&self, key: &JobKey, uid: Option<&str>) -> Result<(), Error>;
    /// Every change of a job from now on. The first item is the job as it is.
    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error>;
    /// A finished job's result; `Conflict` while there is none. With `partial` also what a job that has failed had
    /// computed before.
    async fn result(&self, key: &JobKey, partial: bool) -> Result<StoredResult, Error>;
    /// What the function of the attempt that is asked for, or of the latest one, has said on stdout and stderr: the end
    /// of it that is asked for. `NotFound` for an attempt that was not made, `Gone` where nothing is kept of it.
    async fn logs(&self, key: &JobKey, wanted: WantedLog) -> Result<Vec<u8>, Error>;
    /// What the job says from now on, attempt by attempt, until it has ended: first the end of what is there that
    /// `range` asks for, then what follows. Of a job that has ended, [`logs`](Self::logs). In bounded memory; a reader
    /// who is slow may miss some.
    async fn follow_logs(&self, key: &JobKey, range: LogRange) -> Result<ByteStream, Error>;
    /// What the latest attempt of a job uses, over its time. A world that keeps no samples tells none.
    async fn usage(&self, job: &Job) -> Result<UsageOverTime, Error> {
        let _ = job;
        Ok(UsageOverTime::default())
    }
    /// The function that a job of this namespace means by a name: its own, or one that is for all namespaces.
    async fn function(&self, namespace: &str, name: &str) -> Result<Function, Error>;
    /// The same for all names.
    async fn functions(&self, namespace: &str) -> Result<Vec<Function>, Error>;
    /// One queue, as a submission needs it; `None` when there is no such object: then it bounds nothing, and the job waits.
    async fn queue(&self, namespace: &str, name: &str) -> Result<Option<Queue>, Error>;
    /// The queues of one namespace, in the order of their names, with what is in use of each.
    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error>;
    /// Puts a queue on hold, or resumes it. Repeating it changes nothing.
    async fn hold_queue(&self, key: &JobKey, hold: bool) -> Result<Queue, Error>;
    /// What there is for all queues of one namespace together.
    async fn capacity(&self, namespace: &str) -> Result<MachineCapacity, Error> {
        let _ = namespace;
        Ok(MachineCapacity::default())
    }
    /// What the last hour and the last day were like in a namespace.
    async fn history(&self, namespace: &str) -> Result<HistoryReport, Error> {
        let _ = namespace;
        Err(Error::unavailable("nobody keeps a history here"))
    }
    /// When the jobs of a namespace that wait or run are likely to start and to end.
    async fn estimates(&self, namespace: &str) -> Result<Estimates, Error> {
        let _ = namespace;
        Err(Error::unavailable("nobody estimates anything here"))
    }
    /// The same of one job; `None` where it neither waits for CPUs nor holds any, or is too far back in the line.
    async fn estimate(&self, key: &JobKey) -> Result<Option<Estimate>, Error> {
        let all = self.estimates(&key.namespace).await?.items;
        Ok(all.into_iter().find(|estimate| estimate.name == key.name))
    }
    /// Whether the world answers at all.
    async fn ready(&self) -> Result<(), Error>;
}

/// What a world has to grant.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineCapacity {
    /// CPUs of the machine that jobs may be granted. Absent on a cluster, where queues say how many there are.
    pub cpus: Option<Cpus>,
    /// CPUs that the running jobs of the namespace use, by the latest sample of each. Absent on a cluster while there is no
    /// sample.
    pub used: Option<f64>,
    /// The same of each job, by its UID: of at most 100, those that were granted the most. Absent while there is no sample.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used_by: BTreeMap<String, f64>,
    /// The CPUs of a ClusterComputeQueue that the queues of the namespace share with others. Absent on one machine, where a
    /// namespace shares none, and where the server may not read ClusterComputeQueues and namespaces.
    pub shared: Option<SharedCpus>,
}

/// The changes of one job. A call that is dropped before its answer loses nothing.
#[async_trait]
pub trait Watch: Send {
    /// The job after its next change. States in between may be skipped, the last one is not.
    /// `NotFound` once it is deleted. One that comes from a server has no input: it may have 128 KiB, and
    /// does not change.
    async fn next(&mut self) -> Result<Job, Error>;
    /// The same, with the progress that the world itself has heard between two writes.
    async fn next_shown(&mut self) -> Result<Shown, Error> {
        Ok(Shown::new(Arc::new(self.next().await?), None))
    }
}

/// A server that can be told to end once nothing runs.
#[async_trait]
pub trait Drain: Send + Sync + 'static {
    /// From now on no job is accepted, and none starts. The server ends when those that run have ended.
    /// Repeating it changes nothing.
    async fn drain(&self) -> Result<Draining, Error>;
}

/// How far a server is that takes nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Draining {
    /// Attempts that still run.
    pub running: u32,
    /// Jobs that wait; the next server on the same data starts them.
    pub waiting: u32,
}

/// Where workers report to.
#[async_trait]
pub trait Reports: Send + Sync + 'static {
    /// Takes a report from the worker that holds this token. When it returns `Accepted`, what the
    /// report tells is durable.
    async fn report(&self, token: Option<&str>, report: Report) -> Result<Verdict, ReportError>;
    /// Takes the bytes of a result that is too large for a report, or of a log, from the worker that holds this
    /// token. Nothing of `content` is read before it is known that they may be stored.
    async fn store(&self, token: Option<&str>, upload: &Upload, content: ByteStream) -> StoreReply;
    /// The namespace of the worker that holds this token, or has held it within minutes.
    async fn namespace(&self, token: Option<&str>) -> Result<String, Denied>;
    /// A blob that the attempt of the worker with this token reads. Its digest is for the worker to check.
    async fn fetch(&self, token: Option<&str>, wanted: &WantedBlob) -> FetchReply;
    /// Tells the worker that holds this token what to do once its pod is an attempt, for which this waits at most so
    /// long. `None` when it is none by then. Where there are no standbys, no pod waits for an attempt.
    async fn assign(&self, token: Option<&str>, within: Duration) -> AssignReply;
}

/// What [`Reports::assign`] answers.
pub type AssignReply = Result<Option<Box<StandbyAssignment>>, ReportError>;

/// What [`Reports::fetch`] answers; a refusal is for good.
pub type FetchReply = Result<Result<StoredResult, ReportRefusal>, ReportError>;

/// A blob that a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedBlob {
    /// UID of the job that names it.
    pub job_uid: String,
    /// The attempt that reads it.
    pub attempt: AttemptNumber,
    /// Its digest.
    pub sha256: String,
}

/// What [`Reports::store`] answers.
pub type StoreReply = Result<Storing, ReportError>;

/// What a worker wants to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadKind {
    /// A result that is too large for a report.
    Result,
    /// The end of what the function has said, see [`kept_log`](crate::kept_log).
    Log,
}

/// Bytes that a worker wants to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// What they are.
    pub what: UploadKind,
    /// UID of the job.
    pub job_uid: String,
    /// The attempt that made them.
    pub attempt: AttemptNumber,
    /// Their length.
    pub bytes: u64,
    /// Their SHA-256 in lower-case hex.
    pub sha256: String,
}

/// What became of bytes that were to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storing {
    /// They are stored; this is where.
    At(String),
    /// They are not wanted and never will be.
    Refused(ReportRefusal),
    /// There are more of them than may be stored; the sentence says how many may.
    TooLarge(String),
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// It changes nothing and never will; trying again is of no use.
    Refused(ReportRefusal),
}

/// Why a report could not be judged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReportError {
    /// The token is not that of the attempt's worker.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Trying again is right, or the job is gone.
    #[error(transparent)]
    Failed(#[from] Error),
}
