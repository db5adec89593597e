//! Writes the status of a ComputeJob, by compare-and-set. It is the last step of a reconcile, and how a gateway commits
//! what a worker reports.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use windlass_core::{Error, Job, JobStatus};

use crate::crd::ComputeJob;
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

/// The patch of `/status` from one status to the next, guarded by the version that was read: an
/// API server answers 409 when somebody wrote in between.
fn status_patch(job: &Job, status: &JobStatus) -> Option<Value> {
    let old = serde_json::to_value(&job.status).ok()?;
    let new = serde_json::to_value(status).ok()?;
    let patch = merge_patch(&old, &new)?;
    Some(json!({
        "metadata": { "resourceVersion": job.metadata.resource_version },
        "status": patch,
    }))
}

/// A merge patch (RFC 7396) that turns `old` into `new`: what is gone becomes null, what is equal
/// is left out. `None` when nothing differs.
fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (old, new) if old == new => None,
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = serde_json::Map::new();
            for (key, value) in new {
                if let Some(part) = merge_patch(old.get(key).unwrap_or(&Value::Null), value) {
                    patch.insert(key.clone(), part);
                }
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            Some(Value::Object(patch))
        }
        (_, new) => Some(new.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_names_only_what_differs() {
        let old = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1]});
        let new = json!({"a": 1, "b": {"c": 4}, "e": [1, 2], "f": {"g": 1}});
        let patch = json!({"b": {"c": 4, "d": null}, "e": [1, 2], "f": {"g": 1}});
        assert_eq!(merge_patch(&old, &new), Some(patch));
        assert_eq!(merge_patch(&old, &old), None);
    }
}
