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
    /// A part that is needed does not answer now; `Retry-After` says when to try again.
    Unavailable,
    /// The world did not answer in time. Whether it did what was asked is not known.
    Deadline,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Malformed,
        Self::Query,
        Self::Unannounced,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Origin,
        Self::NotFound,
        Self::Method,
        Self::Slow,
        Self::Conflict,
        Self::Refused,
        Self::TooLarge,
        Self::MediaType,
        Self::Range,
        Self::Host,
        Self::Invalid,
        Self::Internal,
        Self::Busy,
        Self::Unavailable,
        Self::Deadline,
    ];

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
    use super::*;

    #[test]
    fn every_kind_is_in_the_list_once_and_has_a_type_of_its_own() {
        for kind in Kind::ALL {
            // A new kind does not compile here: it belongs into the list, too.
            match kind {
                Kind::Malformed | Kind::Query | Kind::Unannounced | Kind::Unauthenticated => {}
                Kind::Forbidden | Kind::Origin | Kind::NotFound | Kind::Method | Kind::Slow => {}
                Kind::Conflict | Kind::Refused | Kind::TooLarge | Kind::MediaType => {}
                Kind::Range | Kind::Host | Kind::Invalid | Kind::Internal | Kind::Busy => {}
                Kind::Unavailable | Kind::Deadline => {}
            }
        }
        let mut types: Vec<_> = Kind::ALL.iter().map(|kind| kind.describe().0).collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), Kind::ALL.len());
    }
}
