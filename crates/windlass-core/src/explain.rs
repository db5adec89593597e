//! Where a job's time went, and what it waits for now.
//!
//! The parts follow each other without a gap from the moment the job was accepted to its end, or to
//! now, so that they sum to that time exactly. Where a moment was not told, or is not in its order,
//! its part is empty and what comes before it is longer.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::advice::{OF_A_POD, advice, of_failure};
use crate::estimate::Estimate;
use crate::plan;
use crate::status::{ConditionType, Earlier, FailureReason, JobStatus, Timeline, reasons};
use crate::{AttemptNumber, Job, Phase};

/// Where a job's time went.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The job's phase; absent until it was first seen.
    pub phase: Option<Phase>,
    /// From its acceptance to its end, or to now, in seconds.
    pub wall_seconds: f64,
    /// What it was, one after the other. Their seconds sum to `wallSeconds`.
    pub parts: Vec<Part>,
    /// What it waits for now, in a sentence; absent when it runs or has ended.
    pub waits_for: Option<String>,
    /// Attempts so far.
    pub attempts: AttemptNumber,
    /// Why the last attempt that failed did, in a sentence.
    pub failure: Option<String>,
    /// What helps a job that waits or has failed; absent where there is nothing to do.
    pub advice: Option<String>,
    /// When it is likely to start and to end, while it waits for CPUs or holds some.
    pub estimate: Option<Estimate>,
}

/// A part of a job's time.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// One word.
    pub name: PartName,
    /// When it began.
    pub from: Timestamp,
    /// When it was over, or now.
    pub to: Timestamp,
    /// How long that is.
    pub seconds: f64,
    /// Of an earlier attempt its number. Where there were more than eight, the first part is all up to that one.
    pub attempt: Option<AttemptNumber>,
    /// Of an earlier attempt why it failed, in one word.
    pub reason: Option<FailureReason>,
    /// Of an earlier attempt the exit code of its function, where that exited by itself.
    pub exit_code: Option<i32>,
}

/// What a job was for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PartName {
    /// It waited for CPUs; after an attempt that failed also for the back-off before the next.
    Queued,
    /// An earlier attempt, from the grant of its CPUs to its failure.
    Earlier,
    /// Its attempt was being started: on a cluster a node is found, an image pulled, a container made.
    Starting,
    /// Its worker was there and prepared the function's process.
    Preparing,
    /// Its function ran.
    Running,
}

impl PartName {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Earlier => "earlier",
            Self::Starting => "starting",
            Self::Preparing => "preparing",
            Self::Running => "running",
        }
    }

    /// What it means, in some words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Queued => "waited for CPUs, or to be tried again",
            Self::Earlier => "an attempt that failed",
            Self::Starting => "a place was found and the worker started",
            Self::Preparing => "the worker prepared the function's process",
            Self::Running => "the function ran",
        }
    }
}

/// Explains a job as it is `now`. What is estimated of it is for the caller to add.
pub fn explain(job: &Job, now: Timestamp) -> Explanation {
    let Timeline { created, admitted, started, running, finished, earlier } = &job.status.timeline;
    let begin = job.metadata.creation_timestamp.or(*created).unwrap_or(now);
    let end = finished.filter(|_| job.status.is_finished()).unwrap_or(now).max(begin);
    let mut steps = Vec::new();
    for attempt in earlier {
        steps.push((PartName::Earlier, Some(attempt.admitted), Some(attempt)));
        steps.push((PartName::Queued, Some(attempt.ended), None));
    }
    // What has failed and waits for its next attempt does not run any more.
    let waits_again = job.status.phase == Some(Phase::Queued)
        || earlier.last().is_some_and(|last| Some(last.attempt) >= job.status.attempt);
    if !waits_again {
        steps.push((PartName::Starting, *admitted, None));
        steps.push((PartName::Preparing, *started, None));
        steps.push((PartName::Running, *running, None));
    }
    let mut parts = Vec::new();
    let (mut name, mut from, mut of) = (PartName::Queued, begin, None);
    for (next, at, attempt) in steps {
        let Some(at) = at else { continue };
        let at = at.clamp(from, end);
        parts.push(part(name, from, at, of));
        (name, from, of) = (next, at, attempt);
    }
    parts.push(part(name, from, end, of));
    Explanation {
        phase: job.status.phase,
        wall_seconds: parts.iter().map(|part| part.seconds).sum(),
        parts,
        waits_for: waits_for(job, now),
        attempts: job.status.attempt.unwrap_or(0),
        failure: job.status.failure.as_ref().map(|failure| {
            let reason = failure.reason.as_str();
            format!("attempt {}: {reason}: {}", failure.attempt, failure.message)
        }),
        advice: what_helps(&job.status, job.spec.cancel).map(str::to_owned),
        estimate: None,
    }
}

fn part(name: PartName, from: Timestamp, to: Timestamp, attempt: Option<&Earlier>) -> Part {
    Part {
        name,
        from,
        to,
        seconds: to.duration_since(from).as_secs_f64(),
        attempt: attempt.map(|attempt| attempt.attempt),
        reason: attempt.and_then(|attempt| attempt.reason),
        exit_code: attempt.and_then(|attempt| attempt.exit_code),
    }
}

/// What helps against what a job waits for, or against its failure where that is why.
fn what_helps(status: &JobStatus, is_cancelled: bool) -> Option<&'static str> {
    let failed = || status.failure.as_ref().map(|failure| of_failure(failure.reason));
    let reason = |kind| Some(status.condition(kind)?.reason.as_str());
    match status.phase? {
        Phase::Failed => failed(),
        phase if phase.is_final() || is_cancelled => None,
        Phase::Queued => match reason(ConditionType::Admitted)? {
            reasons::RETRYING => failed().or_else(|| advice(reasons::RETRYING)),
            reason => advice(reason),
        },
        Phase::Starting => {
            let reason = reason(ConditionType::Running)?;
            advice(reason).or(Some(OF_A_POD))
        }
        _ => reason(ConditionType::Running).and_then(advice),
    }
}

fn waits_for(job: &Job, now: Timestamp) -> Option<String> {
    let status = &job.status;
    let said = |kind| {
        let condition = status.condition(kind)?;
        let (reason, message) = (&condition.reason, &condition.message);
        Some(if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") })
    };
    match status.phase {
        Some(phase) if phase.is_final() => None,
        _ if job.spec.cancel => Some("its processes to end: it was cancelled".into()),
        None => Some("its start: nothing is known that hinders it".into()),
        Some(Phase::Queued) => {
            if let Some(at) = plan::retry_at(job).filter(|at| *at > now) {
                let seconds = at.duration_since(now).as_secs_f64();
                return Some(format!("its next attempt, in {seconds:.1} s"));
            }
            let mut text = said(ConditionType::Admitted).unwrap_or_else(|| "CPUs".into());
            if let Some(place) = &status.waiting {
                text += &format!("; about number {} in the line", place.position);
                if let Some(start) = place.estimated_start.filter(|start| *start > now) {
                    let seconds = start.duration_since(now).as_secs();
                    text += &format!(", likely to start in {seconds} s");
                }
            }
            Some(text)
        }
        Some(Phase::Starting) => said(ConditionType::Running),
        // It runs, unless nobody can say.
        Some(_) => {
            let running = status.condition(ConditionType::Running)?;
            (running.status == crate::status::Truth::Unknown)
                .then(|| format!("{}: {}", running.reason, running.message))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::status::{Failure, Place};
    use crate::{JobSpec, Metadata};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn job(phase: Phase, timeline: Timeline) -> Job {
        let metadata = Metadata { creation_timestamp: Some(at(100)), ..Metadata::default() };
        let mut job = Job::new(metadata, JobSpec::default());
        job.status.phase = Some(phase);
        job.status.timeline = timeline;
        job
    }

    fn names(explanation: &Explanation) -> Vec<(&'static str, f64)> {
        explanation.parts.iter().map(|part| (part.name.as_str(), part.seconds)).collect()
    }

    /// The seconds at which a job was created, admitted, started, running and finished.
    fn ended([created, admitted, started, running, finished]: [i64; 5]) -> Timeline {
        Timeline {
            created: Some(at(created)),
            admitted: Some(at(admitted)),
            started: Some(at(started)),
            running: Some(at(running)),
            finished: Some(at(finished)),
            earlier: Vec::new(),
        }
    }

    fn failed(reason: FailureReason, attempt: AttemptNumber, ended: i64) -> Failure {
        let (message, time) = (String::new(), at(ended));
        Failure { reason, message, exit_code: None, attempt, time, refused_since: None }
    }

    #[test]
    fn a_finished_job_tells_where_its_time_went() {
        let timeline = ended([100, 130, 132, 133, 193]);
        let told = explain(&job(Phase::Succeeded, timeline), at(999));
        let parts = [("queued", 30.0), ("starting", 2.0), ("preparing", 1.0), ("running", 60.0)];
        assert_eq!(names(&told), parts);
        assert_eq!((told.wall_seconds, told.waits_for), (93.0, None));
    }

    #[test]
    fn attempts_that_failed_are_no_waiting() {
        let tried = |attempt, admitted, ended| Earlier {
            attempt,
            admitted: at(admitted),
            ended: at(ended),
            reason: (attempt == 2).then_some(FailureReason::Crashed),
            exit_code: (attempt == 2).then_some(3),
        };
        let earlier = vec![tried(1, 110, 140), tried(2, 141, 161)];
        let timeline = Timeline { earlier, ..ended([100, 165, 166, 168, 198]) };
        let mut job = job(Phase::Succeeded, timeline);
        job.status.attempt = Some(3);
        let told = explain(&job, at(999));
        let waits = [("queued", 10.0), ("earlier", 30.0), ("queued", 1.0), ("earlier", 20.0)];
        let last = [("queued", 4.0), ("starting", 1.0), ("preparing", 2.0), ("running", 30.0)];
        assert_eq!(names(&told), [waits, last].concat());
        assert_eq!(told.wall_seconds, 98.0);
        let of = |part: &Part| (part.attempt, part.reason, part.exit_code);
        let [first, second] = [1, 3].map(|index| of(&told.parts[index]));
        assert_eq!(first, (Some(1), None, None));
        assert_eq!(second, (Some(2), Some(FailureReason::Crashed), Some(3)));
        assert!(
            [0, 2, 4, 5, 6, 7]
                .map(|index| of(&told.parts[index]))
                .iter()
                .all(|of| *of == (None, None, None))
        );
        // The second has failed and the third has not begun: the times are those of the second.
        job.status.attempt = Some(2);
        job.status.phase = Some(Phase::Queued);
        job.status.timeline.admitted = Some(at(141));
        assert_eq!(names(&explain(&job, at(170))), [&waits[..], &[("queued", 9.0)]].concat());
    }

    #[test]
    fn as_many_attempts_are_remembered_as_there_is_room_for() {
        let mut timeline = Timeline::default();
        for attempt in 1..=20_u32 {
            let begun = i64::from(attempt) * 10;
            timeline.admitted = Some(at(begun));
            let failure = failed(FailureReason::Lost, attempt, begun + 5);
            timeline.remember(&failure);
            timeline.remember(&Failure { reason: FailureReason::Crashed, ..failure });
        }
        let told = timeline.earlier;
        assert_eq!((told.len(), told[0].attempt, told[7].attempt), (8, 13, 20));
        assert_eq!((told[0].admitted, told[0].ended), (at(10), at(135)));
        assert_eq!((told[1].admitted, told[1].ended), (at(140), at(145)));
        assert!(told.iter().all(|earlier| earlier.reason == Some(FailureReason::Lost)));
    }

    #[test]
    fn a_job_in_a_line_says_where() {
        let mut job = job(Phase::Queued, Timeline::default());
        let reason = reasons::WAITING_FOR_CPUS;
        job.status.set_condition(ConditionType::Admitted, false, reason, "2 CPUs", at(100));
        job.status.waiting = Some(Place { position: 7, estimated_start: Some(at(160)) });
        let told = explain(&job, at(110));
        assert_eq!(names(&told), [("queued", 10.0)]);
        let expected =
            "WaitingForCpus: 2 CPUs; about number 7 in the line, likely to start in 50 s";
        assert_eq!(told.waits_for.as_deref(), Some(expected));
    }

    #[test]
    fn what_helps_is_told_of_what_waits_or_has_failed() {
        let helps = |job: &Job| explain(job, at(110)).advice;
        let mut job = job(Phase::Queued, Timeline::default());
        assert_eq!(helps(&job), None);
        let say = |job: &mut Job, kind, reason| {
            job.status.set_condition(kind, false, reason, "", at(100));
            helps(job)
        };
        let admitted = ConditionType::Admitted;
        let told = say(&mut job, admitted, reasons::QUEUE_NOT_FOUND);
        assert_eq!(told.as_deref(), advice(reasons::QUEUE_NOT_FOUND));
        job.status.failure = Some(failed(FailureReason::Timeout, 1, 105));
        let of_timeout = Some(of_failure(FailureReason::Timeout));
        assert_eq!(say(&mut job, admitted, reasons::RETRYING).as_deref(), of_timeout);
        job.status.phase = Some(Phase::Starting);
        let told = say(&mut job, ConditionType::Running, "ErrImagePull");
        assert_eq!(told.as_deref(), Some(OF_A_POD));
        for (phase, expected) in
            [(Phase::Running, None), (Phase::Failed, of_timeout), (Phase::Succeeded, None)]
        {
            job.status.phase = Some(phase);
            assert_eq!(helps(&job).as_deref(), expected, "{phase:?}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_wall_time_whatever_was_told(
            times in prop::collection::vec(prop::option::of(0_i64..400), 5),
            earlier in prop::collection::vec((0_i64..400, 0_i64..400), 0..3),
            phase in 0_usize..6,
            now in 0_i64..500,
        ) {
            let phases = [Phase::Queued, Phase::Starting, Phase::Running, Phase::Succeeded,
                Phase::Failed, Phase::Cancelled];
            let time = |index: usize| times[index].map(at);
            let timeline = Timeline { created: time(0), admitted: time(1), started: time(2),
                running: time(3), finished: time(4), earlier: earlier.iter().zip(1..).map(
                    |((admitted, ended), attempt)| Earlier { attempt, admitted: at(*admitted),
                        ended: at(*ended), reason: None, exit_code: None }).collect() };
            let job = job(phases[phase], timeline);
            let told = explain(&job, at(now));
            let end = time(4).filter(|_| job.status.is_finished()).unwrap_or(at(now)).max(at(100));
            let wall = end.duration_since(at(100)).as_secs_f64();
            prop_assert_eq!(told.wall_seconds, wall);
            let mut from = at(100);
            for part in &told.parts {
                prop_assert!(part.from == from && part.to >= from && part.seconds >= 0.0);
                from = part.to;
            }
            prop_assert_eq!(from, end);
        }
    }
}
