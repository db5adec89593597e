//! Reading a request's body: type, size and time are checked before and while it is read.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt, stream};
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use windlass_core::blobs::NotStored;
use windlass_core::result::ByteStream;

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
    if announced_bytes(headers).is_some_and(|bytes| bytes > max as u64) {
        return Err(too_large(max as u64));
    }
    match tokio::time::timeout(limit, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(max as u64)),
        Ok(Err(_)) => Err(broken_off()),
        Err(_) => Err(slow(limit)),
    }
}

/// The begin of a body, and what comes after it.
pub(crate) struct Begin {
    pub(crate) bytes: Bytes,
    /// `None` when that was all.
    pub(crate) rest: Option<ByteStream>,
}

/// Reads a body until it has ended or more than `max` bytes have come, which are to come within `limit`.
pub(crate) async fn read_begin(
    mut content: ByteStream,
    max: usize,
    limit: Duration,
) -> Result<Begin, ApiError> {
    let mut read = BytesMut::new();
    let reading = async {
        while read.len() <= max {
            match content.try_next().await {
                Ok(Some(piece)) => read.extend_from_slice(&piece),
                Ok(None) => return Ok(true),
                Err(error) => return Err(NotStored::Content(error).into()),
            }
        }
        Ok(false)
    };
    let is_over =
        tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(slow(limit)))?;
    Ok(Begin { bytes: read.freeze(), rest: (!is_over).then_some(content) })
}

/// The body, which may take as long as it needs, but not be silent for longer than `silence`.
pub(crate) fn bounded_silence(body: Body, silence: Duration) -> ByteStream {
    let pieces = TryStreamExt::map_err(body.into_data_stream(), io::Error::other);
    Box::pin(stream::unfold(Some(pieces), move |pieces| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(silence, pieces.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    }))
}

/// The length that a body's head says.
pub(crate) fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    single_value(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// No body is decompressed: its size is its size.
pub(crate) fn refuse_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    Err(ApiError::new(ProblemKind::MediaType, "send it as it is, without Content-Encoding"))
}

pub(crate) fn too_large(max: u64) -> ApiError {
    ApiError::new(ProblemKind::TooLarge, format!("a body has at most {max} bytes here"))
}

fn slow(limit: Duration) -> ApiError {
    let why = format!("the body did not arrive within {} s", limit.as_secs());
    ApiError::new(ProblemKind::Slow, why)
}

fn broken_off() -> ApiError {
    ApiError::new(ProblemKind::Malformed, "the body broke off")
}

impl From<NotStored> for ApiError {
    fn from(why: NotStored) -> Self {
        match why {
            NotStored::Content(error) if error.kind() == io::ErrorKind::TimedOut => {
                Self::new(ProblemKind::Slow, "the body was silent for too long")
            }
            NotStored::Content(_) => broken_off(),
            NotStored::TooLarge(max) => too_large(max),
            NotStored::Malformed(why) => Self::new(ProblemKind::Malformed, why),
            NotStored::Failed(error) => error.into(),
        }
    }
}
