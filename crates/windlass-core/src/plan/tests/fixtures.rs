//! A job, its limits, and attempts of it.

use jiff::Timestamp;

use crate::outcome::{Ending, Outcome};
use crate::plan::{AdmissionDecision, Attempt, AttemptState, Observed};
use crate::result::inline_result;
use crate::status::{ConditionType, FailureReason, JobResult, Truth};
use crate::{AttemptNumber, Job, JobLimits, JobSpec, JobStatus, Metadata};

pub(super) const START_DEADLINE_SECONDS: i64 = 600;

pub(super) fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
}

pub(super) fn limits() -> JobLimits {
    JobLimits {
        parallelism: 2,
        min_parallelism: 1,
        retries: 2,
        timeout_seconds: 60,
        max_result_bytes: 1000,
        start_deadline_seconds: START_DEADLINE_SECONDS as u32,
    }
}

pub(super) fn job() -> Job {
    let metadata = Metadata {
        name: "j".into(),
        namespace: "default".into(),
        uid: "0190b7a2-1111-7abc-8def-0123456789ab".into(),
        resource_version: "1".into(),
        generation: Some(1),
        creation_timestamp: Some(at(0)),
        ..Metadata::default()
    };
    Job::new(
        metadata,
        JobSpec { function: "f".into(), ttl_seconds_after_finished: 100, ..JobSpec::default() },
    )
}

pub(super) fn attempt(number: AttemptNumber, state: AttemptState) -> Attempt {
    Attempt {
        number,
        cpus: 2,
        created: at(0),
        startable_since: Some(at(0)),
        unschedulable_since: None,
        job: None,
        pod: None,
        node: None,
        state,
        is_present: true,
        stopping: false,
        may_restart: false,
    }
}

pub(super) fn starting() -> AttemptState {
    AttemptState::Starting { reason: None, message: String::new() }
}

pub(super) fn result() -> JobResult {
    inline_result(b"{}", "application/json").unwrap()
}

pub(super) fn ending(outcome: Outcome, finished: Timestamp) -> Ending {
    Ending {
        outcome,
        started: at(0),
        running: Some(at(0)),
        finished,
        parallelism: 2,
        usage: None,
        progress: None,
    }
}

pub(super) fn crashed() -> Outcome {
    Outcome::failed(FailureReason::Crashed, "exit code 3")
}

pub(super) fn seen(attempts: Vec<Attempt>) -> Observed {
    Observed { admission: AdmissionDecision::Granted(2), attempts, ..Observed::default() }
}

pub(super) fn told(status: &JobStatus, kind: ConditionType) -> Option<(Truth, &str)> {
    status.condition(kind).map(|c| (c.status, c.reason.as_str()))
}

// --- decisions, one by one ---------------------------------------------------------------------
