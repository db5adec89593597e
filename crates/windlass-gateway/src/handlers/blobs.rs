//! `/v1/namespaces/{namespace}/blobs`: bytes of any size that jobs name.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use windlass_core::Problem;
use windlass_core::blob::is_sha256;
use windlass_core::blobs::{Blobs, NewBlob, StoredBlob};

use super::jobs::result::{ReadyResult, answer_read, may_not_read};
use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::bearer::BearerToken;
use crate::protocol::body;
use crate::protocol::error::ApiError;
use crate::protocol::headers::single_value;
use crate::state::GatewayState;

/// The blob that a path names by its digest.
pub(crate) struct NamedBlob {
    state: Arc<GatewayState>,
    namespace: String,
    token: BearerToken,
    sha256: String,
}

impl FromRequestParts<Arc<GatewayState>> for NamedBlob {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<GatewayState>,
    ) -> Result<Self, ApiError> {
        let target = Target::<Namespace>::from_request_parts(parts, state).await?;
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((_, digest)) = path.map_err(|_| ApiError::internal())?;
        let Target { state, of: Namespace(namespace), token, .. } = target;
        Ok(Self { state, namespace, token, sha256: sha256_of(&digest)? })
    }
}

/// 201 with digest and length, and where it is.
pub(crate) async fn store_blob(
    Target { state, of: Namespace(namespace), .. }: Target<Namespace>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    store(&state, &namespace, NewBlob::default(), &headers, body).await
}

/// The same for bytes whose digest is known; 200 when they were there already.
pub(crate) async fn store_named_blob(
    NamedBlob { state, namespace, sha256, .. }: NamedBlob,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let expect = single_value(&headers, header::EXPECT);
    let waits = expect.is_some_and(|said| said.eq_ignore_ascii_case("100-continue"));
    let new = NewBlob { sha256: Some(sha256), waits, ..NewBlob::default() };
    store(&state, &namespace, new, &headers, body).await
}

/// The bytes.
pub(crate) async fn read_blob(
    NamedBlob { state, namespace, token, sha256 }: NamedBlob,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let read = blobs_of(&state)?.read(&namespace, &sha256).await?;
    let over = may_not_read(&state, &token, &namespace);
    answer_read(ReadyResult { result: read, file: sha256, over }, &method, &headers).await
}

async fn store(
    state: &GatewayState,
    namespace: &str,
    new: NewBlob,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let blobs = blobs_of(state)?;
    body::refuse_encoding(headers)?;
    let content = body::bounded_silence(body, state.gateway.limits.body);
    let new = NewBlob { announced: body::announced_bytes(headers), ..new };
    let stored = blobs.store(namespace, &new, content).await;
    let StoredBlob { blob, is_known } = state.gateway.meters.record_blob(stored)?;
    let status = if is_known { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/v1/namespaces/{namespace}/blobs/sha256:{}", blob.sha256);
    let mut response = (status, Json(blob)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Where blobs are kept; without such a place there are no such paths.
fn blobs_of(state: &GatewayState) -> Result<&dyn Blobs, ApiError> {
    state.gateway.blobs.as_deref().ok_or_else(ApiError::no_such_path)
}

/// The digest in a path.
pub(super) fn sha256_of(digest: &str) -> Result<String, ApiError> {
    match digest.strip_prefix("sha256:").filter(|hex| is_sha256(hex)) {
        Some(hex) => Ok(hex.to_owned()),
        None => {
            let why = "the path must end in sha256: and 64 hexadecimal digits in lower case";
            Err(ApiError::invalid(vec![Problem::at("/sha256", why)]))
        }
    }
}
