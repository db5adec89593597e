//! From the client's errors to core's kinds, in one place.

use std::future::Future;
use std::time::Duration;

use kube::core::Status;
use windlass_core::{Error, Problem};

/// Longest time that one call to the API server may take.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// Bounds a call in time. When the time is over, whether it had an effect is unknown.
pub(crate) async fn within_deadline<T>(call: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(CALL_DEADLINE, call)
        .await
        .map_err(|_| Error::unavailable("the API server did not answer in time"))
}

/// Makes a call that is bounded in time. When the time is over, whether the call had an effect is unknown.
pub(crate) async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    within_deadline(call).await?.map_err(from_kube)
}

/// The same for what is in no namespace. Who has rights in one namespace alone sees what that has, and so does everybody on a
/// cluster whose definitions are of an earlier version: they get nothing.
pub(crate) async fn call_where_permitted<T>(
    call: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, Error> {
    match within_deadline(call).await? {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_status(&error, 404) => Ok(None),
        Err(error) => match from_kube(error) {
            Error::Denied(_) => Ok(None),
            error => Err(error),
        },
    }
}

/// Whether the API server answered with this status code.
pub(crate) fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Whether a refusal says that a quota of the namespace is used up: no code of its own says so.
pub(crate) fn exceeds_quota(message: &str) -> bool {
    message.contains("exceeded quota")
}

/// Whether a refusal is for want of a right, and not by a quota or a policy: no code of its own says so.
fn lacks_a_right(message: &str) -> bool {
    message.contains("User \"") && message.contains(" cannot ")
}

/// The kind of an error of the client.
pub(crate) fn from_kube(error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => from_status(&status),
        error @ (kube::Error::SerdeError(_) | kube::Error::BuildRequest(_)) => {
            Error::Bug(error.to_string())
        }
        error => Error::unavailable(format!("the API server cannot be reached: {error}")),
    }
}

fn from_status(status: &Status) -> Error {
    let message = status.message.clone();
    match status.code {
        // What is not there has this reason. A kind that nobody has installed is no object that is missing.
        404 if status.reason != "NotFound" => Error::unavailable(format!(
            "the API server does not serve such objects: are the CRDs of Windlass installed? It says: {}",
            message.trim()
        )),
        404 => Error::NotFound {
            kind: "ComputeJob",
            name: status.details.as_ref().map(|details| details.name.clone()).unwrap_or_default(),
        },
        409 => Error::Conflict(message),
        // 410 is a page's token that is too old.
        400 | 410 | 422 => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            let mut problems: Vec<_> = causes
                .map(|cause| Problem::at(pointer(&cause.field), cause.message.clone()))
                .collect();
            if problems.is_empty() {
                problems.push(Problem::at("", message));
            }
            Error::Invalid(problems)
        }
        403 if !lacks_a_right(&message) => Error::Refused(message),
        401 | 403 => Error::Denied(format!("the API server refused: {message}")),
        429 | 500..=599 => Error::unavailable(message),
        _ => Error::Bug(format!("the API server refused: {message}")),
    }
}

/// `spec.parallelism`, as the API server writes it, as a pointer into what the caller sent.
fn pointer(field: &str) -> String {
    let field = field.strip_prefix("spec.").unwrap_or(field);
    format!("/{}", field.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An API server answers so for each path that it does not serve.
    #[test]
    fn a_kind_that_is_not_installed_is_no_object_that_is_missing() {
        let unparsed = Status::failure("404 page not found\n", "Failed to parse error data");
        let error = from_status(&unparsed.with_code(404));
        assert!(
            matches!(&error, Error::Unavailable { .. }) && error.to_string().contains("CRDs"),
            "{error:?}"
        );
        let missing = Status::failure("computejobs.windlass.dev \"a\" not found", "NotFound");
        assert!(matches!(from_status(&missing.with_code(404)), Error::NotFound { .. }));
    }

    #[test]
    fn a_quota_or_a_policy_refuses_and_a_missing_right_denies() {
        let of = |message: &str| {
            let status = Status::failure(message, "Forbidden");
            from_kube(kube::Error::Api(Box::new(Status { code: 403, ..status })))
        };
        for message in [
            "computejobs.windlass.dev \"a\" is forbidden: exceeded quota: q, requested: \
             count/computejobs.windlass.dev=1, used: count/computejobs.windlass.dev=5, limited: 5",
            "admission webhook \"policy\" denied the request: no jobs on Sundays",
        ] {
            let error = of(message);
            assert!(matches!(&error, Error::Refused(words) if words == message), "{error:?}");
        }
        let right = "computejobs.windlass.dev is forbidden: User \"system:serviceaccount:w:g\" \
                     cannot create resource \"computejobs\" in API group \"windlass.dev\"";
        assert!(matches!(of(right), Error::Denied(_)));
    }
}
