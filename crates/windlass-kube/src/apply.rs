//! Effects, no decisions: one function an action, one for the status.
//!
//! Each may be repeated and may be lost halfway. Every call has a deadline; when it passes, what
//! happened is unknown and the next observation tells.

use std::time::Duration;

use k8s_openapi::api::batch::v1 as batch;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client};
use tracing::info;
use windlass_core::plan::Action;
use windlass_core::{Error, FunctionSpec, Job, JobStatus, Limits, name};

use crate::attempt::{LABEL_ATTEMPT, carrier};
use crate::crd::{ComputeJob, status_patch};
use crate::error::{from_kube, is_status, within_deadline};
use crate::observe::is_owned;

/// How long a batch Job of somebody else keeps an attempt waiting before the next look.
const STRANGER_PAUSE: Duration = Duration::from_secs(30);

/// What the actions of one job need.
pub struct Effects<'a> {
    /// The API server.
    pub client: &'a Client,
    /// Where workers report to.
    pub report_url: &'a str,
    /// The job.
    pub job: &'a Job,
    /// Its bounds.
    pub limits: &'a Limits,
    /// Its function; without one nothing is started.
    pub function: Option<&'a FunctionSpec>,
}

impl Effects<'_> {
    /// Does one action.
    pub async fn perform(&self, action: &Action) -> Result<(), Error> {
        match action {
            Action::Start { attempt, cpus } => self.start(*attempt, *cpus).await,
            Action::Remove { attempt } => self.remove(*attempt).await,
            Action::Expire => self.expire().await,
        }
    }

    async fn start(&self, attempt: u32, cpus: u32) -> Result<(), Error> {
        let Some(function) = self.function else {
            return Err(Error::Bug("a start without a function".into()));
        };
        let carrier = carrier(self.job, self.limits, function, attempt, cpus, self.report_url)?;
        let name = carrier.metadata.name.clone().unwrap_or_default();
        self.unchanged().await?;
        let created =
            within_deadline(self.carriers().create(&PostParams::default(), &carrier)).await?;
        match created {
            Ok(_) => {
                info!(job = %self.job.key(), attempt, cpus, "attempt created");
                Ok(())
            }
            // Ours from before a crash or a stale cache, or a stranger's.
            Err(error) if is_status(&error, 409) => self.adopt(&name, attempt).await,
            Err(error) => Err(from_kube(error)),
        }
    }

    /// `Conflict` when the job is not as it was read. A cache may be old: the job may have ended
    /// and its attempts been removed, so that their names are free again.
    async fn unchanged(&self) -> Result<(), Error> {
        let jobs: Api<ComputeJob> =
            Api::namespaced(self.client.clone(), &self.job.metadata.namespace);
        let call = jobs.get_metadata(&self.job.metadata.name);
        let current = within_deadline(call).await?.map_err(from_kube)?;
        if current.metadata.resource_version.as_ref() == Some(&self.job.metadata.resource_version) {
            Ok(())
        } else {
            Err(Error::Conflict("the job has changed since it was read".into()))
        }
    }

    async fn adopt(&self, name: &str, attempt: u32) -> Result<(), Error> {
        let found = within_deadline(self.carriers().get(name)).await?.map_err(from_kube)?;
        let number = found.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_ATTEMPT));
        if is_owned(&found, self.job) && number == Some(&attempt.to_string()) {
            Ok(())
        } else {
            // A stranger's: it may go away, and until then there is nothing to be done.
            Err(Error::Unavailable {
                message: format!("a batch Job {name:?} exists that is not this attempt's"),
                retry_after: STRANGER_PAUSE,
            })
        }
    }

    async fn remove(&self, attempt: u32) -> Result<(), Error> {
        let name = name::attempt(&self.job.metadata.name, &self.job.metadata.uid, attempt);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match within_deadline(self.carriers().delete(&name, &params)).await? {
            Ok(_) => Ok(()),
            Err(error) if is_status(&error, 404) => Ok(()),
            Err(error) => Err(from_kube(error)),
        }
    }

    async fn expire(&self) -> Result<(), Error> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(self.job.metadata.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        let jobs: Api<ComputeJob> =
            Api::namespaced(self.client.clone(), &self.job.metadata.namespace);
        match within_deadline(jobs.delete(&self.job.metadata.name, &params)).await? {
            Ok(_) => Ok(()),
            Err(error) if is_status(&error, 404) || is_status(&error, 409) => Ok(()),
            Err(error) => Err(from_kube(error)),
        }
    }

    fn carriers(&self) -> Api<batch::Job> {
        Api::namespaced(self.client.clone(), &self.job.metadata.namespace)
    }
}

/// Tells a status, if it differs from what is told: one write, refused with `Conflict` when
/// somebody wrote since the job was read. Returns whether there was anything to write.
pub async fn tell(client: &Client, job: &Job, status: &JobStatus) -> Result<bool, Error> {
    let Some(patch) = status_patch(job, status) else { return Ok(false) };
    let jobs: Api<ComputeJob> = Api::namespaced(client.clone(), &job.metadata.namespace);
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    within_deadline(jobs.patch_status(&job.metadata.name, &params, &patch))
        .await?
        .map_err(from_kube)?;
    Ok(true)
}
