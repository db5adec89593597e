//! What the controller knows of the attempts of one job -> core's attempts. Pure.

use jiff::{SignedDuration, Timestamp};
use windlass_core::plan::{Attempt, AttemptState, End};
use windlass_core::report::Ending;
use windlass_core::status::FailureReason;
use windlass_core::{AttemptNumber, Cpus};

/// A worker's clock that is further away than this was read before or after somebody set it.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(2);

/// What the controller knows of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct TrackedAttempt {
    pub(crate) number: AttemptNumber,
    pub(crate) cpus: Cpus,
    pub(crate) created: Timestamp,
    /// Since when its function runs.
    pub(crate) running: Option<Timestamp>,
    /// When it told progress first, and of how many units.
    pub(crate) first_progress: Option<(Timestamp, u64)>,
    /// The end that its worker has reported.
    pub(crate) reported: Option<Ending>,
    /// When its last process was gone, and what is known of why.
    pub(crate) exit: Option<Exit>,
    /// Its end was asked for.
    pub(crate) stopping: bool,
}

/// The end of an attempt's last process.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) at: Timestamp,
    /// Why the attempt failed when no worker has said it.
    pub(crate) end: Unreported,
}

/// An end that no worker has reported.
#[derive(Clone, Debug)]
pub(crate) struct Unreported {
    pub(crate) reason: FailureReason,
    pub(crate) why: String,
}

impl Unreported {
    /// Neither the job nor its worker has to do with it: the server was lost, or there was no room.
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        Self { reason: FailureReason::Lost, why: why.into() }
    }
}

impl TrackedAttempt {
    /// One that starts.
    pub(crate) fn new(number: AttemptNumber, cpus: Cpus, created: Timestamp) -> Self {
        let (running, first_progress, stopping) = (None, None, false);
        let (reported, exit) = (None, None);
        Self { number, cpus, created, running, first_progress, reported, exit, stopping }
    }
}

/// The attempts of one job as core sees them.
pub(crate) fn attempts(tracked: &[TrackedAttempt], host: &str) -> Vec<Attempt> {
    tracked.iter().map(|attempt| self::attempt(attempt, host)).collect()
}

/// One of them.
pub(crate) fn attempt(tracked: &TrackedAttempt, host: &str) -> Attempt {
    let TrackedAttempt { number, cpus, created, running, reported, exit, stopping, .. } = tracked;
    let state = match (exit, reported, running) {
        (Some(_), Some(ending), _) => AttemptState::Ended(End::Reported(ending.clone())),
        (Some(Exit { at, end }), None, _) => AttemptState::Ended(End::Unreported {
            reason: end.reason,
            message: end.why.clone(),
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
        unschedulable_since: None,
        job: None,
        pod: None,
        node: Some(host.to_owned()),
        state,
        is_present: exit.is_none(),
        stopping: *stopping,
        may_restart: false,
    }
}

/// A time that a worker has told in a report, by this server's clock: none before its attempt was `created`. A clock of the
/// worker that differs by much from ours was set by somebody meanwhile.
pub(crate) fn server_time(
    told: Timestamp,
    sent: Option<Timestamp>,
    created: Timestamp,
    now: Timestamp,
) -> Timestamp {
    let ahead = sent.map_or(SignedDuration::ZERO, |sent| now.duration_since(sent));
    if ahead.abs() <= MAX_CLOCK_SKEW {
        return told;
    }
    told.checked_add(ahead).unwrap_or(now).max(created).min(now)
}

/// All times of an end, likewise.
pub(crate) fn server_times(
    ending: &Ending,
    sent: Option<Timestamp>,
    created: Timestamp,
    now: Timestamp,
) -> Ending {
    let time = |told| server_time(told, sent, created, now);
    Ending {
        started: time(ending.started),
        running: ending.running.map(time),
        finished: time(ending.finished),
        ..ending.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_comes_late_keeps_its_times_and_a_clock_that_was_set_loses_them() {
        let at = |seconds: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let (created, now) = (at(100), at(200));
        let told = |told, sent| server_time(at(told), sent, created, now);
        // It was stored for a minute before it was sent.
        assert_eq!(told(140, Some(at(200))), at(140));
        assert_eq!(told(140, Some(at(199))), at(140));
        // The worker reads an hour more than this server does, or less.
        assert_eq!(told(3740, Some(at(3800))), at(140));
        assert_eq!(told(-3460, Some(at(-3400))), at(140));
        // It was set after the time was read.
        assert_eq!(told(140, Some(at(3800))), created);
        assert_eq!(told(140, Some(at(-3400))), now);
        assert_eq!(told(140, None), at(140));
    }
}
