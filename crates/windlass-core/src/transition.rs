//! The only place that changes the phase and the conditions of a status.
//!
//! [`plan`](crate::plan()) decides which [`Transition`] a job makes, a worker's report says how an attempt has ended; what
//! that means for the fields and conditions of the status is written here. Nothing goes backwards, and a time changes only
//! when what it is about changes.

use jiff::Timestamp;

use crate::error::clip;
use crate::outcome::{Ending, Outcome, ReportRefusal};
use crate::plan::observed::{Attempt, End, Refusal};
use crate::result::{inline_bytes, json_problem};
use crate::status::{
    Condition, ConditionType, Failure, FailureReason, JobResult, MAX_FAILURE_MESSAGE_BYTES, Place,
    Truth, reasons,
};
use crate::validate::JobLimits;
use crate::{AttemptNumber, Job, JobStatus, Phase};

mod retry;
mod unreported;

#[cfg(test)]
pub(crate) use retry::MAX_ATTEMPTS;
use unreported::{PULLS_NO_IMAGE, refused_start};
pub(crate) use unreported::{
    did_not_start, failure, found_no_node, is_over_start_deadline, not_ended, not_started,
};

/// A step of a job, with what the status is to say of it.
#[derive(Clone, Debug)]
pub(crate) enum Transition<'a> {
    /// Nothing is worth a write.
    Unchanged,
    /// Nothing has happened; the status says which generation of the spec it is about.
    Acknowledged,
    /// It waits for CPUs.
    Waiting { why: &'a str, place: Option<&'a Place> },
    /// It waits for something that it needs.
    Blocked { reason: &'a str, why: &'a str, place: Option<&'a Place> },
    /// The creation of its next attempt is refused, and tried again.
    Refused(&'a Refusal),
    /// Its next attempt was never created, and is not tried again.
    NotCreated(Failure),
    /// Its attempt starts.
    Starting { attempt: &'a Attempt, reason: Option<&'a str>, message: &'a str, now: Timestamp },
    /// Its attempt runs since then.
    Running { attempt: &'a Attempt, since: Timestamp },
    /// Whether its attempt runs, nobody knows since then.
    Unreachable { attempt: &'a Attempt, message: &'a str, since: Timestamp },
    /// Its attempt did not start in time, or gives its CPUs back.
    GivenUp { attempt: &'a Attempt, failure: Failure },
    /// Its attempt has ended.
    Ended { attempt: &'a Attempt, end: &'a End },
    /// It is cancelled, and nothing of it runs any more.
    Cancelled { last: Option<&'a Attempt> },
    /// It cannot be run.
    Invalid(Failure),
}

/// The status of a job after a transition.
pub(crate) fn next_status(
    job: &Job,
    limits: &JobLimits,
    transition: Transition<'_>,
    now: Timestamp,
) -> JobStatus {
    let mut status = job.status.clone();
    if matches!(transition, Transition::Unchanged) {
        return status;
    }
    status.observed_generation = job.metadata.generation;
    status.timeline.created = job.metadata.creation_timestamp;
    match transition {
        Transition::Unchanged | Transition::Acknowledged => {}
        Transition::Waiting { why, place } => {
            let shown = queue(&mut status, reasons::WAITING_FOR_CPUS, why, now);
            status.waiting = coarsely(shown, place.cloned());
        }
        Transition::Blocked { reason, why, place } => {
            let shown = queue(&mut status, reason, why, now);
            status.waiting = place.and_then(|place| coarsely(shown, Some(place.clone())));
        }
        Transition::Refused(Refusal { since, reason, message, .. }) => {
            status.waiting = None;
            status.start(*since, reason, message, *since);
        }
        Transition::NotCreated(failure) => {
            status.begin_attempt(failure.attempt);
            status.fail(&job.spec, limits, failure);
        }
        Transition::Starting { attempt, reason, message, now } => {
            status.show(attempt);
            let reason = reason.unwrap_or(reasons::STARTING);
            status.start(attempt.created, reason, message, now);
        }
        Transition::Running { attempt, since } => {
            status.show(attempt);
            status.run(attempt.created, since);
        }
        Transition::Unreachable { attempt, message, since } => {
            status.show(attempt);
            status.doubt(message, since);
        }
        Transition::GivenUp { attempt, failure } => {
            status.show(attempt);
            status.fail(&job.spec, limits, failure);
        }
        Transition::Ended { attempt, end } => {
            status.show(attempt);
            return settle(job, status, limits, attempt, end);
        }
        Transition::Cancelled { last } => {
            last.into_iter().for_each(|attempt| status.show(attempt));
            status.end(Phase::Cancelled, reasons::CANCELLED, "spec.cancel was set", now);
        }
        Transition::Invalid(failure) => status.fail(&job.spec, limits, failure),
    }
    status
}

/// The status with the end of an attempt.
fn settle(
    job: &Job,
    mut status: JobStatus,
    limits: &JobLimits,
    attempt: &Attempt,
    end: &End,
) -> JobStatus {
    let number = attempt.number;
    let failed = match end {
        End::Reported(ending) => match finished(job, status.clone(), limits, number, ending) {
            Ok(finished) => return finished,
            Err(refused) => {
                let reason = FailureReason::ResultLost;
                failure(reason, refused.to_string(), number, ending.finished)
            }
        },
        End::Unreported { reason, message, at } => failure(*reason, message.clone(), number, *at),
        End::NotTaken { message, at } => refused_start(job, limits, attempt, message, *at),
    };
    status.fail(&job.spec, limits, failed);
    status
}

/// Says that the job waits, and no longer where. Returns the place that was told so far.
fn queue(status: &mut JobStatus, reason: &str, why: &str, now: Timestamp) -> Option<Place> {
    let shown = status.waiting.take();
    status.queue(reason, why, now);
    shown
}

/// The place in a queue that the status tells: again only when it has changed by half, since each time is a write.
pub(crate) fn coarsely(written: Option<Place>, now: Option<Place>) -> Option<Place> {
    match (written, now) {
        (Some(written), Some(now)) if is_other(written.position, now.position) => Some(now),
        (Some(written), _) => Some(written),
        (None, now) => now,
    }
}

/// Whether a position is so different from the one that was written that it is written again.
pub fn is_other(written: u32, now: u32) -> bool {
    now != written && (now <= written / 2 || now > written.saturating_add(written / 2))
}

/// The status after an attempt has ended: finished, or waiting for its next attempt.
///
/// The caller has [checked](crate::report::check) that the attempt may speak.
pub fn finish(
    job: &Job,
    limits: &JobLimits,
    attempt: AttemptNumber,
    ending: &Ending,
) -> Result<JobStatus, ReportRefusal> {
    finished(job, job.status.clone(), limits, attempt, ending)
}

/// The same where its end may be the first that is told of the attempt: the status says as well what it would have said
/// while that ran.
pub fn finish_unshown(
    job: &Job,
    limits: &JobLimits,
    attempt: &Attempt,
    ending: &Ending,
) -> Result<JobStatus, ReportRefusal> {
    let mut status = job.status.clone();
    if let Some(since) = ending.running {
        status.show(attempt);
        status.run(attempt.created, since);
    }
    finished(job, status, limits, attempt.number, ending)
}

/// What a status becomes by the end of an attempt.
fn finished(
    job: &Job,
    mut status: JobStatus,
    limits: &JobLimits,
    attempt: AttemptNumber,
    ending: &Ending,
) -> Result<JobStatus, ReportRefusal> {
    let Ending { outcome, started, running, finished, parallelism, usage, progress } = ending;
    status.observed_generation = job.metadata.generation;
    status.begin_attempt(attempt);
    status.parallelism = Some(*parallelism);
    status.usage = usage.clone();
    if progress.is_some() {
        status.progress = progress.clone();
    }
    status.timeline.created = job.metadata.creation_timestamp;
    status.timeline.admitted = status.timeline.admitted.or(Some(*started));
    status.timeline.started = Some(*started);
    status.timeline.running = *running;
    let (reason, message, exit_code, partial) = match outcome {
        Outcome::Succeeded(result) => match problem_of(result)? {
            None => {
                status.result = Some(result.clone());
                status.failure = None;
                status.end(Phase::Succeeded, reasons::SUCCEEDED, "", *finished);
                return Ok(status);
            }
            Some(why) => (FailureReason::NoOutput, format!("the function {why}"), Some(0), None),
        },
        Outcome::Failed { reason, message, exit_code, partial } => {
            (*reason, message.clone(), *exit_code, usable(partial.as_ref())?)
        }
    };
    let message = clip(message, MAX_FAILURE_MESSAGE_BYTES);
    status.fail(
        &job.spec,
        limits,
        Failure { reason, message, exit_code, attempt, time: *finished, refused_since: None },
    );
    if status.phase == Some(Phase::Failed) {
        status.result = partial;
    }
    Ok(status)
}

/// What was computed before a failure, unless it is no result.
fn usable(partial: Option<&JobResult>) -> Result<Option<JobResult>, ReportRefusal> {
    let Some(result) = partial else { return Ok(None) };
    Ok(problem_of(result)?.is_none().then(|| result.clone()))
}

/// Why a result is none, if so. One that is inline is what its digest says, else the report is refused, and JSON
/// when it is called so; one elsewhere was checked where it was stored.
fn problem_of(result: &JobResult) -> Result<Option<String>, ReportRefusal> {
    match &result.location {
        Some(_) if result.text.is_none() && result.base64.is_none() => Ok(None),
        Some(_) => Err(ReportRefusal::Damaged),
        None => {
            let bytes = inline_bytes(result).ok_or(ReportRefusal::Damaged)?;
            json_problem(&result.content_type, &bytes[..]).map_err(|_| ReportRefusal::Damaged)
        }
    }
}

impl JobStatus {
    /// Sets a condition; its time changes only when its truth does.
    pub fn set_condition(
        &mut self,
        kind: ConditionType,
        status: impl Into<Truth>,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) {
        let status = status.into();
        let since = self
            .conditions
            .iter()
            .find(|c| c.kind == kind && c.status == status)
            .map_or(now, |c| c.last_transition_time);
        let condition = Condition {
            kind,
            status,
            reason: reason.into(),
            message: crate::error::clip(message.into(), 1024),
            last_transition_time: since,
        };
        match self.conditions.iter_mut().find(|c| c.kind == kind) {
            Some(old) => *old = condition,
            None => self.conditions.push(condition),
        }
    }

    /// Makes an attempt the one that the status tells about. Nothing that it told of an earlier one stays.
    pub(crate) fn begin_attempt(&mut self, attempt: AttemptNumber) {
        if self.attempt != Some(attempt) {
            self.attempt = Some(attempt);
            self.progress = None;
            self.usage = None;
            self.waiting = None;
            self.timeline.running = None;
            self.timeline.started = None;
        }
    }

    /// Tells which attempt it is, and where it runs.
    fn show(&mut self, attempt: &Attempt) {
        self.begin_attempt(attempt.number);
        self.parallelism = Some(attempt.cpus);
        self.job = attempt.job.clone();
        self.pod = attempt.pod.clone();
        self.node = attempt.node.clone();
        self.timeline.admitted = Some(attempt.created);
    }

    /// Nobody knows whether its attempt runs.
    fn doubt(&mut self, message: &str, since: Timestamp) {
        let (kind, reason) = (ConditionType::Running, reasons::NODE_DELETED);
        self.set_condition(kind, Truth::Unknown, reason, message, since);
        self.set_condition(ConditionType::Reconciling, true, reason, message, since);
    }

    /// It waits in its queue for this reason.
    fn queue(&mut self, reason: &str, why: &str, now: Timestamp) {
        self.phase = Some(Phase::Queued);
        self.set_condition(ConditionType::Admitted, false, reason, why, now);
        self.set_condition(ConditionType::Reconciling, true, reason, why, now);
    }

    /// CPUs are granted since `admitted`, and its attempt runs.
    fn run(&mut self, admitted: Timestamp, since: Timestamp) {
        self.phase = Some(Phase::Running);
        self.timeline.running = Some(since);
        self.set_condition(ConditionType::Admitted, true, reasons::GRANTED, "", admitted);
        self.set_condition(ConditionType::Running, true, reasons::RUNNING, "", since);
        self.set_condition(ConditionType::Reconciling, true, reasons::RUNNING, "", since);
    }

    /// CPUs are granted since `admitted`, and its attempt does not run for this reason.
    ///
    /// The reason is written once. Its words may be others at each reconcile (how many nodes lack what, how much
    /// of a quota is used, a pull of an image or the pause after it), and each time is a write.
    fn start(&mut self, admitted: Timestamp, reason: &str, message: &str, since: Timestamp) {
        let is_same = |written: &str| {
            written == reason
                || [written, reason].iter().all(|reason| PULLS_NO_IMAGE.contains(reason))
        };
        let was_starting = self.phase == Some(Phase::Starting);
        let written = self.condition(ConditionType::Running).filter(|running| {
            was_starting && running.status == Truth::False && is_same(&running.reason)
        });
        let (reason, message) = match written {
            Some(written) => (written.reason.clone(), written.message.clone()),
            None => (reason.to_owned(), message.to_owned()),
        };
        self.phase = Some(Phase::Starting);
        self.set_condition(ConditionType::Admitted, true, reasons::GRANTED, "", admitted);
        self.set_condition(ConditionType::Running, false, &reason, &message, since);
        self.set_condition(ConditionType::Reconciling, true, &reason, &message, since);
    }

    /// Tells the end of the job.
    pub(crate) fn end(&mut self, phase: Phase, reason: &str, message: &str, now: Timestamp) {
        self.phase = Some(phase);
        if let Some(progress) = &mut self.progress {
            progress.estimated_remaining_seconds = None;
        }
        self.waiting = None;
        self.timeline.finished = Some(now);
        if phase == Phase::Succeeded {
            self.set_condition(ConditionType::Admitted, true, reasons::GRANTED, "", now);
        }
        self.set_condition(ConditionType::Running, false, reasons::ENDED, "", now);
        self.set_condition(ConditionType::Finished, true, reason, message, now);
        self.conditions.retain(|condition| condition.kind != ConditionType::Reconciling);
        if phase == Phase::Failed {
            self.set_condition(ConditionType::Stalled, true, reason, message, now);
        }
    }
}
