//! `GET /v1/namespaces/{namespace}/history`: what the last hour and the last day were like.

use axum::Json;
use windlass_core::history::HistoryReport;

use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::error::ApiError;

pub(crate) async fn read_history(
    Target { state, of: Namespace(namespace), .. }: Target<Namespace>,
) -> Result<Json<HistoryReport>, ApiError> {
    Ok(Json(state.gateway.jobs.history(&namespace).await?))
}
