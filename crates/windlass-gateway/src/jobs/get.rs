//! `GET /v1/namespaces/{namespace}/jobs/{name}`: one job.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::Uri;
use windlass_core::JobKey;

use crate::Shared;
use crate::fields::{Fields, Shown};
use crate::refusal::Refusal;

/// `?fields=`
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    uri: Uri,
) -> Result<Json<Shown>, Refusal> {
    let fields = Fields::of_query(&uri)?;
    Ok(Json(fields.of(shared.gateway.jobs.get(&key).await?)))
}
