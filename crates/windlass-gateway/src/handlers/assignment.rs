//! `POST /v1/reports/assignment`: a worker that waits in a pod asks for its attempt.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::StatusCode;

use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::state::GatewayState;

/// How long a question is kept open.
const OPEN: Duration = Duration::from_secs(30);

/// 200 with what to do; 204 when the pod is no attempt yet, or the server is about to end.
pub(crate) async fn assign_attempt(
    State(state): State<Arc<GatewayState>>,
    Extension(token): Extension<BearerToken>,
) -> Result<Response, ApiError> {
    let Some(reports) = &state.gateway.reports else {
        return Err(ApiError::no_such_path());
    };
    let assigned = tokio::select! {
        assigned = reports.assign(Some(token.as_str()), OPEN) => assigned?,
        () = state.shutdown.clone().started() => None,
    };
    Ok(match assigned {
        Some(assigned) => Json(*assigned).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}
