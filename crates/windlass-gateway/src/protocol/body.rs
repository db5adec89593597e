//! Reading a request's body: type, size and time are checked before and while it is read.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::error::ApiError;
use super::headers::single_value;
use super::problem::ProblemKind;

/// The bytes of a JSON body of at most `max` bytes that arrives within `limit`.
///
/// Only `application/json` as it is: a form of a foreign page cannot send that type, and no
/// compression means that its size is its size.
pub(crate) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    limit: Duration,
) -> Result<Bytes, ApiError> {
    let media_type = single_value(headers, header::CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    if !media_type || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::new(
            ProblemKind::MediaType,
            "send Content-Type: application/json, not compressed",
        ));
    }
    let announced =
        single_value(headers, header::CONTENT_LENGTH).and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > max as u64) {
        return Err(too_large(max));
    }
    match tokio::time::timeout(limit, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(max)),
        Ok(Err(_)) => Err(ApiError::new(ProblemKind::Malformed, "the body broke off")),
        Err(_) => Err(ApiError::new(
            ProblemKind::Slow,
            format!("the body did not arrive within {} s", limit.as_secs()),
        )),
    }
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(ProblemKind::TooLarge, format!("a body has at most {max} bytes"))
}
