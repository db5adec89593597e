//! A client of a server: HTTP with a token, and what the server refuses as one of core's errors.
//!
//! Every wait has a bound. Deliberately absent: repeated requests (a repeated POST is a second effect)
//! and redirects (the token is for the server that was named).

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use windlass_core::result::ByteStream;
use windlass_core::{Error, Problem};
use windlass_worker::tls;

use super::server_token::is_loopback;
use crate::flags::bad_usage::BadUsage;
use crate::output::log;

/// Longest time until the head of an answer, or its whole body where it is read at once.
const REQUEST: Duration = Duration::from_secs(60);

/// What a slow connection takes in a second.
const SLOW_BYTES_PER_SECOND: u64 = 64 * 1024;

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// Largest answer that is read at once, in bytes: a page of jobs, each with its input and result.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where a server listens that was told nothing else.
pub(crate) const LOCAL: &str = "http://127.0.0.1:7070";

/// A server and the right to ask it.
#[derive(Clone)]
pub(crate) struct Client {
    http: Http<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, io::Error>>,
    server: String,
    token: String,
}

/// What is sent beside method and path.
#[derive(Default)]
pub(crate) struct RequestParts {
    /// A JSON body.
    pub(crate) body: Option<Vec<u8>>,
    /// Another body.
    pub(crate) upload: Option<UploadBody>,
    /// Further headers.
    pub(crate) headers: HeaderMap,
}

/// Bytes on their way to a server.
pub(crate) struct UploadBody {
    /// How many there are.
    pub(crate) bytes: u64,
    pub(crate) content: ByteStream,
}

impl UploadBody {
    /// How long they may be on their way.
    fn limit(&self) -> Duration {
        Duration::from_secs(self.bytes / SLOW_BYTES_PER_SECOND)
    }
}

impl Client {
    /// Of this server, whose certificate these authorities have signed, with this token.
    pub(crate) fn new(
        server: &str,
        ca: Option<&Path>,
        token: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let bad = |why: &str| BadUsage(format!("{server:?} {why}"));
        let uri: Uri = server.parse().map_err(|_| bad("is no URL"))?;
        let config = match (uri.scheme_str(), ca) {
            (Some("https"), ca) => trusting(ca)?,
            (Some("http"), None) => tls::trusting_nobody()?,
            (Some("http"), Some(_)) => {
                return Err(bad("has no certificate: --ca is for https").into());
            }
            _ => return Err(bad("is no URL that begins with http:// or https://").into()),
        };
        let is_plain = uri.scheme_str() == Some("http");
        if is_plain && !is_loopback(server) {
            log::print_line(&format!(
                "windlass: the token goes to {server} as it is: whoever is on the way can read it"
            ));
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let http = Http::builder(TokioExecutor::new()).build(connector);
        let server = server.trim_end_matches('/').to_owned();
        let token = token()?.trim().to_owned();
        Ok(Self { http, server, token })
    }

    /// What is asked.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The whole answer to a request that must succeed, as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        sent: RequestParts,
    ) -> Result<T, Error> {
        let body = self.whole(method, path, sent).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let server = &self.server;
            Error::unavailable(format!("{server} answers {path} with something else: {error}"))
        })
    }

    /// The whole answer to a request that must succeed.
    pub(crate) async fn whole(
        &self,
        method: Method,
        path: &str,
        sent: RequestParts,
    ) -> Result<Bytes, Error> {
        let answer = self.open(method, path, sent).await?;
        self.read(answer.into_body()).await
    }

    /// The head of the answer to a request that must succeed, and its body to be read as it comes.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        sent: RequestParts,
    ) -> Result<Response<Incoming>, Error> {
        let answer = self.send(method, path, sent).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let body = self.read(body).await?;
        let retry_after = head.headers.get(header::RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(1);
        Err(refusal(head.status, &body, Duration::from_secs(seconds)))
    }

    /// The status of the answer to a request, whatever it is.
    pub(crate) async fn status(&self, method: Method, path: &str) -> Result<StatusCode, Error> {
        Ok(self.send(method, path, RequestParts::default()).await?.status())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        sent: RequestParts,
    ) -> Result<Response<Incoming>, Error> {
        let url = format!("{}{path}", self.server);
        let is_json = sent.body.is_some();
        let limit = REQUEST + sent.upload.as_ref().map_or(Duration::ZERO, UploadBody::limit);
        let length = sent.upload.as_ref().map(|upload| upload.bytes);
        let mut request = Request::new(match sent.upload {
            Some(upload) => StreamBody::new(upload.content.map_ok(Frame::data)).boxed_unsync(),
            None => {
                let whole = Full::from(sent.body.unwrap_or_default());
                whole.map_err(|never| match never {}).boxed_unsync()
            }
        });
        *request.method_mut() = method;
        *request.uri_mut() =
            url.parse().map_err(|_| Error::unavailable(format!("{url:?} is no URL")))?;
        *request.headers_mut() = sent.headers;
        let bearer = format!("Bearer {}", self.token).parse();
        let mut bearer: header::HeaderValue =
            bearer.map_err(|_| Error::Denied("the token has characters that none has".into()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        if let Some(length) = length {
            request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        if is_json {
            let json = header::HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        let server = &self.server;
        tokio::time::timeout(limit, self.http.request(request))
            .await
            .map_err(|_| Error::unavailable(format!("{server} does not answer in time")))?
            .map_err(|error| {
                Error::unavailable(format!("{server} does not answer: {}", innermost(&error)))
            })
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Error> {
        let server = &self.server;
        let body = tokio::time::timeout(REQUEST, Limited::new(body, MAX_ANSWER_BYTES).collect())
            .await
            .map_err(|_| Error::unavailable(format!("{server} does not end its answer in time")))?
            .map_err(|error| {
                Error::unavailable(format!("the answer of {server} broke off: {error}"))
            })?;
        Ok(body.to_bytes())
    }
}

/// Trusts the authorities of this file, or the system's.
fn trusting(ca: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let Some(path) = ca else {
        let builder = tls::client()
            .context("TLS cannot be set up")?
            .with_native_roots()
            .context("this system has no certificate authorities; --ca FILE names some")?;
        return Ok(builder.with_no_client_auth());
    };
    let bad = |why: &dyn std::fmt::Display| BadUsage(format!("--ca {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| bad(&error))?;
    Ok(tls::trusting(&pem).map_err(|error| bad(&error))?)
}

/// The problem document of a refusal (RFC 9457), as far as it is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ProblemBody {
    detail: String,
    problems: Vec<Problem>,
}

/// From a refusal to the kind of error that the server had.
fn refusal(status: StatusCode, body: &[u8], retry_after: Duration) -> Error {
    let ProblemBody { mut detail, problems } = serde_json::from_slice(body).unwrap_or_default();
    let is_silent = detail.is_empty();
    if is_silent {
        detail = format!("the server answers {status}");
        // Windlass itself always says what was not found.
        if status == StatusCode::NOT_FOUND {
            let message = format!("{detail}, as no Windlass server does");
            return Error::Unavailable { message, retry_after };
        }
    }
    match status {
        // It does answer, and says why it cannot do this now.
        StatusCode::SERVICE_UNAVAILABLE if !is_silent => {
            Error::Busy { message: detail, retry_after }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied(detail),
        StatusCode::NOT_FOUND => Error::NotFound { kind: "path", name: detail },
        StatusCode::GONE => Error::Gone(detail),
        StatusCode::CONFLICT => Error::Conflict(detail),
        StatusCode::TOO_MANY_REQUESTS => Error::Busy { message: detail, retry_after },
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Error::Invalid(match problems.is_empty() {
            true => vec![Problem::at("", detail)],
            false => problems,
        }),
        StatusCode::INTERNAL_SERVER_ERROR => Error::Bug(detail),
        _ => Error::Unavailable { message: detail, retry_after },
    }
}

/// The cause of causes: what the kernel or TLS said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_error_that_the_server_had() {
        let body = br#"{"detail":"1 problem was found","problems":[{"pointer":"/function","message":"no"}]}"#;
        let second = Duration::from_secs(1);
        let error = refusal(StatusCode::UNPROCESSABLE_ENTITY, body, second);
        assert_eq!(error.to_string(), "/function: no");
        let error = refusal(StatusCode::SERVICE_UNAVAILABLE, b"<html>", second);
        assert_eq!(error.to_string(), "the server answers 503 Service Unavailable");
        let full = br#"{"detail":"the disk of the server is full"}"#;
        let full = refusal(StatusCode::SERVICE_UNAVAILABLE, full, second);
        assert!(
            matches!(&full, Error::Busy { message, .. } if message.contains("full")),
            "{full:?}"
        );
        assert!(matches!(refusal(StatusCode::UNAUTHORIZED, b"", second), Error::Denied(_)));
        let busy = refusal(StatusCode::TOO_MANY_REQUESTS, b"", Duration::from_secs(7));
        assert!(matches!(busy, Error::Busy { retry_after, .. } if retry_after.as_secs() == 7));
    }

    #[test]
    fn a_url_that_cannot_be_asked_is_refused_with_the_reason() {
        for (server, ca, expected) in [
            ("ftp://example", None, "http:// or https://"),
            ("127.0.0.1:7070", None, "http:// or https://"),
            ("http://127.0.0.1", Some("x.pem"), "--ca is for https"),
            ("https://127.0.0.1", Some("/nowhere/x.pem"), "/nowhere/x.pem"),
            ("https://127.0.0.1", Some("/dev/null"), "no certificate"),
        ] {
            let made = Client::new(server, ca.map(Path::new), || Ok("token".into()));
            let error = made.err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(expected), "{server}: {error}");
        }
    }
}
