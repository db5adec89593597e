//! `GET /v1/namespaces/{namespace}/jobs/{name}`: one job, whole, or some of its fields.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::Uri;

use windlass_core::JobKey;

use crate::middleware::path_target::Target;
use crate::protocol::error::ApiError;
use crate::protocol::query::only_fields;

/// `?fields=`
pub(crate) async fn get_job(
    Target { state, of: key, .. }: Target<JobKey>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let selected = only_fields(&uri)?;
    let job = state.gateway.jobs.get(&key).await?;
    Ok(match selected {
        None => Json(job).into_response(),
        Some(fields) => Json(fields.select(&job)).into_response(),
    })
}
