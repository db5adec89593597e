//! `GET /v1/namespaces/{namespace}/jobs/{name}/result`: the bytes that the function wrote.
//!
//! They are hostile: a function may echo what a stranger sent. No browser may run, frame or sniff
//! them, and a person who follows the link gets a file.

use std::ops::Range;

use axum::body::Body;
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use windlass_core::JobKey;
use windlass_core::jobs::{Permission, Verb};
use windlass_core::result::StoredResult;

use super::stream_end::broken_off_by;
use crate::middleware::path_target::Target;
use crate::middleware::permissions::permission_revoked;
use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::protocol::problem::ProblemKind;
use crate::protocol::query::{invalid_parameter, parameters, unknown_parameter};
use crate::protocol::range::{self, RequestedPart};
use crate::state::GatewayState;

pub(crate) async fn get_result(
    Target { state, of: key, token, .. }: Target<JobKey>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let result = state.gateway.jobs.result(&key, wants_partial(&uri)?).await?;
    let over = may_not_read(&state, &token, &key.namespace);
    answer_read(ReadyResult { result, file: key.name, over }, &method, &headers).await
}

/// `?partial=`
fn wants_partial(uri: &Uri) -> Result<bool, ApiError> {
    let mut partial = false;
    for (parameter, value) in parameters(uri)? {
        match parameter.as_str() {
            "partial" => {
                partial =
                    value.parse().map_err(|_| invalid_parameter("partial", "true or false"))?;
            }
            _ => return Err(unknown_parameter(parameter, "partial")),
        }
    }
    Ok(partial)
}

/// Bytes that are to be read, and the name under which a browser saves them.
pub(crate) struct ReadyResult {
    pub(crate) result: StoredResult,
    /// Nothing in it needs quoting.
    pub(crate) file: String,
    /// Returns when the caller may not have them any more.
    pub(crate) over: BoxFuture<'static, ()>,
}

/// Returns when a caller may not read jobs here any more, nor what they have read and written.
pub(crate) fn may_not_read(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
) -> BoxFuture<'static, ()> {
    let revoked = permission_revoked(state, token, Permission::jobs(Verb::Get), namespace);
    revoked.map(drop).boxed()
}

/// The bytes, or the part of them that is asked for.
pub(crate) async fn answer_read(
    ready: ReadyResult,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let head = ResultHead::new(&ready.result);
    let (status, part) = head.choose(headers)?;
    answer(ready, &head, status, part, *method != Method::HEAD).await
}

/// All of a result, whatever the caller has already.
pub(crate) async fn whole_result(
    state: &GatewayState,
    token: &BearerToken,
    key: &JobKey,
) -> Result<Response, ApiError> {
    let result = state.gateway.jobs.result(key, false).await?;
    let head = ResultHead::new(&result);
    let part = Some(0..head.total);
    let over = may_not_read(state, token, &key.namespace);
    let ready = ReadyResult { result, file: key.name.clone(), over };
    answer(ready, &head, StatusCode::OK, part, true).await
}

async fn answer(
    ready: ReadyResult,
    head: &ResultHead,
    status: StatusCode,
    part: Option<Range<u64>>,
    has_body: bool,
) -> Result<Response, ApiError> {
    let ReadyResult { result, file, over } = ready;
    let length = part.as_ref().map_or(0, |part| part.end - part.start);
    let body = match part.clone() {
        Some(part) if length > 0 && has_body => {
            Body::from_stream(broken_off_by(over, result.read(part).await?))
        }
        _ => Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    head.write(&file, response.headers_mut());
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let (StatusCode::PARTIAL_CONTENT, Some(part)) = (status, part) {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, head.total);
        if let Ok(range) = HeaderValue::from_str(&range) {
            headers.insert(header::CONTENT_RANGE, range);
        }
    }
    Ok(response)
}

/// The head of an answer that has a result, or a part of it.
struct ResultHead {
    total: u64,
    content_type: String,
    /// Strong: the digest is that of the very bytes.
    tag: String,
}

impl ResultHead {
    fn new(result: &StoredResult) -> Self {
        let tag = format!("\"sha256-{}\"", result.sha256);
        Self { total: result.bytes, content_type: result.content_type.clone(), tag }
    }

    /// The status, and the part of the bytes that follows; none when the caller has them already.
    fn choose(&self, requested: &HeaderMap) -> Result<(StatusCode, Option<Range<u64>>), ApiError> {
        if range::has_etag(requested, &self.tag) {
            return Ok((StatusCode::NOT_MODIFIED, None));
        }
        let total = self.total;
        match range::requested_part(requested, &self.tag, total) {
            RequestedPart::Whole => Ok((StatusCode::OK, Some(0..total))),
            RequestedPart::Some(part) => Ok((StatusCode::PARTIAL_CONTENT, Some(part))),
            RequestedPart::Outside => {
                let error =
                    ApiError::new(ProblemKind::Range, format!("the result has {total} bytes"));
                Err(match HeaderValue::from_str(&format!("bytes */{total}")) {
                    Ok(value) => error.with_header(header::CONTENT_RANGE, value),
                    Err(_) => error,
                })
            }
        }
    }

    fn write(&self, file: &str, headers: &mut HeaderMap) {
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
        let file = format!("attachment; filename=\"{file}\"");
        set(header::CONTENT_DISPOSITION, &file);
        set(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
        // A cache may keep it but must revalidate it: a job of the same name may come after this one.
        set(header::CACHE_CONTROL, "private, no-cache");
    }
}
