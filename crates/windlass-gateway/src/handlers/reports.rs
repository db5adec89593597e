//! `POST /v1/reports`: what the workers of attempts report. `PUT /v1/reports/{uid}/{attempt}/result`: the
//! bytes of a result that is too large for a report, which then names their location. `.../log`: the end of what the function
//! has said.
//! `GET /v1/reports/{uid}/{attempt}/blobs/{digest}`: a blob that the attempt reads.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use windlass_core::jobs::{Caller, ReportError, Storing, Upload, UploadKind, Verdict, WantedBlob};
use windlass_core::report::Event;
use windlass_core::result::{ByteStream, Content, StoredResult, hex};
use windlass_core::usage_over_time::MAX_SAMPLES;
use windlass_core::{Error, Problem, Report, parse};

use super::blobs::sha256_of;
use crate::protocol::bearer::BearerToken;
use crate::protocol::body;
use crate::protocol::error::ApiError;
use crate::protocol::headers::single_value;
use crate::protocol::limits::MAX_REPORT_BYTES;
use crate::protocol::problem::ProblemKind;
use crate::server::connection_limit::ConnectionSlot;
use crate::state::GatewayState;

/// What all uploads together are called as one caller. No user has a name with a space.
const UPLOADS: &str = "uploads of workers";

/// 204 when the report counts, 409 when it never will, 503 when it should be sent again.
pub(crate) async fn report(
    State(state): State<Arc<GatewayState>>,
    Extension(token): Extension<BearerToken>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let Some(reports) = &state.gateway.reports else {
        return Err(ApiError::no_such_path());
    };
    let limit = state.gateway.limits.body;
    let bytes = body::read_json(&headers, body, MAX_REPORT_BYTES, limit).await?;
    let mut report: Report = parse::message(&bytes)?;
    if let Event::Usage { over_time, namespace, .. } = &mut report.event {
        over_time.samples.truncate(MAX_SAMPLES);
        if !over_time.is_plausible(report.attempt) {
            let why = "no attempt can have used this over its time";
            return Err(ApiError::invalid(vec![Problem::at("/event/usage/overTime", why)]));
        }
        *namespace = Some(reports.namespace(Some(token.as_str())).await?);
    }
    let verdict = reports.report(Some(token.as_str()), report.clone()).await;
    if matches!(verdict, Ok(Verdict::Accepted)) {
        state.gateway.live.record(report);
    }
    state.gateway.meters.record_report(match &verdict {
        Ok(Verdict::Accepted) => "accepted",
        Ok(Verdict::Refused(_)) => "refused",
        Err(_) => "unjudged",
    });
    match verdict? {
        Verdict::Accepted => Ok(StatusCode::NO_CONTENT),
        Verdict::Refused(reason) => Err(ApiError::report_refused(reason)),
    }
}

/// What comes with an upload, beside its path and bytes.
type Sender = (
    State<Arc<GatewayState>>,
    Extension<BearerToken>,
    Option<Extension<Arc<ConnectionSlot>>>,
    HeaderMap,
);

/// What an upload is answered.
type UploadReply = Result<(StatusCode, Json<Value>), ApiError>;

/// 201 with the location when the bytes are stored; 409 when nobody wants them, 413 when they are too
/// many, 429 or 503 when they should be sent again.
pub(crate) async fn store_result(
    path: Path<(String, String)>,
    sender: Sender,
    body: Body,
) -> UploadReply {
    store(UploadKind::Result, path, sender, body).await
}

/// The same of a log; 413 also where none are kept.
pub(crate) async fn store_log(
    path: Path<(String, String)>,
    sender: Sender,
    body: Body,
) -> UploadReply {
    store(UploadKind::Log, path, sender, body).await
}

async fn store(
    what: UploadKind,
    path: Path<(String, String)>,
    (State(state), Extension(token), slot, headers): Sender,
    body: Body,
) -> UploadReply {
    let Some(reports) = &state.gateway.reports else {
        return Err(ApiError::no_such_path());
    };
    let upload = upload_of(what, path, &headers)?;
    let content = body::bounded_silence(body, state.gateway.limits.body);
    let content = kept_upload(content, slot.map(|Extension(slot)| slot));
    let stored = reports.store(Some(token.as_str()), &upload, content).await;
    state.gateway.meters.record_upload(match &stored {
        Ok(Storing::At(_)) => ("accepted", upload.bytes),
        Ok(Storing::Refused(_) | Storing::TooLarge(_)) => ("refused", 0),
        Err(ReportError::Failed(Error::Busy { .. })) => ("busy", 0),
        Err(_) => ("unjudged", 0),
    });
    match stored? {
        Storing::At(location) => Ok((StatusCode::CREATED, Json(json!({ "location": location })))),
        Storing::Refused(reason) => Err(ApiError::report_refused(reason)),
        Storing::TooLarge(why) => Err(ApiError::new(ProblemKind::TooLarge, why)),
    }
}

/// 200 with the bytes as they are stored: their reader holds them against their digest. 409 when the attempt never gets
/// them.
pub(crate) async fn fetch_blob(
    State(state): State<Arc<GatewayState>>,
    Extension(token): Extension<BearerToken>,
    Path((job_uid, attempt, digest)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let Some(reports) = &state.gateway.reports else {
        return Err(ApiError::no_such_path());
    };
    let attempt = attempt.parse().map_err(|_| ApiError::no_such_path())?;
    let wanted = WantedBlob { job_uid, attempt, sha256: sha256_of(&digest)? };
    let found = reports.fetch(Some(token.as_str()), &wanted).await?;
    let StoredResult { bytes, content, .. } = found.map_err(ApiError::report_refused)?;
    let body = match content {
        Content::Inline(bytes) => Body::from(bytes),
        Content::Stored(_) if bytes == 0 => Body::empty(),
        Content::Stored(stored) => Body::from_stream(stored.read(0..bytes).await?),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

/// What the head of an upload says: all of it is needed before a byte is read.
fn upload_of(
    what: UploadKind,
    Path((job_uid, attempt)): Path<(String, String)>,
    headers: &HeaderMap,
) -> Result<Upload, ApiError> {
    let attempt = attempt.parse().map_err(|_| ApiError::no_such_path())?;
    let bytes = body::announced_bytes(headers);
    let sha256 = single_value(headers, "content-digest")
        .and_then(|digest| digest.strip_prefix("sha-256=:")?.strip_suffix(':'))
        .and_then(|digest| BASE64.decode(digest).ok())
        .filter(|digest| digest.len() == 32);
    match (bytes, sha256) {
        (Some(bytes), Some(sha256)) => {
            Ok(Upload { what, job_uid, attempt, bytes, sha256: hex(&sha256) })
        }
        _ => Err(ApiError::new(
            ProblemKind::Unannounced,
            "send Content-Length and Content-Digest: sha-256=:BASE64:",
        )),
    }
}

/// The same bytes. The first are asked for once it is known that they may be stored, and so who sends them: from
/// then on the connection is kept for the upload, however many others there are.
fn kept_upload(content: ByteStream, slot: Option<Arc<ConnectionSlot>>) -> ByteStream {
    let counted = async move {
        let uploads = Caller { name: UPLOADS.into(), is_admin: false };
        match slot.map_or(Ok(()), |slot| slot.count_as_busy(uploads)) {
            Ok(()) => Ok(content),
            Err(_) => Err(io::Error::other("too many results are being stored")),
        }
    };
    Box::pin(futures::stream::once(counted).try_flatten())
}
