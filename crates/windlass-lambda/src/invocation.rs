//! One event for the program, and what it answers.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

/// A job, as the program gets it.
pub(crate) struct Invocation {
    pub(crate) id: String,
    pub(crate) event: Bytes,
    pub(crate) content_type: String,
    pub(crate) deadline: Option<Timestamp>,
    /// In the form of X-Ray.
    pub(crate) trace: Option<String>,
}

/// How an invocation has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Response(Bytes),
    Failure(Failure),
}

/// The body of an error, as the runtime API defines it. Whatever is missing is empty.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Failure {
    pub(crate) error_type: String,
    pub(crate) error_message: String,
}

impl Failure {
    /// From the body, else from the header.
    pub(crate) fn read(body: &[u8], header: Option<&str>) -> Self {
        let mut failure: Self = serde_json::from_slice(body).unwrap_or_else(|_| Self {
            error_message: String::from_utf8_lossy(body).into_owned(),
            ..Self::default()
        });
        if failure.error_type.is_empty() {
            failure.error_type = header.unwrap_or("Unhandled").to_owned();
        }
        failure
    }

    /// Whether the function has raised it, and would again. As on Lambda, whoever waits for an answer gets the error and
    /// no other attempt; but types that begin with `Runtime.` are of the runtime itself, such as a lack of memory.
    pub(crate) fn is_of_the_function(&self) -> bool {
        !self.error_type.starts_with("Runtime.")
    }

    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.error_type, self.error_message)
    }
}

/// The trace header of X-Ray from that of W3C: the same trace and parent.
pub(crate) fn x_ray(traceparent: &str) -> Option<String> {
    let mut parts = traceparent.split('-');
    let (_, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (time, rest) = trace.split_at_checked(8).filter(|_| trace.len() == 32)?;
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1;
    Some(format!("Root=1-{time}-{rest};Parent={parent};Sampled={sampled}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_of_the_function_unless_it_is_the_runtimes() {
        let failure = Failure::read(br#"{"errorMessage":"no","errorType":"ValueError"}"#, None);
        assert!(failure.is_of_the_function());
        assert_eq!(failure.text(), "ValueError: no");
        let failure = Failure::read(b"{}", Some("Runtime.OutOfMemory"));
        assert!(!failure.is_of_the_function());
        assert_eq!(Failure::read(b"plain", None).text(), "Unhandled: plain");
    }

    #[test]
    fn a_trace_is_the_same_in_both_forms() {
        let told = x_ray("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let expected = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1";
        assert_eq!(told.as_deref(), Some(expected));
        assert_eq!(x_ray("00-short-00f067aa0ba902b7-01"), None);
        assert_eq!(x_ray(""), None);
    }
}
