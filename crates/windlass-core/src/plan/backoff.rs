//! How long a job waits before its next attempt.

use jiff::{SignedDuration, Timestamp};

use crate::Job;

/// First back-off between two attempts, in milliseconds; it doubles up to
/// [`MAX_BACKOFF_MILLISECONDS`].
pub const FIRST_BACKOFF_MILLISECONDS: u64 = 1_000;
/// Longest back-off between two attempts, in milliseconds.
pub const MAX_BACKOFF_MILLISECONDS: u64 = 60_000;

/// When the next attempt may start: back-off after the last failure, jittered by a number that
/// depends only on the job and the attempt, so that every observer computes the same.
pub fn retry_at(job: &Job) -> Option<Timestamp> {
    let failure = job.status.failure.as_ref()?;
    // Also after attempts that do not count: what is lost again and again must not spin.
    let doublings = failure.attempt.saturating_sub(1).min(10);
    let full = (FIRST_BACKOFF_MILLISECONDS << doublings).min(MAX_BACKOFF_MILLISECONDS);
    // Between half of the back-off and all of it.
    let jitter = fnv1a(&job.metadata.uid, failure.attempt) % (full / 2 + 1);
    failure.time.checked_add(SignedDuration::from_millis((full - jitter) as i64)).ok()
}

/// FNV-1a, 64 bits: a well-known spread of short keys; nothing depends on its quality.
fn fnv1a(text: &str, number: u32) -> u64 {
    text.bytes().chain(number.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
