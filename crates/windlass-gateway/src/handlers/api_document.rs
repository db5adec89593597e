//! `GET /openapi.json` and `GET /docs`: what the API is, for programs and for people.
//!
//! Both are open like the health checks. They are the same for every server of a version and name
//! nothing of this one, and a browser cannot send a token with a link. The rules of `Host` and
//! `Origin` hold for them as for every path.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, header};

use crate::state::GatewayState;

/// Nobody has to say who they are for so many bytes. So they get them once for each connection.
const LAST: (HeaderName, &str) = (header::CONNECTION, "close");

/// The document, as JSON.
pub(crate) async fn describe_api(State(state): State<Arc<GatewayState>>) -> Response {
    let json = state.api_document.json.as_str();
    ([(header::CONTENT_TYPE, "application/json"), LAST], json).into_response()
}

/// The document, as a page.
pub(crate) async fn read_docs(State(state): State<Arc<GatewayState>>) -> Response {
    let page = state.api_document.page.as_str();
    let html = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    let mut response = ([html, LAST], page).into_response();
    if let Ok(policy) = HeaderValue::from_str(&state.api_document.page_policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
