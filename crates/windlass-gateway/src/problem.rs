//! The kinds of problem documents (RFC 9457): every way in which the gateway says no.

use http::StatusCode;

/// Every way in which the gateway says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The body is no JSON.
    Malformed,
    /// A query parameter is unknown or has a wrong value.
    Query,
    /// The head of an upload does not say how long it is or what its digest is.
    Unannounced,
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
    /// There is too much to do already; `Retry-After` estimates when there may be room.
    Busy,
    /// The caller, or an address of many bad tokens, sends more than it may; `Retry-After` says when
    /// the next request is let through.
    Rate,
    /// A part that is needed does not answer now; `Retry-After` says when to try again.
    Unavailable,
    /// The world did not answer in time. Whether it did what was asked is not known.
    Deadline,
}

impl Kind {
    /// Its `type`, title and status.
    pub fn describe(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Malformed => ("/problems/malformed", "Malformed JSON", StatusCode::BAD_REQUEST),
            Self::Query => ("/problems/query", "Wrong query", StatusCode::BAD_REQUEST),
            Self::Unannounced => {
                ("/problems/unannounced", "Length or digest missing", StatusCode::BAD_REQUEST)
            }
            Self::Unauthenticated => {
                ("/problems/unauthenticated", "Not authenticated", StatusCode::UNAUTHORIZED)
            }
            Self::Forbidden => ("/problems/forbidden", "Not allowed", StatusCode::FORBIDDEN),
            Self::Origin => ("/problems/origin", "Foreign origin", StatusCode::FORBIDDEN),
            Self::NotFound => ("/problems/not-found", "Not found", StatusCode::NOT_FOUND),
            Self::Method => {
                ("/problems/method", "Method not allowed", StatusCode::METHOD_NOT_ALLOWED)
            }
            Self::Slow => ("/problems/slow", "Body too slow", StatusCode::REQUEST_TIMEOUT),
            Self::Conflict => ("/problems/conflict", "Conflict", StatusCode::CONFLICT),
            Self::Refused => ("/problems/refused", "Report refused", StatusCode::CONFLICT),
            Self::TooLarge => ("/problems/too-large", "Too large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::MediaType => {
                ("/problems/media-type", "Not application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::Range => (
                "/problems/range",
                "Range outside of the result",
                StatusCode::RANGE_NOT_SATISFIABLE,
            ),
            Self::Host => ("/problems/host", "Unknown host", StatusCode::MISDIRECTED_REQUEST),
            Self::Invalid => {
                ("/problems/invalid", "Invalid request", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::Internal => {
                ("/problems/internal", "Internal error", StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::Busy => ("/problems/busy", "Too many requests", StatusCode::TOO_MANY_REQUESTS),
            Self::Rate => {
                ("/problems/rate", "Too many requests of a caller", StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Unavailable => {
                ("/problems/unavailable", "Unavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Deadline => {
                ("/problems/deadline", "No answer in time", StatusCode::GATEWAY_TIMEOUT)
            }
        }
    }
}
