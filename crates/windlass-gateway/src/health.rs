//! `/healthz` and `/readyz`: one word each, for anybody, so nothing else is told.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

use crate::Shared;
use crate::refusal::Refusal;

/// The process answers.
pub(crate) async fn alive() -> &'static str {
    "alive\n"
}

/// The world behind it answers, and it is not about to end.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Result<&'static str, Refusal> {
    let not_ready = || Refusal::unavailable("not ready", Duration::from_secs(1));
    if shared.ending.is_begun() {
        return Err(not_ready());
    }
    match shared.gateway.jobs.ready().await {
        Ok(()) => Ok("ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(not_ready())
        }
    }
}
