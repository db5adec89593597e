//! `GET /v1/namespaces/{namespace}/jobs/{name}/logs`: what the function says on stdout and stderr.
//!
//! The end of it, as it is now: it can be read while the function runs. Like a result it is hostile.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header;
use windlass_core::JobKey;

use crate::Shared;
use crate::refusal::Refusal;

/// Most of a log that is given, in bytes: the last MiB.
const MAX_BYTES: u64 = 1 << 20;

pub(crate) async fn logs(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
) -> Result<Response, Refusal> {
    let bytes = shared.gateway.jobs.logs(&key, MAX_BYTES).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (header::CACHE_CONTROL, "private, no-store"),
    ];
    Ok((headers, bytes).into_response())
}
