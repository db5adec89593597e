//! `GET /v1/namespaces/{namespace}/jobs/{name}/result`: the bytes that the function wrote.
//!
//! They are hostile: a function may echo what a stranger sent. No browser may run, frame or sniff
//! them, and a person who follows the link gets a file.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use windlass_core::JobKey;
use windlass_core::jobs::ResultBytes;

use crate::Shared;
use crate::problem::Kind;
use crate::range::{self, Part};
use crate::refusal::Refusal;

pub(crate) async fn result(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let result = shared.gateway.jobs.result(&key).await?;
    answer(&key, &headers, result)
}

fn answer(key: &JobKey, asked: &HeaderMap, result: ResultBytes) -> Result<Response, Refusal> {
    // Strong: the digest is that of the very bytes.
    let tag = format!("\"sha256-{}\"", result.sha256);
    let total = result.bytes.len();
    let part =
        if range::is_known(asked, &tag) { None } else { Some(range::part(asked, &tag, total)) };
    let (status, body) = match part {
        None => (StatusCode::NOT_MODIFIED, Body::empty()),
        Some(Part::Whole) => (StatusCode::OK, result.bytes.into()),
        Some(Part::Some(ref bytes)) => {
            let some = bytes::Bytes::from(result.bytes).slice(bytes.clone());
            (StatusCode::PARTIAL_CONTENT, some.into())
        }
        Some(Part::Outside) => {
            let refusal = Refusal::new(Kind::Range, format!("the result has {total} bytes"));
            return Err(match HeaderValue::from_str(&format!("bytes */{total}")) {
                Ok(value) => refusal.with_header(header::CONTENT_RANGE, value),
                Err(_) => refusal,
            });
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        // The values are ours, but for the media type, which has its fallback below.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, "application/octet-stream");
    set(header::CONTENT_TYPE, &result.content_type);
    set(header::ETAG, &tag);
    set(header::ACCEPT_RANGES, "bytes");
    // A name is a DNS label: nothing in it needs quoting.
    let file = format!("attachment; filename=\"{}\"", key.name);
    set(header::CONTENT_DISPOSITION, &file);
    set(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    // May be kept, must be asked for: a job of the same name may come after this one.
    set(header::CACHE_CONTROL, "private, no-cache");
    if let Some(Part::Some(bytes)) = part {
        let range = format!("bytes {}-{}/{total}", bytes.start, bytes.end - 1);
        set(header::CONTENT_RANGE, &range);
    }
    Ok(response)
}
