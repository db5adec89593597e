//! `GET /v1/namespaces/{namespace}/jobs/{name}`: one job, whole, or some of its fields.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::Uri;
use windlass_core::JobKey;

use crate::protocol::error::ApiError;
use crate::protocol::query::{parameters, parse_fields, unknown_parameter};
use crate::state::GatewayState;

/// `?fields=`
pub(crate) async fn get_job(
    State(state): State<Arc<GatewayState>>,
    Extension(key): Extension<JobKey>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut selected = None;
    for (parameter, value) in parameters(&uri)? {
        match parameter.as_str() {
            "fields" => selected = Some(parse_fields(&value)?),
            _ => return Err(unknown_parameter(parameter, "fields")),
        }
    }
    let job = state.gateway.jobs.get(&key).await?;
    Ok(match selected {
        None => Json(job).into_response(),
        Some(fields) => Json(fields.of(&job)).into_response(),
    })
}
