//! `/healthz` and `/readyz`: one word each. They are open to everybody, so they say nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use windlass_core::jobs::Jobs;

use crate::protocol::error::ApiError;
use crate::state::GatewayState;

/// The process answers.
pub(crate) async fn is_alive() -> &'static str {
    "alive\n"
}

/// The back end behind it answers, and it is not about to end.
pub(crate) async fn is_ready(
    State(state): State<Arc<GatewayState>>,
) -> Result<&'static str, ApiError> {
    if !state.shutdown.has_started() && back_end_answers(state.gateway.jobs.as_ref()).await {
        Ok("ready\n")
    } else {
        Err(not_ready())
    }
}

/// Whether it does; why not is in the log.
pub(crate) async fn back_end_answers(jobs: &dyn Jobs) -> bool {
    let answer = jobs.ready().await;
    if let Err(error) = &answer {
        tracing::warn!(%error, "not ready");
    }
    answer.is_ok()
}

pub(crate) fn not_ready() -> ApiError {
    ApiError::unavailable("not ready", Duration::from_secs(1))
}
