//! Which trace a job is (W3C Trace Context). Nothing has to be handed on for it: each part of Windlass
//! computes it from the job's UID.

use sha2::{Digest as _, Sha256};

/// The trace of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The job's UID as a number.
    pub id: [u8; 16],
    /// Its root span: the job from its creation to its end.
    pub root: [u8; 8],
}

impl Trace {
    /// Of the job with this UID; `None` when that is no UUID.
    pub fn of_job(uid: &str) -> Option<Self> {
        let digits: Vec<u8> = uid.bytes().filter(|byte| *byte != b'-').collect();
        let text = std::str::from_utf8(&digits).ok().filter(|text| text.len() == 32)?;
        let id = u128::from_str_radix(text, 16).ok().filter(|id| *id != 0)?.to_be_bytes();
        Some(Self { id, root: span_of(uid, "job") })
    }

    /// As the value of a `traceparent` header, or of the variable [`TRACEPARENT`](crate::contract::TRACEPARENT).
    pub fn parent(&self) -> String {
        format!("00-{}-{}-01", crate::result::hex(&self.id), crate::result::hex(&self.root))
    }
}

/// Id of the span with this name in the trace of the job with this UID: the same, whoever tells it.
pub fn span_of(uid: &str, name: &str) -> [u8; 8] {
    let digest = Sha256::digest(format!("{uid}/{name}"));
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_its_jobs_uid() {
        let trace = Trace::of_job("0192f3a4-5b6c-7d8e-9f00-112233445566").unwrap();
        let parent = trace.parent();
        assert!(parent.starts_with("00-0192f3a45b6c7d8e9f00112233445566-"), "{parent}");
        assert_eq!(parent.len(), 55);
        for odd in
            ["", "uid", "00000000-0000-0000-0000-000000000000", "+192f3a45b6c7d8e9f00112233445566x"]
        {
            assert_eq!(Trace::of_job(odd), None, "{odd}");
        }
    }
}
