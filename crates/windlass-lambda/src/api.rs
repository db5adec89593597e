//! The runtime API: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::environment;
use crate::invocation::{Failure, Invocation, Outcome};

/// Longest response, and longest error: 6 MiB and a little, as on Lambda.
const MAX_BODY_BYTES: usize = (6 << 20) + 100;

/// Longest response that is streamed. All of it is held in memory.
const MAX_STREAMED_BYTES: usize = 200 << 20;

const ERROR_TYPE: &str = "Lambda-Runtime-Function-Error-Type";

/// What the program has asked or answered.
pub(crate) enum Event {
    /// It waits for an event.
    Asked,
    Answered(Outcome),
    /// It cannot initialize.
    InitFailed(Failure),
}

/// What the handlers share.
pub(crate) struct Api {
    invocations: AsyncMutex<mpsc::Receiver<Invocation>>,
    events: mpsc::UnboundedSender<Event>,
    /// The invocation that the program has.
    current: Mutex<Option<String>>,
}

impl Api {
    pub(crate) fn new(
        invocations: mpsc::Receiver<Invocation>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self { invocations: AsyncMutex::new(invocations), events, current: Mutex::default() }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(Arc::new(self))
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the program may answer for this invocation.
    fn check(&self, id: &str) -> Result<(), Refusal> {
        match self.current().as_deref() {
            Some(current) if current == id => Ok(()),
            Some(_) => {
                Err(refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"))
            }
            None => Err(invalid_state()),
        }
    }

    fn answer(&self, id: &str, outcome: Outcome) -> Result<(), Refusal> {
        self.check(id)?;
        *self.current() = None;
        self.send(Event::Answered(outcome));
        Ok(())
    }

    fn send(&self, event: Event) {
        // Nobody hears it when the process is about to end.
        self.events.send(event).unwrap_or_default();
    }
}

async fn next(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    if api.current().is_some() {
        return Err(invalid_state());
    }
    api.send(Event::Asked);
    let invocation = api.invocations.lock().await.recv().await.ok_or_else(|| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        refusal(status, "Container.Ends", "There is no other event")
    })?;
    *api.current() = Some(invocation.id.clone());
    // A program without a deadline, such as one that is run by hand, has a day.
    let deadline = invocation.deadline.unwrap_or_else(|| Timestamp::now() + 24.hours());
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", Some(invocation.content_type)),
        ("lambda-runtime-aws-request-id", Some(invocation.id)),
        ("lambda-runtime-deadline-ms", Some(deadline.as_millisecond().to_string())),
        ("lambda-runtime-invoked-function-arn", Some(environment::arn())),
        ("lambda-runtime-trace-id", invocation.trace),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    Ok((headers, invocation.event).into_response())
}

async fn response(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mode = header(&headers, "Lambda-Runtime-Function-Response-Mode");
    let most = if mode == Some("streaming") { MAX_STREAMED_BYTES } else { MAX_BODY_BYTES };
    let outcome = match read(body, most).await {
        Ok((bytes, trailers)) => match header(&trailers, ERROR_TYPE) {
            None => Outcome::Response(bytes),
            // It failed in the middle of its stream.
            Some(kind) => {
                let body = header(&trailers, "Lambda-Runtime-Function-Error-Body");
                let body = body.and_then(|body| BASE64_STANDARD.decode(body).ok());
                Outcome::Failure(Failure::read(&body.unwrap_or_default(), Some(kind)))
            }
        },
        Err(unread) => {
            let message = format!("Exceeded maximum allowed payload size ({most} bytes).");
            if matches!(unread, Unread::TooLong) {
                let error_type = "Function.ResponseSizeTooLarge".into();
                let failure = Failure { error_type, error_message: message.clone() };
                api.answer(&id, Outcome::Failure(failure))?;
            }
            return Err(unread.refusal(&message));
        }
    };
    api.answer(&id, outcome)?;
    Ok(accepted())
}

async fn error(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let failure = failure(&headers, body).await?;
    api.answer(&id, Outcome::Failure(failure))?;
    Ok(accepted())
}

async fn init_error(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let failure = failure(&headers, body).await;
    if api.current().is_some() {
        return Err(invalid_state());
    }
    api.send(Event::InitFailed(failure?));
    Ok(accepted())
}

async fn failure(headers: &HeaderMap, body: Body) -> Result<Failure, Refusal> {
    match read(body, MAX_BODY_BYTES).await {
        Ok((body, _)) => Ok(Failure::read(&body, header(headers, ERROR_TYPE))),
        Err(unread) => Err(unread.refusal(&format!("More than {MAX_BODY_BYTES} bytes"))),
    }
}

/// Why a body was not read to its end.
enum Unread {
    TooLong,
    Broken(String),
}

impl Unread {
    /// What the program is told, with this message where it has said too much.
    fn refusal(&self, too_long: &str) -> Refusal {
        match self {
            Self::TooLong => {
                refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", too_long)
            }
            Self::Broken(why) => refusal(StatusCode::BAD_REQUEST, "InvalidBody", why),
        }
    }
}

/// Reads to the end also what is then refused: a program that still writes would see a broken connection.
async fn read(mut body: Body, most: usize) -> Result<(Bytes, HeaderMap), Unread> {
    let (mut bytes, mut trailers, mut length) = (Vec::new(), HeaderMap::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unread::Broken(error.to_string()))?;
        match frame.into_data() {
            Ok(data) => {
                length += data.len();
                if length <= most {
                    bytes.extend_from_slice(&data);
                } else if length > MAX_STREAMED_BYTES {
                    break;
                }
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    if length > most { Err(Unread::TooLong) } else { Ok((bytes.into(), trailers)) }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()
}

/// Why the program is refused what it asks.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errorType": self.kind, "errorMessage": self.message });
        (self.status, Json(body)).into_response()
    }
}

fn invalid_state() -> Refusal {
    refusal(StatusCode::FORBIDDEN, "InvalidStateTransition", "State transition is not allowed")
}

fn refusal(status: StatusCode, kind: &'static str, message: &str) -> Refusal {
    Refusal { status, kind, message: message.to_owned() }
}
