//! Carries out what is planned, and decides nothing: one function for each action.
//!
//! Each action may be repeated and may be lost halfway. Every call has a deadline; when it passes, what
//! happened is unknown and the next reconcile observes it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use kube::api::{DeleteParams, PostParams, PropagationPolicy};
use kube::core::Status;
use kube::{Api, Client};
use tokio::time::Instant;
use tracing::{info, warn};
use windlass_core::plan::{Action, AdmissionDecision, Refusal};
use windlass_core::status::reasons;
use windlass_core::{AttemptNumber, Cpus, Error, Function, Job, JobLimits};

use super::context::Context;
use super::delete::{deleted, only_of};
use super::manage_jobs::JobsToManage;
use super::managed::{create_pod, never_made};
use super::managed_memory::ManagedMemory;
use super::on_watch::batch_job_found;
use super::plan::Planned;
use super::refused_status::{NO_ANSWER, is_refusal};
use crate::attempt::build_batch_job::batch_job;
use crate::attempt::managed;
use crate::attempt::managed_pod::pod_of;
use crate::attempt::new_attempt::NewAttempt;
use crate::attempt::owner::is_attempt;
use crate::attempt::owner::is_standby;
use crate::attempt::report_endpoint::ReportEndpoint;
use crate::cache::attempts::AttemptCache;
use crate::crd::ComputeJob;
use crate::error::{call, exceeds_quota, from_kube, is_status, within_deadline};

/// How often a start is tried again that was refused.
const REFUSED_REQUEUE: Duration = Duration::from_secs(10);

/// Carries out what is planned for a job. When to try the start again that was refused, if it was.
pub(crate) async fn apply(
    job: &Job,
    planned: &Planned,
    actor: &Actor<'_>,
    ctx: &Context,
    now: Timestamp,
) -> Result<Option<Duration>, Error> {
    let uid = &job.metadata.uid;
    let Planned { observed, plan, .. } = planned;
    let starts = plan.actions.iter().any(|action| matches!(action, Action::Start { .. }));
    if !starts && matches!(observed.admission, AdmissionDecision::Granted(_)) {
        ctx.admission.withdraw(uid, now);
    }
    let mut refused = None;
    let attempt = planned.next_attempt;
    for action in &plan.actions {
        match actor.act(action, now).await? {
            Applied::Done => {}
            Applied::Created { cpus, .. } => {
                ctx.start_rate.record(now);
                ctx.metrics.jobs().granted(cpus);
            }
            Applied::Later(pause) => return Ok(Some(pause)),
            Applied::Refused { reason, message, is_final } => {
                let since = observed.refusal.as_ref().map_or(now, |known| known.since);
                refused = Some(Refusal { attempt, since, reason, message, is_final });
            }
            // It may be there. So this ends no attempt, however long it takes.
            Applied::Unanswered { message } => {
                let reason = reasons::FAILED_CREATE.into();
                refused = Some(Refusal { attempt, since: now, reason, message, is_final: false });
            }
        }
    }
    if starts {
        ctx.refusals.set(uid, refused.as_ref());
    }
    // The next reconcile writes the refusal into the status; then the start is tried again at leisure.
    let is_told = observed.refusal.is_some();
    Ok(refused.map(|_| if is_told { REFUSED_REQUEUE } else { Duration::ZERO }))
}

/// What the actions of one job need.
#[derive(Clone, Copy)]
pub(crate) struct Actor<'a> {
    /// The API server.
    pub(crate) client: &'a Client,
    /// Which batch Jobs this controller manages.
    pub(crate) manage_jobs: &'a JobsToManage,
    /// What it remembers of them.
    pub(crate) managed: &'a ManagedMemory,
    /// Where workers report to.
    pub(crate) report: &'a ReportEndpoint,
    /// The job. To start an attempt it must be as it is now, input and all.
    pub(crate) job: &'a Job,
    /// Its bounds.
    pub(crate) limits: &'a JobLimits,
    /// Its function; without one nothing is started.
    pub(crate) function: Option<&'a Function>,
    /// The objects of its attempts.
    pub(crate) attempts: &'a AttemptCache,
    /// What else there is.
    pub(crate) ctx: &'a Context,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// It has its effect.
    Done,
    /// It has made the attempt.
    Created {
        /// With so many CPUs.
        cpus: Cpus,
        /// Why its pod could not be made, where that was tried.
        without_pod: Option<String>,
    },
    /// The API server will not create the attempt.
    Refused {
        /// One word.
        reason: String,
        /// A sentence.
        message: String,
        /// Whether trying again is of no use.
        is_final: bool,
    },
    /// The API server has not answered in time.
    Unanswered {
        /// A sentence.
        message: String,
    },
    /// It was not tried, and is to be tried after this: others of its function take long.
    Later(Duration),
}

impl Applied {
    /// What is said of its failure.
    fn failure(&self) -> Option<&str> {
        match self {
            Self::Refused { message, .. } | Self::Unanswered { message } => Some(message),
            Self::Created { without_pod, .. } => without_pod.as_deref(),
            Self::Done | Self::Later(_) => None,
        }
    }
}

impl Actor<'_> {
    /// Carries out one action.
    async fn act(&self, action: &Action, now: Timestamp) -> Result<Applied, Error> {
        match action {
            Action::Start { attempt, cpus } => self.start(*attempt, *cpus, now).await,
            Action::Remove { attempt } => self.remove(*attempt).await.map(|()| Applied::Done),
            Action::Expire => self.expire().await.map(|()| Applied::Done),
        }
    }

    async fn start(
        &self,
        number: AttemptNumber,
        cpus: Cpus,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        let Some(function) = self.function else {
            return Err(Error::Bug("a start without a function".into()));
        };
        let Self { job, limits, report, .. } = *self;
        let function = &function.spec;
        let is_managed = self.manage_jobs.manages_new(self.client).await;
        let maker = is_managed.then(|| self.managed.maker());
        let worker = self.ctx.worker.source(self.client).await;
        let worker = worker.as_ref();
        let attempt = NewAttempt { job, limits, function, number, cpus, report, worker, maker };
        let creation = match self.ctx.slow_starts.begin(job, Instant::now()) {
            Ok(creation) => creation,
            Err(later) => {
                let said = later.said().map(|message| Applied::Unanswered { message });
                return Ok(said.unwrap_or(Applied::Later(later.pause)));
            }
        };
        if let Some(applied) = self.start_on_standby(&attempt).await? {
            return Ok(applied);
        }
        let batch_job = match batch_job(&attempt) {
            Ok(batch_job) => batch_job,
            Err(Error::Conflict(message)) => {
                return Ok(Applied::Refused { reason: "Function".into(), message, is_final: true });
            }
            Err(error) => return Err(error),
        };
        let applied = self.create(&batch_job, &attempt, now).await?;
        creation.ended(applied.failure(), Instant::now());
        Ok(applied)
    }

    async fn create(
        &self,
        batch_job: &batch::Job,
        attempt: &NewAttempt<'_>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        let (number, cpus) = (attempt.number, attempt.cpus);
        let name = batch_job.metadata.name.clone().unwrap_or_default();
        let (batch_jobs, params) = (self.batch_jobs(), PostParams::default());
        let Ok(created) = within_deadline(batch_jobs.create(&params, batch_job)).await else {
            return Ok(Applied::Unanswered { message: NO_ANSWER.into() });
        };
        match created {
            Ok(created) => {
                info!(job = %self.job.key(), attempt = number, cpus, "attempt created");
                batch_job_found(self.ctx, created.clone());
                let without_pod = self.make_pod(&created, attempt.maker.is_some(), now).await;
                Ok(Applied::Created { cpus, without_pod })
            }
            // It is ours, from before a crash or a stale cache, or somebody else's.
            Err(error) if is_status(&error, 409) => self.adopt(&name, attempt, now).await,
            Err(kube::Error::Api(status)) if is_refusal(&status) => Ok(refused(&status)),
            Err(error) => Err(from_kube(error)),
        }
    }

    /// Creates the pod of a batch Job that is ours to manage. When that fails, the batch Job is there all the same, and
    /// the next reconcile tries again. Why it could not be made.
    async fn make_pod(
        &self,
        batch_job: &batch::Job,
        is_managed: bool,
        now: Timestamp,
    ) -> Option<String> {
        if is_managed && !managed::is_managed(batch_job) && !is_standby(&batch_job.metadata) {
            self.managed.field_was_dropped();
        }
        // Of another's, nobody knows here whether it has had its pod.
        if !never_made(self.managed, self.job, batch_job, now) {
            return None;
        }
        let pod = pod_of(batch_job);
        let created = create_pod(self.client, self.managed, self.job, batch_job, pod, now).await;
        created.unwrap_or_else(|error| {
            warn!(job = %self.job.key(), %error, "its pod is created by the next reconcile");
            None
        })
    }

    async fn adopt(
        &self,
        name: &str,
        attempt: &NewAttempt<'_>,
        now: Timestamp,
    ) -> Result<Applied, Error> {
        let found = call(self.batch_jobs().get_opt(name)).await?;
        let Some(found) = found else {
            return Err(Error::Conflict(format!("the batch Job {name:?} is gone again")));
        };
        if is_attempt(&found, self.job, attempt.number) {
            batch_job_found(self.ctx, found.clone());
            self.make_pod(&found, attempt.maker.is_some(), now).await;
            return Ok(Applied::Done);
        }
        if let Some(applied) = self.follow_name(attempt, &found).await? {
            return Ok(applied);
        }
        // Somebody else's: it may go away, and until then there is nothing to be done.
        Ok(Applied::Refused {
            reason: reasons::NAME_TAKEN.into(),
            message: format!("a batch Job {name:?} is there that is not of this job"),
            is_final: false,
        })
    }

    async fn expire(&self) -> Result<(), Error> {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..only_of(&self.job.metadata.uid)
        };
        let jobs: Api<ComputeJob> =
            Api::namespaced(self.client.clone(), &self.job.metadata.namespace);
        deleted(within_deadline(jobs.delete(&self.job.metadata.name, &params)).await?)
    }

    pub(super) fn batch_jobs(&self) -> Api<batch::Job> {
        Api::namespaced(self.client.clone(), &self.job.metadata.namespace)
    }
}

/// Forbidden may be allowed later: a quota of the namespace is used up, or a right was taken away; and a
/// webhook may answer again. What the API server calls invalid stays so.
fn refused(status: &Status) -> Applied {
    // A webhook may give any text for a reason.
    let is_word = (1..=64).contains(&status.reason.len())
        && status.reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let reason = match () {
        () if exceeds_quota(&status.message) => reasons::QUOTA_EXCEEDED,
        () if status.code == 500 => reasons::FAILED_CREATE,
        () if is_word => &status.reason,
        () => reasons::FORBIDDEN,
    };
    Applied::Refused {
        reason: reason.to_owned(),
        message: status.message.clone(),
        is_final: !matches!(status.code, 403 | 500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Status {
        let status = Status::failure(message, reason);
        Status { code, ..status }
    }

    #[test]
    fn a_refusal_is_one_word_whatever_a_webhook_says() {
        let table = [
            (403, "Forbidden", "exceeded quota: q, requested: cpu=4", "QuotaExceeded", false),
            (403, "Forbidden", "violates PodSecurity", "Forbidden", false),
            (403, "", "denied by policy", "Forbidden", false),
            (403, "you shall not pass", "denied by policy", "Forbidden", false),
            (422, "Invalid", "spec: too long", "Invalid", true),
            (500, "InternalError", "failed calling webhook \"w\": refused", "FailedCreate", false),
        ];
        for (code, reason, message, word, ends) in table {
            let message = message.to_owned();
            let expected =
                Applied::Refused { reason: word.into(), message: message.clone(), is_final: ends };
            assert_eq!(refused(&status(code, reason, &message)), expected);
        }
    }
}
