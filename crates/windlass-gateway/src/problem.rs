//! Saying no: problem documents (RFC 9457).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use windlass_core::jobs::{Denied, ReportError};
use windlass_core::parse::Unread;
use windlass_core::report::Refused;
use windlass_core::{Error, Problem};

/// Most problems listed in one document; the rest is counted.
const MAX_PROBLEMS: usize = 64;

/// Every way in which the gateway says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The body is no JSON.
    Malformed,
    /// A query parameter is unknown or has a wrong value.
    Query,
    /// No token, or one that is not known.
    Unauthenticated,
    /// The caller may read here, but not do this.
    Forbidden,
    /// The request comes from a page of another origin.
    Origin,
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The path exists, the method does not.
    Method,
    /// The body did not arrive in time.
    Slow,
    /// It exists already, or its state does not allow this.
    Conflict,
    /// A worker's report changes nothing; `reason` says why.
    Refused,
    /// The body or the input is too large.
    TooLarge,
    /// The body is not `application/json` as it is.
    MediaType,
    /// The range is outside of the result.
    Range,
    /// The `Host` is not one of this server.
    Host,
    /// The document is wrong; `problems` says where.
    Invalid,
    /// A defect of Windlass.
    Internal,
    /// A part that is needed does not answer now; `Retry-After` says when to try again.
    Unavailable,
    /// The world did not answer in time. Whether it did what was asked is not known.
    Deadline,
}

impl Kind {
    /// Its `type`, title and status.
    pub fn describe(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Malformed => (
                "/problems/malformed",
                "Malformed JSON",
                StatusCode::BAD_REQUEST,
            ),
            Self::Query => ("/problems/query", "Wrong query", StatusCode::BAD_REQUEST),
            Self::Unauthenticated => (
                "/problems/unauthenticated",
                "Not authenticated",
                StatusCode::UNAUTHORIZED,
            ),
            Self::Forbidden => ("/problems/forbidden", "Not allowed", StatusCode::FORBIDDEN),
            Self::Origin => ("/problems/origin", "Foreign origin", StatusCode::FORBIDDEN),
            Self::NotFound => ("/problems/not-found", "Not found", StatusCode::NOT_FOUND),
            Self::Method => (
                "/problems/method",
                "Method not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::Slow => (
                "/problems/slow",
                "Body too slow",
                StatusCode::REQUEST_TIMEOUT,
            ),
            Self::Conflict => ("/problems/conflict", "Conflict", StatusCode::CONFLICT),
            Self::Refused => ("/problems/refused", "Report refused", StatusCode::CONFLICT),
            Self::TooLarge => (
                "/problems/too-large",
                "Too large",
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            Self::MediaType => (
                "/problems/media-type",
                "Not application/json",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::Range => (
                "/problems/range",
                "Range outside of the result",
                StatusCode::RANGE_NOT_SATISFIABLE,
            ),
            Self::Host => (
                "/problems/host",
                "Unknown host",
                StatusCode::MISDIRECTED_REQUEST,
            ),
            Self::Invalid => (
                "/problems/invalid",
                "Invalid request",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::Internal => (
                "/problems/internal",
                "Internal error",
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::Unavailable => (
                "/problems/unavailable",
                "Unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            Self::Deadline => (
                "/problems/deadline",
                "No answer in time",
                StatusCode::GATEWAY_TIMEOUT,
            ),
        }
    }
}

/// One refusal, as its document shows it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    kind: Kind,
    detail: String,
    problems: Vec<Problem>,
    reason: Option<Refused>,
    retry_after: Option<Duration>,
    extra: Option<(header::HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            problems: Vec::new(),
            reason: None,
            retry_after: None,
            extra: None,
        }
    }

    pub(crate) fn invalid(mut problems: Vec<Problem>) -> Self {
        let found = problems.len();
        if found > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            problems.push(Problem::at(
                "",
                format!("and {} more", found - MAX_PROBLEMS),
            ));
        }
        let detail = match found {
            1 => "1 problem was found; nothing was created".to_owned(),
            n => format!("{n} problems were found; nothing was created"),
        };
        Self {
            problems,
            ..Self::new(Kind::Invalid, detail)
        }
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(Kind::NotFound, "there is no such path")
    }

    pub(crate) fn internal() -> Self {
        Self::new(Kind::Internal, "the server's log says more")
    }

    pub(crate) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Kind::Unavailable, message)
        }
    }

    pub(crate) fn refused(reason: Refused) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(Kind::Refused, reason.to_string())
        }
    }

    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.extra = Some((name, value));
        self
    }

    /// The document as JSON.
    pub(crate) fn document(&self) -> String {
        let (kind, title, status) = self.kind.describe();
        let document = Document {
            kind,
            title,
            status: status.as_u16(),
            detail: &self.detail,
            problems: &self.problems,
            reason: self.reason,
        };
        // Strings, numbers and lists of them always serialize.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Refused>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (_, _, status) = self.kind.describe();
        let mut response = (status, self.document()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.kind, Kind::TooLarge | Kind::Slow) {
            // The rest of the body is not read: the connection is of no more use.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up, and never "at once".
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some((name, value)) = self.extra {
            headers.insert(name, value);
        }
        response
    }
}

/// The one place where a kind of error becomes a status.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(problems) => Self::invalid(problems),
            Error::NotFound { .. } => Self::new(Kind::NotFound, error.to_string()),
            Error::Conflict(detail) => Self::new(Kind::Conflict, detail),
            Error::Unavailable {
                message,
                retry_after,
            } => Self::unavailable(message, retry_after),
            Error::Bug(text) => {
                tracing::error!(bug = %text, "internal error");
                Self::internal()
            }
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated => Self::new(Kind::Unauthenticated, denied.to_string()),
            Denied::Forbidden(_) => Self::new(Kind::Forbidden, denied.to_string()),
            Denied::Unavailable {
                message,
                retry_after,
            } => Self::unavailable(message, retry_after),
        }
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Denied(denied) => denied.into(),
            ReportError::Failed(error) => error.into(),
        }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Malformed(why) => Self::new(Kind::Malformed, why),
            Unread::Misshapen(problems) => Self::invalid(problems),
        }
    }
}
