//! The kinds of problem documents (RFC 9457): every way in which the gateway says no.

use http::StatusCode;

/// Every way in which the gateway says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The body is no JSON.
    Malformed,
    /// A query parameter is unknown or has a wrong value.
    Query,
    /// The `Idempotency-Key` is empty, too long, or has other than visible ASCII characters.
    Key,
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
    /// Another request had the same `Idempotency-Key`.
    KeyReused,
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
    /// The function of a call refuses its input; `failure` says why.
    InputRefused,
    /// The job of a call was cancelled.
    Cancelled,
    /// The job of a call failed; `failure` says why.
    FunctionFailed,
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
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Malformed,
        Self::Query,
        Self::Key,
        Self::Unannounced,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Origin,
        Self::NotFound,
        Self::Method,
        Self::Slow,
        Self::Conflict,
        Self::KeyReused,
        Self::Refused,
        Self::TooLarge,
        Self::MediaType,
        Self::Range,
        Self::Host,
        Self::Invalid,
        Self::InputRefused,
        Self::Cancelled,
        Self::FunctionFailed,
        Self::Internal,
        Self::Busy,
        Self::Rate,
        Self::Unavailable,
        Self::Deadline,
    ];

    /// Its `type`, title and status.
    pub fn describe(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Malformed => ("/problems/malformed", "Malformed JSON", StatusCode::BAD_REQUEST),
            Self::Query => ("/problems/query", "Wrong query", StatusCode::BAD_REQUEST),
            Self::Key => {
                ("/problems/idempotency-key", "Wrong Idempotency-Key", StatusCode::BAD_REQUEST)
            }
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
            Self::KeyReused => (
                "/problems/idempotency-key-reused",
                "Idempotency-Key of another request",
                StatusCode::CONFLICT,
            ),
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
            Self::InputRefused => (
                "/problems/input-refused",
                "The function refuses its input",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::Cancelled => ("/problems/cancelled", "Cancelled", StatusCode::CONFLICT),
            // The gateway is well, what it stands in front of gave no answer.
            Self::FunctionFailed => {
                ("/problems/function-failed", "The function failed", StatusCode::BAD_GATEWAY)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_listed_and_has_a_type_of_its_own() {
        let types: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.describe().0).collect();
        assert_eq!(types.len(), Kind::ALL.len());
        // `Deadline` is the last of the enum: a further kind belongs into the list.
        assert_eq!(Kind::ALL.len(), Kind::Deadline as usize + 1);
        for kind in types {
            let name = kind.strip_prefix("/problems/").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{kind}");
        }
    }
}
