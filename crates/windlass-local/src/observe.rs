//! Outside -> `Observed`: what is known of the attempts of one job on this machine. Pure.

use jiff::Timestamp;
use windlass_core::plan::{Attempt, AttemptState, End};
use windlass_core::report::Ending;
use windlass_core::status::FailureReason;
use windlass_core::{AttemptNumber, Cpus};

/// What the driver knows of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) number: AttemptNumber,
    pub(crate) cpus: Cpus,
    pub(crate) created: Timestamp,
    /// Since when its function runs.
    pub(crate) running: Option<Timestamp>,
    /// The last word of its worker.
    pub(crate) told: Option<Ending>,
    /// When its last process was gone, and what is known of why.
    pub(crate) gone: Option<Gone>,
    /// Its end was asked for.
    pub(crate) stopping: bool,
}

/// The end of an attempt that left no word.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    pub(crate) at: Timestamp,
    pub(crate) why: String,
    /// Neither the job nor its worker has to do with it: the server was lost, or there was no room.
    pub(crate) lost: bool,
}

/// The attempts of one job as core sees them.
pub(crate) fn attempts(traces: &[Trace], host: &str) -> Vec<Attempt> {
    traces.iter().map(|trace| attempt(trace, host)).collect()
}

fn attempt(trace: &Trace, host: &str) -> Attempt {
    let Trace { number, cpus, created, running, told, gone, stopping } = trace;
    let state = match (gone, told, running) {
        (Some(_), Some(ending), _) => AttemptState::Ended(End::Reported(ending.clone())),
        (Some(Gone { at, why, lost }), None, _) => AttemptState::Ended(End::Unreported {
            // On this machine a worker does not vanish by itself: it counts as a try.
            reason: if *lost { FailureReason::Lost } else { FailureReason::Killed },
            message: why.clone(),
            at: *at,
        }),
        (None, _, Some(since)) => AttemptState::Running { since: *since },
        (None, _, None) => AttemptState::Starting { reason: None, message: String::new() },
    };
    Attempt {
        number: *number,
        cpus: *cpus,
        created: *created,
        startable_since: Some(*created),
        job: None,
        pod: None,
        node: Some(host.to_owned()),
        state,
        is_present: gone.is_none(),
        stopping: *stopping,
        may_restart: false,
    }
}
