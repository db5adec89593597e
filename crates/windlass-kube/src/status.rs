//! Writes the status of a ComputeJob, by compare-and-set. It is the last step of a reconcile, and how a gateway commits
//! what a worker reports.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use windlass_core::{Error, Job, JobStatus};

use crate::crd::{ComputeJob, status_patch};
use crate::error::call;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusWrite {
    /// The job has changed.
    Changed,
    /// The job is as before: there was nothing to write, or the API server leaves out what its definition of a
    /// ComputeJob does not have.
    Unchanged,
}

/// Writes a status, if it differs from that of the job. `Conflict` when somebody wrote since the job was read;
/// `Invalid` when the API server refuses this status.
pub(crate) async fn write_status(
    client: &Client,
    job: &Job,
    status: &JobStatus,
) -> Result<StatusWrite, Error> {
    let Some(patch) = status_patch(job, status) else { return Ok(StatusWrite::Unchanged) };
    let jobs: Api<ComputeJob> = Api::namespaced(client.clone(), &job.metadata.namespace);
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let written = call(jobs.patch_status(&job.metadata.name, &params, &patch)).await?;
    let is_new = written.metadata.resource_version.as_ref() != Some(&job.metadata.resource_version);
    Ok(if is_new { StatusWrite::Changed } else { StatusWrite::Unchanged })
}
