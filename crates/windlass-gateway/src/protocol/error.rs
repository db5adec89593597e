//! An error as the caller gets it: a problem document (RFC 9457) with its status and headers.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use windlass_core::jobs::{Denied, ReportError};
use windlass_core::parse::Unread;
use windlass_core::report::ReportRefusal;
use windlass_core::status::{Failure, FailureReason};
use windlass_core::{Error, Job, Phase, Problem};

use super::problem::ProblemKind;

/// When to try again, where there is no better estimate.
const PAUSE: Duration = Duration::from_secs(1);

/// Most problems listed in one document; the rest is counted.
const MAX_PROBLEMS: usize = 64;

/// An error that answers a request.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    kind: ProblemKind,
    detail: String,
    problems: Vec<Problem>,
    reason: Option<ReportRefusal>,
    /// Why a job has no result, and which.
    failure: Option<Box<Failure>>,
    instance: Option<String>,
    retry_after: Option<Duration>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl ApiError {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            problems: Vec::new(),
            reason: None,
            failure: None,
            instance: None,
            retry_after: None,
            header: None,
        }
    }

    pub(crate) fn invalid(mut problems: Vec<Problem>) -> Self {
        let found = problems.len();
        if found > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            problems.push(Problem::at("", format!("and {} more", found - MAX_PROBLEMS)));
        }
        let detail = match found {
            1 => "1 problem was found".to_owned(),
            n => format!("{n} problems were found"),
        };
        Self { problems, ..Self::new(ProblemKind::Invalid, detail) }
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(ProblemKind::NotFound, "there is no such path")
    }

    /// With a time to come back.
    pub(crate) fn retry_later(
        kind: ProblemKind,
        detail: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(kind, detail) }
    }

    pub(crate) fn internal() -> Self {
        Self::new(ProblemKind::Internal, "the server's log says more")
    }

    pub(crate) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::retry_later(ProblemKind::Unavailable, message, retry_after)
    }

    pub(crate) fn report_refused(reason: ReportRefusal) -> Self {
        Self { reason: Some(reason), ..Self::new(ProblemKind::Refused, reason.to_string()) }
    }

    /// For a job that has ended without a result; `instance` is where it is.
    pub(crate) fn without_result(job: &Job, instance: String) -> Self {
        let failure = job.status.failure.clone();
        let (kind, detail) = match (job.status.phase, &failure) {
            (Some(Phase::Cancelled), _) => {
                (ProblemKind::Cancelled, "the job was cancelled".to_owned())
            }
            (_, Some(failure)) => {
                let kind = match failure.reason {
                    FailureReason::BadInput | FailureReason::Invalid => ProblemKind::InputRefused,
                    _ => ProblemKind::FunctionFailed,
                };
                (kind, format!("the job has failed: {}", failure.reason.as_str()))
            }
            (_, None) => (ProblemKind::FunctionFailed, "the job has failed".to_owned()),
        };
        let failure = failure.filter(|_| kind != ProblemKind::Cancelled).map(Box::new);
        Self { failure, instance: Some(instance), ..Self::new(kind, detail) }
    }

    /// What to do about it, if it is of this kind.
    pub(crate) fn with_advice(mut self, kind: ProblemKind, advice: &str) -> Self {
        if self.kind == kind {
            self.detail = format!("{}; {advice}", self.detail);
        }
        self
    }

    /// About the job at this path.
    pub(crate) fn with_instance(mut self, instance: String) -> Self {
        self.instance = Some(instance);
        self
    }

    /// What is wrong at this place of the document, if anything is.
    pub(crate) fn problem_at(&self, pointer: &str) -> Option<String> {
        let mut found = self.problems.iter().filter(|problem| problem.pointer == pointer);
        found.next().map(|problem| problem.message.clone())
    }

    /// The same with other words for its problems.
    pub(crate) fn with_problems(mut self, words: impl Fn(Problem) -> Problem) -> Self {
        self.problems = self.problems.into_iter().map(words).collect();
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The document as JSON.
    pub(crate) fn to_json(&self) -> String {
        let (kind, title, status) = self.kind.describe();
        let document = ProblemDocument {
            kind,
            title,
            status: status.as_u16(),
            detail: &self.detail,
            problems: &self.problems,
            reason: self.reason,
            failure: self.failure.as_deref(),
            instance: self.instance.as_deref(),
        };
        // Strings, numbers and lists of them always serialize.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

/// Why a request was refused: a problem document (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProblemDocument")]
pub(crate) struct ProblemDocument<'a> {
    /// The kind of the problem. These are stable: a program may tell them apart.
    #[serde(rename = "type")]
    #[schemars(schema_with = "types")]
    kind: &'static str,
    /// The kind, for a person.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong this time, for a person.
    detail: &'a str,
    /// Every place in the body that is wrong, when the type is `/problems/invalid`.
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    problems: &'a [Problem],
    /// Why a worker's report changes nothing, when the type is `/problems/refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReportRefusal>,
    /// Why the job of a call has no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    /// Path of that job.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
}

fn types(_: &mut SchemaGenerator) -> Schema {
    let types: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.describe().0).collect();
    json_schema!({ "type": "string", "format": "uri-reference", "enum": types })
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (_, _, status) = self.kind.describe();
        let mut response = (status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == ProblemKind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.kind, ProblemKind::TooLarge | ProblemKind::Slow) {
            // The rest of the body is not read: the connection is of no more use.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let comes_back =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(after) = self.retry_after.or(comes_back.then_some(PAUSE)) {
            // Whole seconds, rounded up, and never "at once".
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(header) = self.header {
            headers.insert(header.0, header.1);
        }
        response
    }
}

/// The one place where a kind of error becomes a status.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(problems) => Self::invalid(problems),
            Error::NotFound { .. } => Self::new(ProblemKind::NotFound, error.to_string()),
            Error::Gone(detail) => Self::new(ProblemKind::Gone, detail),
            Error::Conflict(detail) => Self::new(ProblemKind::Conflict, detail),
            Error::Busy { message, retry_after } => {
                Self::retry_later(ProblemKind::Busy, message, retry_after)
            }
            Error::Unavailable { message, retry_after } => Self::unavailable(message, retry_after),
            Error::Refused(detail) => Self::new(ProblemKind::Forbidden, detail),
            Error::Bug(text) | Error::Denied(text) => {
                tracing::error!(bug = %text, "internal error");
                Self::internal()
            }
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated => Self::new(ProblemKind::Unauthenticated, denied.to_string()),
            Denied::Forbidden(_) | Denied::NoMetrics | Denied::NotAdmin => {
                Self::new(ProblemKind::Forbidden, denied.to_string())
            }
            Denied::Unavailable { message, retry_after } => Self::unavailable(message, retry_after),
        }
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Denied(denied) => denied.into(),
            ReportError::Failed(error) => error.into(),
        }
    }
}

impl From<Unread> for ApiError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Malformed(why) => Self::new(ProblemKind::Malformed, why),
            Unread::Misshapen(problems) => Self::invalid(problems),
        }
    }
}
