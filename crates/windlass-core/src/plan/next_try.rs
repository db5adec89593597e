//! The next attempt of a job: its number, whether it needs CPUs now, when it may start, and with how many CPUs.

use jiff::{SignedDuration, Timestamp};

use super::observed::{Attempt, Refusal};
use crate::report::is_settled;
use crate::status::{ConditionType, Failure, FailureReason, Truth, reasons};
use crate::validate::JobLimits;
use crate::{AttemptNumber, Cpus, Job, Phase};

/// First back-off between two attempts, in milliseconds; it doubles up to
/// [`MAX_BACKOFF_MILLISECONDS`].
pub const FIRST_BACKOFF_MILLISECONDS: u64 = 1_000;
/// Longest back-off between two attempts, in milliseconds.
pub const MAX_BACKOFF_MILLISECONDS: u64 = 60_000;

/// First back-off of a job for which no node has room, in milliseconds: as long as its attempts have found none so far, and
/// so about twice as long each time.
pub const FIRST_UNSCHEDULABLE_BACKOFF_MILLISECONDS: u64 = 10_000;
/// Longest such back-off, in milliseconds, while a sixteenth of the time so far is not longer. So the longest start
/// deadline has room for about 100 attempts.
pub const MAX_UNSCHEDULABLE_BACKOFF_MILLISECONDS: u64 = 300_000;

/// How a scheduler says that a node has less left of something than a pod requests.
const LACKS: [&str; 2] = ["Insufficient cpu", "Insufficient memory"];

/// Whether admission must be asked before `plan` can start an attempt now.
pub fn needs_cpus(job: &Job, attempts: &[Attempt], now: Timestamp) -> bool {
    !job.status.is_finished()
        && !job.spec.cancel
        && job.metadata.deletion_timestamp.is_none()
        && attempts.iter().all(|a| a.is_dead() && is_settled(&job.status, a.number))
        && retry_at(job).is_none_or(|at| at <= now)
}

/// The number of the attempt that comes after those that were seen or told.
pub fn next_attempt_number(job: &Job, attempts: &[Attempt]) -> AttemptNumber {
    let last_seen = attempts.last().map_or(0, |attempt| attempt.number);
    job.status.attempt.unwrap_or(0).max(last_seen).saturating_add(1)
}

/// The refusal of the next attempt, as the status tells it: the inverse of what [`plan`](super::plan()) writes. A controller that has
/// just started finds in it what an earlier one knew.
pub fn reported_refusal(job: &Job, attempts: &[Attempt]) -> Option<Refusal> {
    let status = &job.status;
    let running = status.condition(ConditionType::Running)?;
    let all_settled = attempts.iter().all(|a| is_settled(status, a.number));
    let is_refused = status.phase == Some(Phase::Starting)
        && status.attempt.is_none_or(|number| is_settled(status, number))
        && all_settled
        && running.status == Truth::False
        && running.reason != reasons::STARTING;
    // An earlier attempt may have failed long before this one was refused: since then, not since it stopped running.
    let admitted = status.condition(ConditionType::Admitted)?;
    is_refused.then(|| Refusal {
        attempt: next_attempt_number(job, attempts),
        since: running.last_transition_time.max(admitted.last_transition_time),
        reason: running.reason.clone(),
        message: running.message.clone(),
        is_final: false,
    })
}

/// When the next attempt may start: back-off after the last failure, jittered by a number that
/// depends only on the job and the attempt, so that every observer computes the same.
pub fn retry_at(job: &Job) -> Option<Timestamp> {
    let failure = job.status.failure.as_ref()?;
    let full = backoff(job, failure);
    // Between half of the back-off and all of it.
    let jitter = fnv1a(&job.metadata.uid, failure.attempt) % (full / 2 + 1);
    failure.time.checked_add(SignedDuration::from_millis((full - jitter) as i64)).ok()
}

/// The whole back-off, in milliseconds.
fn backoff(job: &Job, failure: &Failure) -> u64 {
    let tried = too_many_cpus(job);
    let has_fewer =
        tried.is_some_and(|tried| job.spec.min_parallelism.is_some_and(|min| min < tried));
    if failure.reason == FailureReason::Unschedulable && !has_fewer {
        let since = failure.refused_since.unwrap_or(failure.time);
        let so_far = failure.time.duration_since(since).as_millis().max(0);
        let so_far = u64::try_from(so_far).unwrap_or(u64::MAX);
        let longest = MAX_UNSCHEDULABLE_BACKOFF_MILLISECONDS.max(so_far / 16);
        return so_far.clamp(FIRST_UNSCHEDULABLE_BACKOFF_MILLISECONDS, longest);
    }
    if failure.reason == FailureReason::Preempted {
        // Its place in the queue says when it comes next.
        return FIRST_BACKOFF_MILLISECONDS;
    }
    // Also after attempts that do not count: what is lost again and again must not spin.
    let doublings = failure.attempt.saturating_sub(1).min(10);
    (FIRST_BACKOFF_MILLISECONDS << doublings).min(MAX_BACKOFF_MILLISECONDS)
}

/// The most CPUs that the next attempt asks for: half as many as the last one, down to the fewest, when no node had room
/// for those. Which nodes have how much room, the scheduler alone knows.
pub fn next_parallelism(job: &Job, limits: &JobLimits) -> Cpus {
    let half = |tried: Cpus| (tried / 2).max(limits.min_parallelism).min(limits.parallelism);
    too_many_cpus(job).map_or(limits.parallelism, half)
}

/// Whether a job could be tried with fewer CPUs than those for which a scheduler, in its words, has found no room.
pub fn may_take_fewer(job: &Job, cpus: Cpus, message: &str) -> bool {
    lacks_resources(message) && job.spec.min_parallelism.is_some_and(|min| min < cpus)
}

/// The CPUs of the last attempt, if no node had so many.
fn too_many_cpus(job: &Job) -> Option<Cpus> {
    let failure = job.status.failure.as_ref()?;
    let is_lack =
        failure.reason == FailureReason::Unschedulable && lacks_resources(&failure.message);
    job.status.parallelism.filter(|_| is_lack)
}

fn lacks_resources(message: &str) -> bool {
    LACKS.iter().any(|lacks| message.contains(lacks))
}

/// FNV-1a, 64 bits: a well-known spread of short keys; nothing depends on its quality.
fn fnv1a(text: &str, number: u32) -> u64 {
    text.bytes().chain(number.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
