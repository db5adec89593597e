//! What to do for one job: a pure function of what is wanted, what was seen and the time.
//!
//! `plan` is total and deterministic. Its actions may be repeated and may be lost halfway: the next
//! observation gives the rest. Its status tells only what was seen.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::report::{self, Ending};
use crate::status::{ConditionType, Failure, FailureReason, Place, Truth, reasons};
use crate::validate::JobLimits;
use crate::{AttemptNumber, Cpus, Error, Job, JobStatus, Phase};

/// How often a job is looked at whose node was deleted.
const UNREACHABLE_LOOK: Duration = Duration::from_secs(30);

/// An attempt that starts within this time, in milliseconds, is told as Running at once: `Starting`
/// would be the sixth write of a job for which five are enough, even on a cluster that is so busy
/// that pods wait to be made. What hinders a start is told at once.
pub const STARTING_GRACE_MILLISECONDS: i64 = 60_000;

/// After this time, in milliseconds, an attempt that was started is looked for although no news of it
/// came.
const NEWS_MILLISECONDS: u64 = 2_000;

/// What a kubelet says in turn of an image that it cannot pull.
const PULLS_NO_IMAGE: [&str; 2] = ["ErrImagePull", "ImagePullBackOff"];

/// How long after its failure, in milliseconds, a carrier that may start an attempt anew is waited for before
/// it is removed.
const RESTART_MILLISECONDS: i64 = 5_000;

/// First back-off between two attempts, in milliseconds; it doubles up to
/// [`MAX_BACKOFF_MILLISECONDS`].
pub const FIRST_BACKOFF_MILLISECONDS: u64 = 1_000;
/// Longest back-off between two attempts, in milliseconds.
pub const MAX_BACKOFF_MILLISECONDS: u64 = 60_000;

/// What a driver has observed of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What admission says to a job that needs CPUs.
    pub admission: AdmissionDecision,
    /// Every attempt that left a trace, in the order of their numbers. The attempt that the status
    /// names is among them: a driver that finds no trace of it looks at the source of truth, not at
    /// a cache, and tells `Ended(Lost)`.
    pub attempts: Vec<Attempt>,
    /// Why the next attempt could not be created, when it was tried and refused.
    pub refusal: Option<Refusal>,
    /// How long an attempt runs before that is told. Where a write is dear it is not spent on an
    /// attempt that ends at once, whose end tells when it ran.
    pub running_grace: Duration,
}

/// The world refuses to create an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which attempt. What was said of another means nothing.
    pub attempt: AttemptNumber,
    /// Since when.
    pub since: Timestamp,
    /// One word, such as `Forbidden`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Whether trying again is of no use.
    pub is_final: bool,
}

/// What admission says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdmissionDecision {
    /// Nobody asked, because the job [needs](needs_cpus) no CPUs now; or the answer is on its way.
    #[default]
    NotAsked,
    /// It may start with so many CPUs.
    Granted(Cpus),
    /// It waits.
    Waiting {
        /// What for, in a sentence.
        why: String,
        /// Where in the line, if somebody counts.
        place: Option<Place>,
    },
    /// It waits for something that was there when it was accepted, and is in no line meanwhile.
    Blocked {
        /// One word of [`reasons`].
        reason: &'static str,
        /// What for, in a sentence.
        why: String,
    },
}

/// One attempt, as observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: AttemptNumber,
    /// CPUs that it was granted.
    pub cpus: Cpus,
    /// When its carrier was created.
    pub created: Timestamp,
    /// Since when it could have started: since its pod was created, on one machine since itself was.
    /// None while nobody has got round to making its pod.
    pub startable_since: Option<Timestamp>,
    /// Name of its `batch/v1` Job, where there is one.
    pub job: Option<String>,
    /// Name of its pod, where there is one.
    pub pod: Option<String>,
    /// Where it runs.
    pub node: Option<String>,
    /// How far it is.
    pub state: AttemptState,
    /// Whether its carrier is still there, so that it must be removed in the end.
    pub is_present: bool,
    /// Whether its end was asked for already.
    pub stopping: bool,
    /// Whether its carrier may by itself start it anew, although it has ended: no other starts before that
    /// carrier is removed.
    pub may_restart: bool,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and each is moved once")]
pub enum AttemptState {
    /// Its function does not run yet. The reason is what the world says it waits for.
    Starting {
        /// One word, such as `Unschedulable` or `ImagePullBackOff`.
        reason: Option<String>,
        /// A sentence.
        message: String,
    },
    /// Its function runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Its node was deleted, and its pod with it: whether its processes run, nobody knows.
    Unreachable {
        /// What is known of the node, in a sentence.
        message: String,
        /// Since when.
        since: Timestamp,
    },
    /// Nothing of it runs any more: proven, not assumed.
    Ended(End),
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and each is moved once")]
pub enum End {
    /// Its worker told how.
    Reported(Ending),
    /// It left no word.
    Unreported {
        /// What the world says.
        reason: FailureReason,
        /// What the world says, in a sentence.
        message: String,
        /// When it ended, as far as is known.
        at: Timestamp,
    },
}

impl Attempt {
    /// Whether its processes may still run.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, AttemptState::Ended(_))
    }

    /// Whether nothing of it runs, nor will.
    fn is_dead(&self) -> bool {
        !self.is_live() && !self.may_restart
    }

    /// Whether anything of it can still be told to end.
    fn is_within_reach(&self) -> bool {
        self.is_live() && !matches!(self.state, AttemptState::Unreachable { .. })
    }
}

/// What to do for one job.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In this order. Each may be repeated.
    pub actions: Vec<Action>,
    /// What to tell, after the actions. Equal to the job's status when there is nothing new.
    pub status: JobStatus,
    /// When to look again although nothing has happened.
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
    /// End whatever runs of this attempt and remove its carrier. When it is gone, nothing happens.
    Remove {
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// Delete the job: its time to live is over.
    Expire,
}

/// Whether admission must be asked before `plan` can start an attempt now.
pub fn needs_cpus(job: &Job, attempts: &[Attempt], now: Timestamp) -> bool {
    !job.status.is_finished()
        && !job.spec.cancel
        && job.metadata.deletion_timestamp.is_none()
        && attempts.iter().all(|a| a.is_dead() && report::is_settled(&job.status, a.number))
        && retry_at(job).is_none_or(|at| at <= now)
}

/// The number of the attempt that comes after those that were seen or told.
pub fn next_attempt_number(job: &Job, attempts: &[Attempt]) -> AttemptNumber {
    let last_seen = attempts.last().map_or(0, |attempt| attempt.number);
    job.status.attempt.unwrap_or(0).max(last_seen).saturating_add(1)
}

/// Decides for a valid job.
pub fn plan(job: &Job, limits: &JobLimits, seen: &Observed, now: Timestamp) -> Plan {
    if job.status.is_finished() {
        return clean_up(job, seen, now);
    }
    let mut status = job.status.clone();
    status.observed_generation = job.metadata.generation;
    status.timeline.created = job.metadata.creation_timestamp;

    if job.spec.cancel {
        return cancel(job, status, seen, now);
    }
    match seen.attempts.last() {
        Some(Attempt { number, .. }) if report::is_settled(&job.status, *number) => {
            next_attempt(job, limits, status, seen, now)
        }
        None => next_attempt(job, limits, status, seen, now),
        Some(current) => follow(job, limits, status, current, seen.running_grace, now),
    }
}

/// Decides for a job that cannot be run. What has started ends by itself; nothing more is started.
pub fn plan_invalid(job: &Job, why: &Error, seen: &Observed, now: Timestamp) -> Plan {
    let limits = JobLimits::without_function(&job.spec);
    let settled = |a: &Attempt| !a.is_live() && report::is_settled(&job.status, a.number);
    let runs = !seen.attempts.iter().all(settled);
    if job.status.is_finished() || job.spec.cancel || runs {
        let mut plan = plan(job, &limits, seen, now);
        plan.actions.retain(|action| !matches!(action, Action::Start { .. }));
        return plan;
    }
    let mut status = job.status.clone();
    status.observed_generation = job.metadata.generation;
    status.timeline.created = job.metadata.creation_timestamp;
    let failure = Failure {
        reason: FailureReason::Invalid,
        message: crate::error::clip(why.to_string(), 4096),
        exit_code: None,
        attempt: job.status.attempt.unwrap_or(0),
        time: now,
    };
    report::fail(&mut status, &limits, failure);
    Plan { actions: remove_all(seen), status, requeue_after: None }
}

/// A finished job: its attempts are removed, and in the end the job itself.
fn clean_up(job: &Job, seen: &Observed, now: Timestamp) -> Plan {
    let mut actions = remove_all(seen);
    let requeue_after = match job.expires() {
        Some(expiry) if expiry <= now => {
            actions.push(Action::Expire);
            None
        }
        Some(expiry) => Some(until(expiry, now)),
        None => None,
    };
    Plan { actions, status: job.status.clone(), requeue_after }
}

/// `Cancelled` is told when nothing runs any more.
fn cancel(job: &Job, mut status: JobStatus, seen: &Observed, now: Timestamp) -> Plan {
    let actions = remove_all(seen);
    if seen.attempts.iter().any(Attempt::is_within_reach) {
        status = job.status.clone();
    } else {
        if let Some(attempt) = seen.attempts.last() {
            tell_place(&mut status, attempt);
        }
        report::end(&mut status, Phase::Cancelled, reasons::CANCELLED, "spec.cancel was set", now);
    }
    Plan { actions, status, requeue_after: None }
}

/// Whether the status says that this attempt starts, and names no hindrance.
fn is_told_to_start(status: &JobStatus, attempt: AttemptNumber) -> bool {
    let running = status.condition(ConditionType::Running);
    status.phase == Some(Phase::Starting)
        && status.attempt == Some(attempt)
        && running.is_some_and(|running| running.reason == reasons::STARTING)
}

/// Tells why it does not start, once. Its words may be others at each look (how many nodes lack what, how much
/// of a quota is used, a pull of an image or the pause after it), and each telling is a write.
fn tell_hindrance(
    status: &mut JobStatus,
    told: &JobStatus,
    reason: &str,
    message: &str,
    since: Timestamp,
) {
    let is_same = |told: &str| {
        told == reason || [told, reason].iter().all(|reason| PULLS_NO_IMAGE.contains(reason))
    };
    let told = told.condition(ConditionType::Running).filter(|running| {
        told.phase == Some(Phase::Starting)
            && running.status == Truth::False
            && is_same(&running.reason)
    });
    let (reason, message) = told.map_or((reason, message), |told| (&told.reason, &told.message));
    status.set_condition(ConditionType::Running, false, reason, message, since);
}

/// The current attempt exists and is not settled: tell how far it is.
fn follow(
    job: &Job,
    limits: &JobLimits,
    mut status: JobStatus,
    current: &Attempt,
    running_grace: Duration,
    now: Timestamp,
) -> Plan {
    let mut requeue_after = None;
    match &current.state {
        AttemptState::Starting { reason, message } => {
            let waited = now.duration_since(current.created);
            let grace = SignedDuration::from_millis(STARTING_GRACE_MILLISECONDS);
            // Without a pod and without a reason it waits for a Job controller that has others to make
            // first, and that is no failure however long it takes.
            let begun = current.startable_since.or(reason.is_some().then_some(current.created));
            let left = begun.map(|since| start_deadline(limits) - now.duration_since(since));
            if left.is_some_and(|left| left <= SignedDuration::ZERO) {
                tell_place(&mut status, current);
                let why = reason.as_deref().unwrap_or("nothing said why");
                let failure = not_started(limits, why, message, current.number, now);
                report::fail(&mut status, limits, failure);
            } else if reason.is_none() && is_told_to_start(&job.status, current.number) {
                // Which pod it is, is told with the next news.
                status = job.status.clone();
                requeue_after = left.map(to_std);
            } else if waited >= grace || reason.is_some() {
                tell_place(&mut status, current);
                status.phase = Some(Phase::Starting);
                let admitted = current.created;
                status.set_condition(ConditionType::Admitted, true, reasons::GRANTED, "", admitted);
                let reason = reason.as_deref().unwrap_or(reasons::STARTING);
                tell_hindrance(&mut status, &job.status, reason, message, now);
                requeue_after = left.map(to_std);
            } else {
                status = job.status.clone();
                requeue_after = Some(to_std(grace - waited));
            }
        }
        // A start in the future is another clock's, and waiting for it of no use.
        AttemptState::Running { since } if *since <= now && *since + running_grace > now => {
            status = job.status.clone();
            requeue_after = Some(until(*since + running_grace, now));
        }
        AttemptState::Running { since } => {
            tell_place(&mut status, current);
            status.phase = Some(Phase::Running);
            status.timeline.running = Some(*since);
            let admitted = current.created;
            status.set_condition(ConditionType::Admitted, true, reasons::GRANTED, "", admitted);
            status.set_condition(ConditionType::Running, true, reasons::RUNNING, "", *since);
        }
        AttemptState::Unreachable { message, since } => {
            tell_place(&mut status, current);
            let (kind, reason) = (ConditionType::Running, reasons::NODE_DELETED);
            status.set_condition(kind, Truth::Unknown, reason, message, *since);
            // Nobody tells that a node has come back.
            requeue_after = Some(UNREACHABLE_LOOK);
        }
        AttemptState::Ended(end) => {
            tell_place(&mut status, current);
            status = settle(job, limits, status, current, end);
            // The retry, or the removal of what is left.
            requeue_after = Some(Duration::ZERO);
        }
    }
    Plan { actions: Vec::new(), status, requeue_after }
}

/// Writes the end of an attempt into the status.
fn settle(
    job: &Job,
    limits: &JobLimits,
    mut status: JobStatus,
    attempt: &Attempt,
    end: &End,
) -> JobStatus {
    let failure = match end {
        End::Reported(ending) => {
            let seen = Job { status: status.clone(), ..job.clone() };
            match report::finish(&seen, limits, attempt.number, ending) {
                Ok(finished) => return finished,
                Err(refused) => Failure {
                    reason: FailureReason::ResultLost,
                    message: refused.to_string(),
                    exit_code: None,
                    attempt: attempt.number,
                    time: ending.finished,
                },
            }
        }
        End::Unreported { reason, message, at } => Failure {
            reason: *reason,
            message: crate::error::clip(message.clone(), 4096),
            exit_code: None,
            attempt: attempt.number,
            time: *at,
        },
    };
    report::fail(&mut status, limits, failure);
    status
}

/// No attempt is unsettled: the next one may start when none is alive and CPUs are granted.
///
/// The carrier of the last failed attempt stays until the job has ended, or the next one has failed, unless
/// it may by itself start that attempt anew: as long as it is there, a driver with an old view of the job
/// can't start that attempt a second time under the same name. Others are guarded by a start's own look at
/// the job.
fn next_attempt(
    job: &Job,
    limits: &JobLimits,
    mut status: JobStatus,
    seen: &Observed,
    now: Timestamp,
) -> Plan {
    let mut actions = Vec::new();
    let mut requeue_after = None;
    let number = next_attempt_number(job, &seen.attempts);
    if seen.attempts.iter().any(Attempt::is_live) {
        // What was settled by its worker's word may still be exiting.
    } else if let Some(at) = retry_at(job).filter(|at| *at > now) {
        requeue_after = Some(until(at, now));
    } else if seen.attempts.iter().any(|attempt| attempt.may_restart) {
        // Most say by themselves, soon, that they are over.
        let failed = job.status.failure.as_ref().map_or(now, |failure| failure.time);
        let patience =
            SignedDuration::from_millis(RESTART_MILLISECONDS) - now.duration_since(failed);
        if patience > SignedDuration::ZERO {
            requeue_after = Some(to_std(patience));
        } else {
            let revive = seen.attempts.iter().filter(|attempt| attempt.may_restart);
            actions.extend(revive.filter_map(removal));
            requeue_after = Some(Duration::from_millis(NEWS_MILLISECONDS));
        }
    } else {
        let last = seen.attempts.len().saturating_sub(1);
        actions.extend(seen.attempts[..last].iter().filter_map(removal));
        let refusal = seen.refusal.as_ref().filter(|refusal| refusal.attempt == number);
        match (refusal, &seen.admission) {
            (Some(refusal), AdmissionDecision::Granted(_)) if refusal.is_over(limits, now) => {
                let Refusal { reason, message, is_final, .. } = refusal;
                status.begin_attempt(number);
                let failure = if *is_final {
                    let message = format!("{reason}: {message}");
                    cannot_start(message, number, now)
                } else {
                    not_started(limits, reason, message, number, now)
                };
                report::fail(&mut status, limits, failure);
            }
            (refusal, AdmissionDecision::Granted(cpus)) => {
                actions.push(Action::Start { attempt: number, cpus: *cpus });
                // Whoever started it sees it soon; this is for the case that the news is lost.
                requeue_after = Some(Duration::from_millis(NEWS_MILLISECONDS));
                match refusal {
                    Some(Refusal { since, reason, message, .. }) => {
                        status.waiting = None;
                        status.phase = Some(Phase::Starting);
                        status.set_condition(
                            ConditionType::Admitted,
                            true,
                            reasons::GRANTED,
                            "",
                            *since,
                        );
                        tell_hindrance(&mut status, &job.status, reason, message, *since);
                    }
                    None => status = job.status.clone(),
                }
            }
            (_, AdmissionDecision::Waiting { why, place }) => {
                status.phase = Some(Phase::Queued);
                let reason = reasons::WAITING_FOR_CPUS;
                status.set_condition(ConditionType::Admitted, false, reason, why, now);
                let told = status.waiting.take();
                status.waiting = coarsely(told, place.clone());
            }
            (_, AdmissionDecision::Blocked { reason, why }) => {
                status.phase = Some(Phase::Queued);
                status.waiting = None;
                status.set_condition(ConditionType::Admitted, false, reason, why, now);
            }
            (_, AdmissionDecision::NotAsked) => status = job.status.clone(),
        }
    }
    Plan { actions, status, requeue_after }
}

/// The refusal of the next attempt, as the status tells it: the inverse of what [`plan`] writes. A controller that has
/// just started finds in it what an earlier one knew.
pub fn reported_refusal(job: &Job, attempts: &[Attempt]) -> Option<Refusal> {
    let status = &job.status;
    let running = status.condition(ConditionType::Running)?;
    let all_settled = attempts.iter().all(|a| report::is_settled(status, a.number));
    let is_refused = status.phase == Some(Phase::Starting)
        && status.attempt.is_none_or(|number| report::is_settled(status, number))
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

/// The place that is told: again only when it has changed by half, since every telling is a write.
pub fn coarsely(told: Option<Place>, now: Option<Place>) -> Option<Place> {
    match (told, now) {
        (Some(told), Some(now)) if is_other(told.position, now.position) => Some(now),
        (Some(told), _) => Some(told),
        (None, now) => now,
    }
}

/// Whether a position is so different from the one that was told that it is told again.
pub fn is_other(told: u32, now: u32) -> bool {
    now != told && (now <= told / 2 || now > told.saturating_add(told / 2))
}

impl Refusal {
    fn is_over(&self, limits: &JobLimits, now: Timestamp) -> bool {
        self.is_final || now.duration_since(self.since) >= start_deadline(limits)
    }
}

fn start_deadline(limits: &JobLimits) -> SignedDuration {
    SignedDuration::from_secs(i64::from(limits.start_deadline_seconds))
}

fn not_started(
    limits: &JobLimits,
    why: &str,
    message: &str,
    attempt: AttemptNumber,
    now: Timestamp,
) -> Failure {
    let seconds = limits.start_deadline_seconds;
    let message = format!("did not start within {seconds} s: {why} {message}");
    Failure {
        reason: FailureReason::StartDeadline,
        message: crate::error::clip(message, 4096),
        exit_code: None,
        attempt,
        time: now,
    }
}

fn cannot_start(message: String, attempt: AttemptNumber, now: Timestamp) -> Failure {
    Failure {
        reason: FailureReason::CannotStart,
        message: crate::error::clip(message, 4096),
        exit_code: None,
        attempt,
        time: now,
    }
}

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

fn remove_all(seen: &Observed) -> Vec<Action> {
    seen.attempts.iter().filter_map(removal).collect()
}

/// What ends an attempt and removes its carrier, if it has one that is not being removed already.
fn removal(attempt: &Attempt) -> Option<Action> {
    let there = attempt.is_present && !attempt.stopping;
    there.then_some(Action::Remove { attempt: attempt.number })
}

fn tell_place(status: &mut JobStatus, attempt: &Attempt) {
    status.begin_attempt(attempt.number);
    status.parallelism = Some(attempt.cpus);
    status.job = attempt.job.clone();
    status.pod = attempt.pod.clone();
    status.node = attempt.node.clone();
    status.timeline.admitted = Some(attempt.created);
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    to_std(at.duration_since(now))
}

fn to_std(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

#[cfg(test)]
mod tests;
