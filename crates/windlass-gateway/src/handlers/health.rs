//! `/healthz` and `/readyz`: one word each. They are open to everybody, so they say nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

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
    let not_ready = || ApiError::unavailable("not ready", Duration::from_secs(1));
    if state.shutdown.has_started() {
        return Err(not_ready());
    }
    match state.gateway.jobs.ready().await {
        Ok(()) => Ok("ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(not_ready())
        }
    }
}
