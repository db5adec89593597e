//! What to do for one job: a pure function of what is wanted, what was observed and the time.
//!
//! `plan` is total and deterministic. Its actions may be repeated and may be lost halfway: the next
//! observation gives the rest. Its status tells only what was observed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub mod next_try;
pub mod observed;
#[cfg(test)]
mod tests;

pub use next_try::{
    FIRST_BACKOFF_MILLISECONDS, MAX_BACKOFF_MILLISECONDS, may_take_fewer, needs_cpus,
    next_attempt_number, next_parallelism, reported_refusal, retry_at,
};
pub use observed::{
    AdmissionDecision, Attempt, AttemptState, End, Observed, Preempted, Refusal, preempted_for,
};

use crate::report;
use crate::status::{ConditionType, Failure, FailureReason, reasons};
pub use crate::transition::is_other;
use crate::transition::{
    Transition, did_not_start, failure, found_no_node, is_over_start_deadline, next_status,
    not_ended, not_started,
};
use crate::validate::JobLimits;
use crate::{AttemptNumber, Cpus, Error, Job, JobStatus, Phase};

/// How often a job is reconciled whose node was deleted.
const UNREACHABLE_REQUEUE: Duration = Duration::from_secs(30);

/// An attempt that starts within this time, in milliseconds, is told as Running at once: `Starting`
/// would be the sixth write of a job for which five are enough, even on a cluster that is so busy
/// that pods wait to be made. What hinders a start is told at once.
pub const STARTING_GRACE_MILLISECONDS: i64 = 60_000;

/// After this time, in milliseconds, an attempt that was started is looked for although no news of it
/// came.
const NEWS_MILLISECONDS: u64 = 2_000;

/// How long after its failure, in milliseconds, a batch Job that may start an attempt anew is waited for before
/// it is removed.
const RESTART_MILLISECONDS: i64 = 5_000;

/// What to do for one job.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In this order. Each may be repeated.
    pub actions: Vec<Action>,
    /// The status after the actions. Equal to the job's status when there is nothing new.
    pub status: JobStatus,
    /// When to reconcile again although nothing has happened.
    pub requeue_after: Option<Duration>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this attempt with so many CPUs. When it exists already, or when the job has changed
    /// since it was read, nothing happens: a driver with an old view must not start again what has
    /// ended and was removed.
    Start {
        /// The attempt.
        attempt: AttemptNumber,
        /// Its CPUs.
        cpus: Cpus,
    },
    /// End whatever runs of this attempt and remove its batch Job or process. When it is gone, nothing happens.
    Remove {
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// Delete the job: its time to live is over.
    Expire,
}

impl Action {
    /// The attempt that it removes.
    pub fn removed(&self) -> Option<AttemptNumber> {
        match self {
            Self::Remove { attempt } => Some(*attempt),
            Self::Start { .. } | Self::Expire => None,
        }
    }
}

/// Decides for a valid job.
pub fn plan(job: &Job, limits: &JobLimits, observed: &Observed, now: Timestamp) -> Plan {
    let (actions, transition, requeue_after) = decide(job, limits, observed, now);
    let status = next_status(job, limits, transition, now);
    Plan { actions, status, requeue_after }
}

/// Decides for a job that cannot be run. What has started ends by itself; nothing more is started.
pub fn plan_invalid(job: &Job, why: &Error, observed: &Observed, now: Timestamp) -> Plan {
    let limits = JobLimits::without_function(&job.spec);
    let settled = |a: &Attempt| !a.is_live() && report::is_settled(&job.status, a.number);
    let runs = !observed.attempts.iter().all(settled);
    if job.status.is_finished() || job.spec.cancel || runs {
        let mut plan = plan(job, &limits, observed, now);
        plan.actions.retain(|action| !matches!(action, Action::Start { .. }));
        return plan;
    }
    let attempt = job.status.attempt.unwrap_or(0);
    let failure = failure(FailureReason::Invalid, why.to_string(), attempt, now);
    let status = next_status(job, &limits, Transition::Invalid(failure), now);
    Plan { actions: remove_all(observed), status, requeue_after: None }
}

/// What to do, what the status is to say, and when to reconcile again.
type Decision<'a> = (Vec<Action>, Transition<'a>, Option<Duration>);

fn decide<'a>(
    job: &Job,
    limits: &JobLimits,
    observed: &'a Observed,
    now: Timestamp,
) -> Decision<'a> {
    if job.status.is_finished() {
        return clean_up(job, observed, now);
    }
    if job.spec.cancel {
        // `Cancelled` is told when nothing runs any more.
        let transition = if observed.attempts.iter().any(Attempt::is_within_reach) {
            Transition::Unchanged
        } else {
            Transition::Cancelled { last: observed.attempts.last() }
        };
        return (remove_all(observed), transition, None);
    }
    match observed.attempts.last() {
        Some(current) if !report::is_settled(&job.status, current.number) => {
            let (transition, requeue_after) = follow(job, limits, current, observed, now);
            (Vec::new(), transition, requeue_after)
        }
        _ => next_attempt(job, limits, observed, now),
    }
}

/// A finished job: its attempts are removed, and in the end the job itself.
fn clean_up<'a>(job: &Job, observed: &Observed, now: Timestamp) -> Decision<'a> {
    let mut actions = remove_all(observed);
    let requeue_after = match job.expires() {
        Some(expiry) if expiry <= now => {
            actions.push(Action::Expire);
            None
        }
        Some(expiry) => Some(until(expiry, now)),
        None => None,
    };
    // What is changed after the end changes nothing. Whoever waits until the change was seen is told.
    let is_told = job.status.observed_generation == job.metadata.generation;
    let transition = if is_told { Transition::Unchanged } else { Transition::Acknowledged };
    (actions, transition, requeue_after)
}

/// The current attempt exists and is not settled: how far it is.
fn follow<'a>(
    job: &Job,
    limits: &JobLimits,
    attempt: &'a Attempt,
    observed: &Observed,
    now: Timestamp,
) -> (Transition<'a>, Option<Duration>) {
    let running_grace = observed.running_grace;
    if let Some(preempted) = observed.preempted.as_ref().filter(|p| p.attempt == attempt.number)
        && attempt.is_live()
    {
        let (reason, message) = (FailureReason::Preempted, preempted.message.clone());
        let failure = failure(reason, message, attempt.number, now);
        return (Transition::GivenUp { attempt, failure }, Some(Duration::ZERO));
    }
    match &attempt.state {
        AttemptState::Starting { reason, message } => {
            let gives_back_at = gives_back_at(attempt, observed.unschedulable_timeout);
            if gives_back_at.is_some_and(|at| at <= now) {
                let failure = found_no_node(job, limits, attempt, message, now);
                return (Transition::GivenUp { attempt, failure }, Some(Duration::ZERO));
            }
            let (transition, requeue_after) =
                start(job, limits, attempt, reason.as_deref(), message, now);
            let given_back = gives_back_at.map(|at| until(at, now));
            (transition, requeue_after.into_iter().chain(given_back).min())
        }
        // A start in the future is another clock's, and waiting for it of no use.
        AttemptState::Running { since } if *since <= now && *since + running_grace > now => {
            (Transition::Unchanged, Some(until(*since + running_grace, now)))
        }
        AttemptState::Running { since } => (Transition::Running { attempt, since: *since }, None),
        // Nobody tells that a node has come back.
        AttemptState::Unreachable { message, since } => {
            (Transition::Unreachable { attempt, message, since: *since }, Some(UNREACHABLE_REQUEUE))
        }
        // What comes next is the retry, or the removal of what is left.
        AttemptState::Ended(end) => (Transition::Ended { attempt, end }, Some(Duration::ZERO)),
    }
}

/// When an attempt gives its CPUs back because no node has room for it.
pub fn gives_back_at(attempt: &Attempt, timeout: Option<Duration>) -> Option<Timestamp> {
    let (since, timeout) = attempt.unschedulable_since.zip(timeout)?;
    since.checked_add(timeout).ok()
}

/// The attempt does not run yet, for this reason if one is known.
fn start<'a>(
    job: &Job,
    limits: &JobLimits,
    attempt: &'a Attempt,
    reason: Option<&'a str>,
    message: &'a str,
    now: Timestamp,
) -> (Transition<'a>, Option<Duration>) {
    let waited = now.duration_since(attempt.created);
    let grace = SignedDuration::from_millis(STARTING_GRACE_MILLISECONDS);
    // Without a pod and without a reason it waits for a Job controller that has others to make
    // first, and that is no failure however long it takes.
    let begun = attempt.startable_since.or(reason.is_some().then_some(attempt.created));
    let left = begun.map(|since| limits.start_deadline() - now.duration_since(since));
    if left.is_some_and(|left| left <= SignedDuration::ZERO) {
        let failure = did_not_start(job, limits, attempt, (reason, message), now);
        (Transition::GivenUp { attempt, failure }, Some(Duration::ZERO))
    } else if reason.is_none() && is_shown_to_start(&job.status, attempt.number) {
        // Which pod it is, is told with the next news.
        (Transition::Unchanged, left.map(to_std))
    } else if waited >= grace || reason.is_some() {
        (Transition::Starting { attempt, reason, message, now }, left.map(to_std))
    } else {
        (Transition::Unchanged, left.into_iter().chain([grace - waited]).min().map(to_std))
    }
}

/// Whether the status says that this attempt starts, and names nothing that is in the way.
fn is_shown_to_start(status: &JobStatus, attempt: AttemptNumber) -> bool {
    let running = status.condition(ConditionType::Running);
    status.phase == Some(Phase::Starting)
        && status.attempt == Some(attempt)
        && running.is_some_and(|running| running.reason == reasons::STARTING)
}

/// An attempt that its node did not start is to be ended. A node that does not answer ends nothing: no other attempt
/// can start then, and after another start deadline the job fails.
fn end_of_silent<'a>(
    limits: &JobLimits,
    attempt: &'a Attempt,
    failure: &Failure,
    now: Timestamp,
) -> (Transition<'a>, Option<Duration>) {
    let is_unreachable = matches!(attempt.state, AttemptState::Unreachable { .. });
    // Nobody tells that a node has come back.
    let looks = is_unreachable.then_some(UNREACHABLE_REQUEUE);
    if failure.reason != FailureReason::Lost {
        return (Transition::Acknowledged, looks);
    }
    let left = limits.start_deadline() - now.duration_since(failure.time);
    if left.is_positive() {
        return (Transition::Acknowledged, looks.into_iter().chain([to_std(left)]).min());
    }
    let failure = not_ended(limits, failure, now);
    (Transition::GivenUp { attempt, failure }, None)
}

/// No attempt is unsettled: the next one may start when none is alive and CPUs are granted.
///
/// The objects of the last failed attempt (its batch Job, on a cluster) stay until the job has ended, or the next attempt
/// has failed. While they are there, a controller with an old view of the job cannot start that attempt a second time
/// under the same name. A batch Job that may by itself start its attempt anew does not stay, nor does one that has given its CPUs back. Its name
/// is free again then, and a start checks that the job is as it was read.
fn next_attempt<'a>(
    job: &Job,
    limits: &JobLimits,
    observed: &'a Observed,
    now: Timestamp,
) -> Decision<'a> {
    if observed.attempts.iter().any(Attempt::is_live) {
        // An attempt that was settled by its worker's report may still be exiting. One that has given its CPUs back is
        // ended, wherever it is by now.
        let told_early = job.status.failure.as_ref().filter(|failure| failure.is_told_early());
        let Some((failure, attempt)) = told_early.and_then(|failure| {
            let mut live = observed.attempts.iter().filter(|attempt| attempt.is_live());
            Some((failure, live.find(|attempt| attempt.number == failure.attempt)?))
        }) else {
            return (Vec::new(), Transition::Acknowledged, None);
        };
        let actions = removal(attempt).into_iter().collect();
        let (transition, requeue_after) = end_of_silent(limits, attempt, failure, now);
        return (actions, transition, requeue_after);
    }
    if let Some(at) = retry_at(job).filter(|at| *at > now) {
        return (Vec::new(), Transition::Acknowledged, Some(until(at, now)));
    }
    if observed.attempts.iter().any(|attempt| attempt.may_restart) {
        // Most say by themselves, soon, that they are over.
        let failed = job.status.failure.as_ref().map_or(now, |failure| failure.time);
        let patience =
            SignedDuration::from_millis(RESTART_MILLISECONDS) - now.duration_since(failed);
        if patience > SignedDuration::ZERO {
            return (Vec::new(), Transition::Acknowledged, Some(to_std(patience)));
        }
        let may_restart = observed.attempts.iter().filter(|attempt| attempt.may_restart);
        let actions = may_restart.filter_map(removal).collect();
        let requeue_after = Some(Duration::from_millis(NEWS_MILLISECONDS));
        return (actions, Transition::Acknowledged, requeue_after);
    }
    let last = observed.attempts.len().saturating_sub(1);
    let actions = observed.attempts[..last].iter().filter_map(removal).collect();
    let number = next_attempt_number(job, &observed.attempts);
    admitted(number, limits, observed, actions, now)
}

/// Nothing is in the way of the next attempt but admission, or a refusal of the last try to create it.
fn admitted<'a>(
    number: AttemptNumber,
    limits: &JobLimits,
    observed: &'a Observed,
    mut actions: Vec<Action>,
    now: Timestamp,
) -> Decision<'a> {
    let refusal = observed.refusal.as_ref().filter(|refusal| refusal.attempt == number);
    let transition = match (refusal, &observed.admission) {
        (Some(refusal), AdmissionDecision::Granted(_)) if is_over(refusal, limits, now) => {
            let Refusal { reason, message, is_final, .. } = refusal;
            Transition::NotCreated(if *is_final {
                failure(FailureReason::CannotStart, format!("{reason}: {message}"), number, now)
            } else {
                not_started(limits, reason, message, number, now)
            })
        }
        (refusal, AdmissionDecision::Granted(cpus)) => {
            actions.push(Action::Start { attempt: number, cpus: *cpus });
            // Whoever started it observes it soon; this is for the case that the news is lost.
            let requeue_after = Some(Duration::from_millis(NEWS_MILLISECONDS));
            let transition = refusal.map_or(Transition::Unchanged, Transition::Refused);
            return (actions, transition, requeue_after);
        }
        (_, AdmissionDecision::Waiting { why, place }) => {
            Transition::Waiting { why, place: place.as_ref() }
        }
        (_, AdmissionDecision::Blocked { reason, why, place }) => {
            Transition::Blocked { reason, why, place: place.as_ref() }
        }
        (_, AdmissionDecision::NotAsked) => Transition::Unchanged,
    };
    (actions, transition, None)
}

/// Whether a start that is refused is given up.
fn is_over(refusal: &Refusal, limits: &JobLimits, now: Timestamp) -> bool {
    refusal.is_final || is_over_start_deadline(limits, refusal.since, now)
}

fn remove_all(observed: &Observed) -> Vec<Action> {
    observed.attempts.iter().filter_map(removal).collect()
}

/// What ends an attempt and removes its objects, if it has some that are not being removed already.
fn removal(attempt: &Attempt) -> Option<Action> {
    let is_there = attempt.is_present && !attempt.stopping;
    is_there.then_some(Action::Remove { attempt: attempt.number })
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    to_std(at.duration_since(now))
}

fn to_std(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}
