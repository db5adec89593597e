//! Where a job is on a server, and what it means when there is none.

use windlass_core::{Error, JobKey};

pub(super) fn path(key: &JobKey, rest: &str) -> String {
    format!("/v1/namespaces/{}/jobs/{}{rest}", key.namespace, key.name)
}

/// What a 404 at a job's path means.
pub(super) fn no_job(error: Error, key: &JobKey) -> Error {
    match error {
        Error::NotFound { .. } => Error::no_job(&key.name),
        other => other,
    }
}
