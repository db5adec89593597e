//! Takes a new job in: creates its ComputeJob.

use kube::Api;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use windlass_core::jobs::Submission;
use windlass_core::{Error, Job, name};

use crate::crd::{ComputeJob, ComputeJobSpec};
use crate::error::{from_kube, is_status, within_deadline};

/// Tries at a generated name.
const NAME_TRIES: u32 = 5;

/// Creates the job, or says why it is refused. `jobs` are those of its namespace.
pub(super) async fn submit(jobs: &Api<ComputeJob>, submission: &Submission) -> Result<Job, Error> {
    if let Some(name) = &submission.name {
        let created = within_deadline(create(jobs, name, submission)).await?;
        return created.map_err(|error| match error {
            error if is_status(&error, 409) => Error::job_exists(name),
            error => from_kube(error),
        });
    }
    for _ in 0..NAME_TRIES {
        let name = generated_name(&submission.spec.function);
        match within_deadline(create(jobs, &name, submission)).await? {
            Err(error) if is_status(&error, 409) => {}
            created => return created.map_err(from_kube),
        }
    }
    Err(Error::unavailable("no free name was found"))
}

async fn create(
    jobs: &Api<ComputeJob>,
    name: &str,
    submission: &Submission,
) -> Result<Job, kube::Error> {
    let object = ComputeJob {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(submission.namespace.clone()),
            labels: Some(submission.labels.clone()).filter(|all| !all.is_empty()),
            annotations: Some(submission.annotations()).filter(|all| !all.is_empty()),
            ..ObjectMeta::default()
        },
        spec: ComputeJobSpec(submission.spec.clone()),
        status: None,
    };
    Ok(jobs.create(&PostParams::default(), &object).await?.to_core())
}

/// A name for a job that was given none.
fn generated_name(function: &str) -> String {
    name::generated(function, &uuid::Uuid::new_v4().simple().to_string())
}
