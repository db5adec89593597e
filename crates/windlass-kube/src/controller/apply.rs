//! Effects, no decisions: one function an action, one for the status.
//!
//! Each may be repeated and may be lost halfway. Every call has a deadline; when it passes, what
//! happened is unknown and the next observation tells.

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use kube::{Api, Client};
use tracing::info;
use windlass_core::plan::Action;
use windlass_core::report::is_settled;
use windlass_core::status::reasons;
use windlass_core::{AttemptNumber, Cpus, Error, FunctionSpec, Job, JobLimits, JobStatus, name};

use crate::attempt::build::{self, ReportPlace};
use crate::attempt::observe::{self, Body};
use crate::cache::attempts::Traces;
use crate::crd::{ComputeJob, status_patch};
use crate::error::{exceeds_quota, from_kube, is_status, within_deadline};

/// What the actions of one job need.
pub struct Effects<'a> {
    /// The API server.
    pub client: &'a Client,
    /// Where workers report to.
    pub report: &'a ReportPlace,
    /// The job. To start an attempt it must be as it is now, input and all.
    pub job: &'a Job,
    /// Its bounds.
    pub limits: &'a JobLimits,
    /// Its function; without one nothing is started.
    pub function: Option<&'a FunctionSpec>,
    /// What there is of its attempts.
    pub traces: &'a Traces,
}

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The job has changed.
    News,
    /// It has not: there was nothing to tell, or the API server leaves out what its definition of a
    /// ComputeJob does not have.
    Nothing,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It has its effect.
    Done,
    /// It has made the attempt, with so many CPUs.
    Created(Cpus),
    /// The API server will not create the attempt.
    Refused {
        /// One word.
        reason: String,
        /// A sentence.
        message: String,
        /// Whether trying again is of no use.
        is_final: bool,
    },
}

impl Effects<'_> {
    /// Does one action.
    pub async fn perform(&self, action: &Action) -> Result<Done, Error> {
        match action {
            Action::Start { attempt, cpus } => self.start(*attempt, *cpus).await,
            Action::Remove { attempt } => self.remove(*attempt).await.map(|()| Done::Done),
            Action::Expire => self.expire().await.map(|()| Done::Done),
        }
    }

    async fn start(&self, attempt: AttemptNumber, cpus: Cpus) -> Result<Done, Error> {
        let Some(function) = self.function else {
            return Err(Error::Bug("a start without a function".into()));
        };
        let carrier =
            match build::carrier(self.job, self.limits, function, attempt, cpus, self.report) {
                Ok(carrier) => carrier,
                Err(Error::Conflict(message)) => {
                    return Ok(Done::Refused {
                        reason: "Function".into(),
                        message,
                        is_final: true,
                    });
                }
                Err(error) => return Err(error),
            };
        let name = carrier.metadata.name.clone().unwrap_or_default();
        let created =
            within_deadline(self.carriers().create(&PostParams::default(), &carrier)).await?;
        match created {
            Ok(_) => {
                info!(job = %self.job.key(), attempt, cpus, "attempt created");
                Ok(Done::Created(cpus))
            }
            // Ours from before a crash or a stale cache, or a stranger's.
            Err(error) if is_status(&error, 409) => self.adopt(&name, attempt).await,
            Err(kube::Error::Api(status))
                if matches!(status.code, 400 | 403 | 422) || is_a_webhooks(&status) =>
            {
                Ok(refused(&status))
            }
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn adopt(&self, name: &str, attempt: AttemptNumber) -> Result<Done, Error> {
        let found = within_deadline(self.carriers().get_opt(name)).await?.map_err(from_kube)?;
        let Some(found) = found else {
            return Err(Error::Conflict(format!("the batch Job {name:?} is gone again")));
        };
        let mine = observe::carrier(&found).is_some_and(|(origin, _)| {
            *origin.attempt.job_uid == self.job.metadata.uid && origin.attempt.number == attempt
        });
        if mine {
            return Ok(Done::Done);
        }
        // A stranger's: it may go away, and until then there is nothing to be done.
        Ok(Done::Refused {
            reason: reasons::NAME_TAKEN.into(),
            message: format!("a batch Job {name:?} is there that is not of this job"),
            is_final: false,
        })
    }

    async fn remove(&self, attempt: AttemptNumber) -> Result<(), Error> {
        let Some(trace) = self.traces.trace(&self.job.metadata.uid, attempt) else { return Ok(()) };
        // Somebody waits for its end, since the job was cancelled. The garbage collector would end the pod
        // when it gets round to it; and a kubelet that sees another change of the pod first, that the Job
        // controller makes when its Job is deleted, looks at its containers a second later. A batch Job of
        // ours makes no other pod. What has told its own end costs no such write.
        let is_told = self.job.status.is_finished() || is_settled(&self.job.status, attempt);
        let mut stopped = Ok(());
        let ours = |body: &Body| body.is_to_be_deleted() && (!is_told || body.is_orphan());
        for (uid, body) in trace.bodies.iter().filter(|(_, body)| ours(body)) {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.job.metadata.namespace);
            let answer = within_deadline(pods.delete(body.name(), &only_of(uid))).await;
            stopped = stopped.and(answer.and_then(deleted));
        }
        if let Some(carrier) = &trace.carrier {
            let name = name::attempt(&self.job.metadata.name, &self.job.metadata.uid, attempt);
            let params = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Background),
                ..only_of(carrier.uid())
            };
            deleted(within_deadline(self.carriers().delete(&name, &params)).await?)?;
        }
        stopped
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

    fn carriers(&self) -> Api<batch::Job> {
        Api::namespaced(self.client.clone(), &self.job.metadata.namespace)
    }
}

/// Not what somebody else made that has its name by now.
pub(crate) fn only_of(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

/// What is gone already is deleted. When another has its name by now, the next look shows it.
pub(crate) fn deleted<T>(answer: Result<T, kube::Error>) -> Result<(), Error> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if is_status(&error, 404) => Ok(()),
        Err(error) => Err(from_kube(error)),
    }
}

/// Whether somebody's admission webhook cannot be asked, which the API server says as an error of its own.
fn is_a_webhooks(status: &Status) -> bool {
    status.code == 500 && status.message.contains("failed calling webhook")
}

/// Forbidden may be allowed later: a quota of the namespace is used up, or a right was taken away; and a
/// webhook may answer again. What the API server calls invalid stays so.
fn refused(status: &Status) -> Done {
    // A webhook may give any text for a reason.
    let is_word = (1..=64).contains(&status.reason.len())
        && status.reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let reason = match () {
        () if exceeds_quota(&status.message) => reasons::QUOTA_EXCEEDED,
        () if status.code == 500 => reasons::FAILED_CREATE,
        () if is_word => &status.reason,
        () => reasons::FORBIDDEN,
    };
    Done::Refused {
        reason: reason.to_owned(),
        message: status.message.clone(),
        is_final: !matches!(status.code, 403 | 500),
    }
}

/// Tells a status, if it differs from what is told: one write, refused with `Conflict` when
/// somebody wrote since the job was read. Returns whether there was anything to write.
pub async fn tell(client: &Client, job: &Job, status: &JobStatus) -> Result<Told, Error> {
    let Some(patch) = status_patch(job, status) else { return Ok(Told::Nothing) };
    let jobs: Api<ComputeJob> = Api::namespaced(client.clone(), &job.metadata.namespace);
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let told = within_deadline(jobs.patch_status(&job.metadata.name, &params, &patch)).await?;
    let told = told.map_err(from_kube)?;
    let is_new = told.metadata.resource_version.as_ref() != Some(&job.metadata.resource_version);
    Ok(if is_new { Told::News } else { Told::Nothing })
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
                Done::Refused { reason: word.into(), message: message.clone(), is_final: ends };
            assert_eq!(refused(&status(code, reason, &message)), expected);
        }
    }

    #[test]
    fn an_api_server_that_is_in_trouble_itself_refuses_nothing() {
        let table = [
            (500, "failed calling webhook \"w\": timeout", true),
            (500, "etcdserver: request timed out", false),
            (503, "failed calling webhook", false),
        ];
        for (code, message, expected) in table {
            assert_eq!(is_a_webhooks(&status(code, "InternalError", message)), expected);
        }
    }
}
