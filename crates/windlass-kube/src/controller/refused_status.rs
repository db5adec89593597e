//! Which answers of the API server refuse an object, and which only say that it is in trouble itself.

use kube::core::Status;

/// What is said where it has not answered in time whether it will create an object.
pub(super) const NO_ANSWER: &str =
    "the API server did not answer in time: an admission webhook may be slow";

/// Whether the API server will not create an object, by a rule, a quota, a right that is missing or a webhook.
pub(super) fn is_refusal(status: &Status) -> bool {
    matches!(status.code, 400 | 403 | 422) || is_a_webhooks(status)
}

/// Whether somebody's admission webhook cannot be asked, which the API server says as an error of its own.
fn is_a_webhooks(status: &Status) -> bool {
    status.code == 500 && status.message.contains("failed calling webhook")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_server_that_is_in_trouble_itself_refuses_nothing() {
        let table = [
            (500, "failed calling webhook \"w\": timeout", true),
            (500, "etcdserver: request timed out", false),
            (503, "failed calling webhook", false),
            (403, "exceeded quota", true),
            (409, "already exists", false),
        ];
        for (code, message, expected) in table {
            let status = Status { code, ..Status::failure(message, "InternalError") };
            assert_eq!(is_refusal(&status), expected, "{code} {message}");
        }
    }
}
