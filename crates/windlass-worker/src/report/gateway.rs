//! The HTTP client of the gateway's report routes.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::io::ReaderStream;
use windlass_core::assignment::StandbyAssignment;
use windlass_core::report::Report;
use windlass_core::status::JobResult;

use super::retry::{BACKOFF, GatewayResponse, rejection, retry_until};
use crate::json_line::json_line;
use crate::outcome::FunctionOutput;
use crate::output_file::LargeResult;
use crate::stdio::log_line;
use crate::tls;

/// Longest time for one try at one report.
pub(super) const TRY: Duration = Duration::from_secs(10);
/// Bytes a second that a try at an upload moves at least; slower than this is no better than a gateway
/// that does not answer.
const LEAST_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Bytes of an upload that are read at a time.
const PIECE: usize = 128 * 1024;
/// Longest answer to an upload, or to a question for a blob that is refused, in bytes.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// Largest answer to a worker that waits, in bytes: an assignment, and an input of 128 KiB as a JSON string.
const MAX_ASSIGNMENT: usize = 2 << 20;
/// How long a gateway may keep the question of a worker that waits open.
const QUESTION: Duration = Duration::from_secs(60);
/// Pause after progress that reached no gateway.
const UNREACHED: Duration = Duration::from_secs(1);
/// A gateway that takes this part of its worker's time for progress, or more, is sent less of it: many
/// workers do not make it slower than it is.
const SHARE_OF_PROGRESS: u32 = 4;

/// Sends the latest progress, one at a time; what is overtaken is never sent.
pub(super) async fn send_progress(
    gateway: GatewayClient,
    mut latest: watch::Receiver<Option<Report>>,
) {
    while latest.changed().await.is_ok() {
        let Some(report) = latest.borrow_and_update().clone() else { continue };
        let sent_at = Instant::now();
        if let Err(why) = gateway.send(&report).await {
            // The next one is as good.
            log_line(&format!("windlass worker: progress was not taken: {why}"));
            sleep(UNREACHED).await;
        }
        sleep((sent_at.elapsed() * (SHARE_OF_PROGRESS - 1)).min(BACKOFF[1])).await;
    }
}

/// With authorities nothing but TLS is spoken.
fn connector(authorities: Option<&str>) -> Result<HttpsConnector<HttpConnector>, tls::Untrusted> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let builder = HttpsConnectorBuilder::new();
    let builder = match authorities {
        Some(pem) => builder.with_tls_config(tls::trusting(pem.as_bytes())?).https_only(),
        None => builder.with_tls_config(tls::trusting_nobody()?).https_or_http(),
    };
    Ok(builder.enable_http1().wrap_connector(http))
}

/// The gateway's report route.
#[derive(Clone)]
pub(crate) struct GatewayClient {
    client: Client<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, io::Error>>,
    pub(super) url: String,
    token: String,
}

impl GatewayClient {
    /// Reports to this URL, with the token in this file. With authorities nothing but TLS is spoken.
    pub(super) fn new(url: &str, token: &str, authorities: Option<&str>) -> io::Result<Self> {
        let connector = connector(authorities).map_err(io::Error::other)?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, url: url.to_owned(), token: token.to_owned() })
    }

    /// Sends the last report, and tries until the deadline.
    pub(super) async fn send_until(&self, report: &Report, deadline: Instant) {
        match retry_until(deadline, || self.send(report)).await {
            Some(Ok(())) => {}
            Some(Err((status, _))) => {
                log_line(&format!("windlass worker: the outcome was refused ({status})"));
            }
            None => {
                log_line(
                    "windlass worker: the outcome reached nobody; it is in the termination message",
                );
            }
        }
    }

    /// Uploads a large result, and tries until the deadline.
    pub(super) async fn store_until(
        &self,
        who: &(String, u32),
        large: &LargeResult,
        deadline: Instant,
    ) -> FunctionOutput {
        let bytes = large.result.bytes;
        match retry_until(deadline, || self.store(who, large)).await {
            Some(Ok(location)) => FunctionOutput::Result(JobResult {
                location: Some(location),
                ..large.result.clone()
            }),
            Some(Err((StatusCode::PAYLOAD_TOO_LARGE, why))) => {
                let why = why.unwrap_or_else(|| "that is too large".into());
                FunctionOutput::TooLarge(format!("wrote {bytes} bytes: {why}"))
            }
            Some(Err((status, _))) => {
                FunctionOutput::Lost(format!("wrote {bytes} bytes, which were refused ({status})"))
            }
            None => FunctionOutput::Lost(format!("wrote {bytes} bytes, which reached nobody")),
        }
    }

    pub(super) async fn send(&self, report: &Report) -> Result<GatewayResponse<()>, String> {
        let body = Full::from(json_line(report)).map_err(|never| match never {}).boxed_unsync();
        let request = self
            .authorize(Request::post(&self.url))?
            .header(header::CONTENT_TYPE, "application/json");
        let answer = self.request(request.body(body), TRY).await?;
        Ok(match answer.status() {
            status if status.is_success() => GatewayResponse::Accepted(()),
            status => rejection(status, None),
        })
    }

    /// Asks once what to do. `None` when there is nothing to do yet: the gateway keeps the question open for a while.
    pub(super) async fn ask_for_assignment(
        &self,
    ) -> Result<GatewayResponse<Option<Box<StandbyAssignment>>>, String> {
        let body = Full::from(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let request = self.authorize(Request::post(format!("{}/assignment", self.url)))?;
        let answer = self.request(request.body(body), QUESTION).await?;
        let status = answer.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(GatewayResponse::Accepted(None));
        }
        let body = read_answer(answer, MAX_ASSIGNMENT).await?;
        if status.is_success() {
            let told = serde_json::from_slice(&body)
                .map_err(|error| format!("the gateway's answer cannot be read: {error}"))?;
            return Ok(GatewayResponse::Accepted(Some(told)));
        }
        let problem = serde_json::from_slice::<ProblemDetail>(&body).ok();
        Ok(rejection(status, problem.map(|problem| problem.detail)))
    }

    async fn store(
        &self,
        (uid, attempt): &(String, u32),
        large: &LargeResult,
    ) -> Result<GatewayResponse<String>, String> {
        let bytes = large.result.bytes;
        let lost = |error: io::Error| format!("the output cannot be read: {error}");
        let mut file = tokio::fs::File::from_std(large.file.try_clone().map_err(lost)?);
        file.rewind().await.map_err(lost)?;
        let pieces = ReaderStream::with_capacity(file.take(bytes), PIECE).map_ok(Frame::data);
        let request = self
            .authorize(Request::put(format!("{}/{uid}/{attempt}/result", self.url)))?
            .header(header::CONTENT_LENGTH, bytes)
            .header("content-digest", digest_field(&large.result.sha256));
        let time = TRY + Duration::from_secs(bytes / LEAST_BYTES_PER_SECOND);
        let answer =
            self.request(request.body(StreamBody::new(pieces).boxed_unsync()), time).await?;
        let status = answer.status();
        let body = read_answer(answer, MAX_ANSWER).await?;
        if status.is_success() {
            let stored: StoredAt = serde_json::from_slice(&body)
                .map_err(|error| format!("the gateway's answer cannot be read: {error}"))?;
            return Ok(GatewayResponse::Accepted(stored.location));
        }
        let problem = serde_json::from_slice::<ProblemDetail>(&body).ok();
        Ok(rejection(status, problem.map(|problem| problem.detail)))
    }

    /// With our token, which is read each time: the kubelet renews it.
    pub(super) fn authorize(
        &self,
        request: http::request::Builder,
    ) -> Result<http::request::Builder, String> {
        let token = std::fs::read_to_string(&self.token)
            .map_err(|error| format!("{}: {error}", self.token))?;
        Ok(request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim())))
    }

    pub(super) async fn request(
        &self,
        request: http::Result<Request<UnsyncBoxBody<Bytes, io::Error>>>,
        time: Duration,
    ) -> Result<Response<Incoming>, String> {
        let request = request.map_err(|error| error.to_string())?;
        timeout(time, self.client.request(request))
            .await
            .map_err(|_| "the gateway did not answer in time".to_owned())?
            .map_err(|error| format!("the gateway cannot be reached: {}", innermost(&error)))
    }
}

pub(super) async fn read_answer(answer: Response<Incoming>, most: usize) -> Result<Bytes, String> {
    let body = timeout(TRY, Limited::new(answer.into_body(), most).collect())
        .await
        .map_err(|_| "the gateway did not end its answer in time".to_owned())?
        .map_err(|error| format!("the gateway's answer broke off: {error}"))?;
    Ok(body.to_bytes())
}

/// The cause of causes: what the kernel or TLS said.
fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

/// What the gateway says of bytes that it has stored.
#[derive(Deserialize)]
struct StoredAt {
    location: String,
}

/// What it says of what it refuses (RFC 9457).
#[derive(Deserialize)]
pub(super) struct ProblemDetail {
    pub(super) detail: String,
}

/// A SHA-256 as `Content-Digest` has it (RFC 9530).
pub(super) fn digest_field(sha256: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(sha256.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..sha256.len()).step_by(2).map_while(byte).collect();
    format!("sha-256=:{}:", BASE64.encode(bytes))
}
