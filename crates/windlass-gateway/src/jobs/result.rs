//! `GET /v1/namespaces/{namespace}/jobs/{name}/result`: the bytes that the function wrote.
//!
//! They are hostile: a function may echo what a stranger sent. No browser may run, frame or sniff
//! them, and a person who follows the link gets a file.

use std::ops::Range;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use windlass_core::JobKey;
use windlass_core::result::StoredResult;

use crate::Shared;
use crate::problem::Kind;
use crate::range::{self, Part};
use crate::refusal::Refusal;

pub(crate) async fn result(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let result = shared.gateway.jobs.result(&key).await?;
    let described = Described::new(&result);
    let (status, part) = described.choose(&headers)?;
    answer(result, &described, &key, status, part, method != Method::HEAD).await
}

/// All of a result, whatever the caller has already.
pub(crate) async fn whole(shared: &Shared, key: &JobKey) -> Result<Response, Refusal> {
    let result = shared.gateway.jobs.result(key).await?;
    let described = Described::new(&result);
    let part = Some(0..described.total);
    answer(result, &described, key, StatusCode::OK, part, true).await
}

async fn answer(
    result: StoredResult,
    described: &Described,
    key: &JobKey,
    status: StatusCode,
    part: Option<Range<u64>>,
    has_body: bool,
) -> Result<Response, Refusal> {
    let length = part.as_ref().map_or(0, |part| part.end - part.start);
    let body = match part.clone() {
        Some(part) if length > 0 && has_body => Body::from_stream(result.read(part).await?),
        _ => Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    described.head(key, response.headers_mut());
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let (StatusCode::PARTIAL_CONTENT, Some(part)) = (status, part) {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, described.total);
        if let Ok(range) = HeaderValue::from_str(&range) {
            headers.insert(header::CONTENT_RANGE, range);
        }
    }
    Ok(response)
}

/// What is said of a result in the head of an answer.
struct Described {
    total: u64,
    content_type: String,
    /// Strong: the digest is that of the very bytes.
    tag: String,
}

impl Described {
    fn new(result: &StoredResult) -> Self {
        let tag = format!("\"sha256-{}\"", result.sha256);
        Self { total: result.bytes, content_type: result.content_type.clone(), tag }
    }

    /// The status, and the part of the bytes that follows; none when the caller has them already.
    fn choose(&self, asked: &HeaderMap) -> Result<(StatusCode, Option<Range<u64>>), Refusal> {
        if range::is_known(asked, &self.tag) {
            return Ok((StatusCode::NOT_MODIFIED, None));
        }
        let total = self.total;
        match range::part(asked, &self.tag, total) {
            Part::Whole => Ok((StatusCode::OK, Some(0..total))),
            Part::Some(part) => Ok((StatusCode::PARTIAL_CONTENT, Some(part))),
            Part::Outside => {
                let refusal = Refusal::new(Kind::Range, format!("the result has {total} bytes"));
                Err(match HeaderValue::from_str(&format!("bytes */{total}")) {
                    Ok(value) => refusal.with_header(header::CONTENT_RANGE, value),
                    Err(_) => refusal,
                })
            }
        }
    }

    fn head(&self, key: &JobKey, headers: &mut HeaderMap) {
        let mut set = |name, value: &str| {
            // The values are ours, but for the media type, which has its fallback below.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(header::CONTENT_TYPE, "application/octet-stream");
        set(header::CONTENT_TYPE, &self.content_type);
        set(header::ETAG, &self.tag);
        set(header::ACCEPT_RANGES, "bytes");
        // A name is a DNS label: nothing in it needs quoting.
        let file = format!("attachment; filename=\"{}\"", key.name);
        set(header::CONTENT_DISPOSITION, &file);
        set(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
        // May be kept, must be asked for: a job of the same name may come after this one.
        set(header::CACHE_CONTROL, "private, no-cache");
    }
}
