//! One job for a request that is sent again: the key names the job.
//!
//! A caller who does not know whether a submission arrived sends it again with the same
//! `Idempotency-Key`. The job's name is computed from the key, so what makes it one job is what makes
//! names unique anyway, the API server or the store: nothing else is kept, nothing expires before the
//! job does, and it holds for several gateways and over restarts. A digest of the request stays with
//! the job and tells a repetition from another request under the same key.
//!
//! Deliberately absent: who the caller is. A key belongs to its namespace, as a name does.

use std::fmt;

use serde_json::Value;

use crate::result::sha256;
use crate::{Job, JobSpec};

/// The annotation of a job that was submitted under a key: the digest of the request.
pub const REQUEST_ANNOTATION: &str = "windlass.dev/request-sha256";

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// How long a job that was submitted under a key is kept after its end at least, in seconds: a day.
/// As long its key is known.
pub const KEPT_SECONDS: u32 = 86_400;

/// Hex digits of the key's digest in a name: 160 bits, so that two keys never meet.
const NAME_DIGITS: usize = 40;

/// A key that somebody gave. Has no `Debug` that shows it: who knows it can have the job.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Reads a key: 1 to 255 visible ASCII characters. Otherwise says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.is_empty() {
            return Err("is empty; a key has 1 to 255 visible ASCII characters");
        }
        if bytes.len() > MAX_KEY_BYTES {
            return Err("is longer than 255 characters");
        }
        let visible = bytes.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(bytes) {
            Ok(key) if visible => Ok(Self(key.to_owned())),
            _ => Err("may have only visible ASCII characters"),
        }
    }

    /// The name of its job.
    pub fn job_name(&self) -> String {
        let digest = sha256(self.0.as_bytes());
        format!("key-{}", digest.get(..NAME_DIGITS).unwrap_or(&digest))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The digest of a request: of what it says, not of its white space or the order of its fields. Of
/// what was sent, not of the defaults that a version of Windlass fills in.
pub fn digest(request: &Value) -> String {
    // Maps are sorted by their keys; a JSON value always serializes.
    sha256(&serde_json::to_vec(request).unwrap_or_default())
}

/// Keeps the job of a key for at least a day after its end.
pub fn keep(spec: &mut JobSpec) {
    spec.ttl_seconds_after_finished = spec.ttl_seconds_after_finished.max(KEPT_SECONDS);
}

/// Whether this job, which has the key's name, is the one of the request with this digest.
pub fn is_of_request(job: &Job, request_sha256: &str) -> bool {
    job.metadata.annotations.get(REQUEST_ANNOTATION).is_some_and(|kept| kept == request_sha256)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Metadata, name};

    fn key(text: &str) -> Key {
        Key::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        for good in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"x\"", &"~".repeat(255)] {
            assert!(Key::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "ä", "\u{7f}", &"x".repeat(256)] {
            assert!(Key::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Key::parse(b"\xff").is_err());
    }

    #[test]
    fn a_key_gives_one_name_that_does_not_show_it() {
        let name = key("order-17").job_name();
        assert_eq!(name, key("order-17").job_name());
        assert_ne!(name, key("order-18").job_name());
        assert_ne!(name, key("Order-17").job_name());
        assert_eq!(name::problem(&name), None, "{name}");
        assert!(!name.contains("order") && name.len() == 44, "{name}");
        assert!(!format!("{:?}", key("order-17")).contains("order"));
    }

    #[test]
    fn the_digest_is_of_what_a_request_says() {
        let read = |text: &str| digest(&serde_json::from_str(text).unwrap());
        let one = read(r#"{"function":"f","input":{"a":1,"b":[2,3]}}"#);
        assert_eq!(one, read(" {\n\"input\": {\"b\":[2, 3],\"a\":1}, \"function\":\"f\"} "));
        for other in [
            r#"{"function":"f","input":{"a":1,"b":[3,2]}}"#,
            r#"{"function":"f","input":{"a":1,"b":[2,3]},"priority":1}"#,
            r#"{"function":"g","input":{"a":1,"b":[2,3]}}"#,
        ] {
            assert_ne!(one, read(other), "{other}");
        }
        // It is kept with jobs: another way to compute it would refuse every repetition.
        assert_eq!(read("{}"), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }

    #[test]
    fn a_job_is_of_a_request_only_when_it_says_so() {
        let spec: JobSpec = serde_json::from_value(json!({ "function": "f" })).unwrap();
        let mut job = Job::new(Metadata::default(), spec);
        // Somebody has named a job so, without a key.
        assert!(!is_of_request(&job, "one"));
        job.metadata.annotations.insert(REQUEST_ANNOTATION.into(), "one".into());
        assert!(is_of_request(&job, "one"));
        assert!(!is_of_request(&job, "two"));
    }

    #[test]
    fn the_job_of_a_key_is_kept_for_a_day() {
        let kept = |seconds: u32| {
            let mut spec = JobSpec { ttl_seconds_after_finished: seconds, ..JobSpec::default() };
            keep(&mut spec);
            spec.ttl_seconds_after_finished
        };
        assert_eq!([kept(0), kept(86_400), kept(100_000)], [86_400, 86_400, 100_000]);
    }
}
