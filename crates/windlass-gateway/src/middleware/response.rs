//! The outermost layer, which finishes every response: the headers of every answer, 500 after a panic,
//! metrics and the log line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, header};

use crate::protocol::error::ApiError;
use crate::state::GatewayState;

/// Headers of every answer whose handler says nothing else. No answer is a page, so nothing in
/// one may run, be framed or be sniffed into another type; what jobs say is not for caches.
const HEADERS: &[(HeaderName, &str)] = &[
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

pub(crate) async fn finish_response(
    State(state): State<Arc<GatewayState>>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    // The pattern, not the path: a name or a query may be somebody's secret.
    let path = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    let mut response =
        AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
            // The panic hook has written where and why.
            tracing::error!("a request panicked");
            ApiError::internal().into_response()
        });
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let path = path.as_ref().map_or("unknown", MatchedPath::as_str);
    let (status, seconds) = (response.status().as_u16(), started.elapsed().as_secs_f64());
    state.gateway.meters.record_request(&method, path, status, seconds);
    tracing::debug!(
        %method,
        path,
        status = response.status().as_u16(),
        elapsed_ms = started.elapsed().as_millis() as u64,
        "request"
    );
    response
}
