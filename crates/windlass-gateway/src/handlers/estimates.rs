//! `GET /v1/namespaces/{namespace}/estimates`: when the jobs that wait or run are likely to start and to end.

use axum::Json;
use windlass_core::estimate::Estimates;

use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::error::ApiError;

pub(crate) async fn read_estimates(
    Target { state, of: Namespace(namespace), .. }: Target<Namespace>,
) -> Result<Json<Estimates>, ApiError> {
    Ok(Json(state.gateway.jobs.estimates(&namespace).await?))
}
