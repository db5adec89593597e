//! `GET /v1/namespaces/{namespace}/jobs/{name}`: one job, whole, or some of its fields.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::Uri;
use windlass_core::JobKey;

use crate::Shared;
use crate::query::{fields, pairs, unknown};
use crate::refusal::Refusal;

/// `?fields=`
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut some = None;
    for (parameter, value) in pairs(&uri)? {
        match parameter.as_str() {
            "fields" => some = Some(fields(&value)?),
            _ => return Err(unknown(parameter, "fields")),
        }
    }
    let job = shared.gateway.jobs.get(&key).await?;
    Ok(match some {
        None => Json(job).into_response(),
        Some(fields) => Json(fields.of(&job)).into_response(),
    })
}
