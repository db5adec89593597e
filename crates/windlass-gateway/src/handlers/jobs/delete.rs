//! `DELETE /v1/namespaces/{namespace}/jobs/{name}`: ends and forgets a job.

use http::{StatusCode, Uri};

use windlass_core::JobKey;

use crate::middleware::path_target::Target;
use crate::protocol::error::ApiError;
use crate::protocol::query::only_uid;

/// `?uid=`: 409 when another job has the name.
pub(crate) async fn delete_job(
    Target { state, of: key, .. }: Target<JobKey>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let uid = only_uid(&uri)?;
    state.gateway.jobs.delete(&key, uid.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
