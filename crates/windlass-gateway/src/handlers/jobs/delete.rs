//! `DELETE /v1/namespaces/{namespace}/jobs/{name}`: ends and forgets a job.

use http::StatusCode;

use windlass_core::JobKey;

use crate::middleware::target::Target;
use crate::protocol::error::ApiError;

pub(crate) async fn delete_job(
    Target { state, of: key, .. }: Target<JobKey>,
) -> Result<StatusCode, ApiError> {
    state.gateway.jobs.delete(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}
