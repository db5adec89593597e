//! The kinds of problem documents (RFC 9457): every way in which the gateway says no.

use http::StatusCode;

/// Makes the enum, the list of all kinds and their descriptions from one table of rows: variant,
/// status, `type`, title.
macro_rules! problem_kinds {
    ($($(#[$doc:meta])* $kind:ident $status:ident $type:literal $title:literal;)*) => {
        /// Every way in which the gateway says no.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum ProblemKind {
            $($(#[$doc])* $kind,)*
        }

        impl ProblemKind {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its `type`, title and status.
            pub(crate) fn describe(self) -> (&'static str, &'static str, StatusCode) {
                match self {
                    $(Self::$kind => ($type, $title, StatusCode::$status),)*
                }
            }
        }
    };
}

problem_kinds! {
    /// The body is no JSON.
    Malformed BAD_REQUEST "/problems/malformed" "Malformed JSON";
    /// A query parameter is unknown or has a wrong value.
    Query BAD_REQUEST "/problems/query" "Wrong query";
    /// The `Idempotency-Key` is empty, too long, or has other than visible ASCII characters.
    Key BAD_REQUEST "/problems/idempotency-key" "Wrong Idempotency-Key";
    /// The head of an upload does not say how long it is or what its digest is.
    Unannounced BAD_REQUEST "/problems/unannounced" "Length or digest missing";
    /// No token, or one that is not known.
    Unauthenticated UNAUTHORIZED "/problems/unauthenticated" "Not authenticated";
    /// The caller may read here, but not do this.
    Forbidden FORBIDDEN "/problems/forbidden" "Not allowed";
    /// The request comes from a page of another origin.
    Origin FORBIDDEN "/problems/origin" "Foreign origin";
    /// It does not exist, or the caller may not know that it does.
    NotFound NOT_FOUND "/problems/not-found" "Not found";
    /// It was there, or would have been, and will not come back.
    Gone GONE "/problems/gone" "Gone";
    /// The path exists, the method does not.
    Method METHOD_NOT_ALLOWED "/problems/method" "Method not allowed";
    /// The body did not arrive in time.
    Slow REQUEST_TIMEOUT "/problems/slow" "Body too slow";
    /// It exists already, or its state does not allow this.
    Conflict CONFLICT "/problems/conflict" "Conflict";
    /// Another request had the same `Idempotency-Key`.
    KeyReused CONFLICT "/problems/idempotency-key-reused" "Idempotency-Key of another request";
    /// A worker's report changes nothing; `reason` says why.
    Refused CONFLICT "/problems/refused" "Report refused";
    /// The body or the input is too large.
    TooLarge PAYLOAD_TOO_LARGE "/problems/too-large" "Too large";
    /// The body is of a media type that is not taken here, or compressed.
    MediaType UNSUPPORTED_MEDIA_TYPE "/problems/media-type" "Media type not taken";
    /// The range is outside of the result.
    Range RANGE_NOT_SATISFIABLE "/problems/range" "Range outside of the result";
    /// The `Host` is not one of this server.
    Host MISDIRECTED_REQUEST "/problems/host" "Unknown host";
    /// The document is wrong; `problems` says where.
    Invalid UNPROCESSABLE_ENTITY "/problems/invalid" "Invalid request";
    /// The function of a call refuses its input; `failure` says why.
    InputRefused UNPROCESSABLE_ENTITY "/problems/input-refused" "The function refuses its input";
    /// The job of a call was cancelled.
    Cancelled CONFLICT "/problems/cancelled" "Cancelled";
    /// The job of a call failed; `failure` says why.
    // 502: the gateway is well, what it stands in front of gave no answer.
    FunctionFailed BAD_GATEWAY "/problems/function-failed" "The function failed";
    /// A defect of Windlass.
    Internal INTERNAL_SERVER_ERROR "/problems/internal" "Internal error";
    /// There is too much to do already; `Retry-After` estimates when there may be room.
    Busy TOO_MANY_REQUESTS "/problems/busy" "Too many requests";
    /// The caller, or an address of many bad tokens, sends more than it may; `Retry-After` says when
    /// the next request is let through.
    Rate TOO_MANY_REQUESTS "/problems/rate" "Too many requests of a caller";
    /// A part that is needed does not answer now; `Retry-After` says when to try again.
    Unavailable SERVICE_UNAVAILABLE "/problems/unavailable" "Unavailable";
    /// The back end did not answer in time. Whether it did what was asked is not known.
    Deadline GATEWAY_TIMEOUT "/problems/deadline" "No answer in time";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_listed_and_has_a_type_of_its_own() {
        let types: BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.describe().0).collect();
        assert_eq!(types.len(), ProblemKind::ALL.len());
        // `Deadline` is the last of the enum: a further kind belongs into the list.
        assert_eq!(ProblemKind::ALL.len(), ProblemKind::Deadline as usize + 1);
        for kind in types {
            let name = kind.strip_prefix("/problems/").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{kind}");
        }
    }
}
