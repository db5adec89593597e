//! What a plan is made from: what was observed of one job.

use std::time::Duration;

use jiff::Timestamp;

use crate::outcome::Ending;
use crate::report::is_settled;
use crate::status::{FailureReason, Place};
use crate::{AttemptNumber, Cpus, Error, JobStatus, Problem};

/// What was observed of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What admission says to a job that needs CPUs.
    pub admission: AdmissionDecision,
    /// Every attempt that was observed, in the order of their numbers. The attempt that the status
    /// names is among them: who does not find it looks at the source of truth, not at
    /// a cache, and says `Ended(Lost)`.
    pub attempts: Vec<Attempt>,
    /// Why the next attempt could not be created, when it was tried and refused.
    pub refusal: Option<Refusal>,
    /// How long an attempt runs before the status says so. Where a write is dear, none is spent on an
    /// attempt that ends at once: its end tells when it ran.
    pub running_grace: Duration,
    /// How long the attempt may wait for a node that has room. Then it gives its CPUs back, and the job is tried again
    /// later. None where it waits until the start deadline.
    pub unschedulable_timeout: Option<Duration>,
    /// For whom an attempt is to end, if for another job.
    pub preempted: Option<Preempted>,
}

impl Observed {
    /// The same without what workers have reported, for which a status was refused with these problems. `None` if no
    /// worker has reported anything that is not in the status.
    pub fn without_reports(&self, status: &JobStatus, problems: &[Problem]) -> Option<Self> {
        let mut without = self.clone();
        let reported = without.attempts.iter_mut().filter_map(|attempt| match &mut attempt.state {
            AttemptState::Ended(end @ End::Reported(_)) if !is_settled(status, attempt.number) => {
                Some(end)
            }
            _ => None,
        });
        let mut any = false;
        for end in reported {
            let at = if let End::Reported(ending) = end { ending.finished } else { continue };
            let reason = FailureReason::ResultLost;
            let why = Error::Invalid(problems.to_vec());
            let message = format!("what its worker said of its end cannot be stored: {why}");
            *end = End::Unreported { reason, message, at };
            any = true;
        }
        any.then_some(without)
    }
}

/// An attempt is to end for another job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preempted {
    /// Which attempt. What was said of another means nothing.
    pub attempt: AttemptNumber,
    /// For whom, in a sentence.
    pub message: String,
}

/// Why an attempt is to end for a job of this queue and priority, in a sentence. It names no job; and no queue where that is
/// of another namespace.
pub fn preempted_for(own: Option<(&str, i32)>) -> String {
    match own {
        Some((queue, priority)) => {
            format!("ended for a job of queue {queue:?} with priority {priority}")
        }
        None => {
            "ended for a job of another namespace, to which these CPUs are guaranteed".to_owned()
        }
    }
}

/// The creation of an attempt is refused.
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
    /// Nobody asked, because the job [needs](super::needs_cpus) no CPUs now; or the answer is on its way.
    #[default]
    NotAsked,
    /// It may start with so many CPUs.
    Granted(Cpus),
    /// It waits.
    Waiting {
        /// What for, in a sentence.
        why: String,
        /// Its place in the queue, if somebody counts.
        place: Option<Place>,
    },
    /// It waits for something that it needs, and does not start meanwhile.
    Blocked {
        /// One word of [`reasons`](crate::status::reasons).
        reason: &'static str,
        /// What for, in a sentence.
        why: String,
        /// Its place among those that a deleted queue holds. None for one that was in no queue.
        place: Option<Place>,
    },
}

/// One attempt, as observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: AttemptNumber,
    /// CPUs that it was granted.
    pub cpus: Cpus,
    /// When its batch Job or process was created.
    pub created: Timestamp,
    /// Since when it could have started: since its pod was created, on one machine since itself was.
    /// None while nobody has got round to making its pod.
    pub startable_since: Option<Timestamp>,
    /// Since when its scheduler says that no node has room for it. None of one that has a node, or is about to.
    pub unschedulable_since: Option<Timestamp>,
    /// Name of its `batch/v1` Job, where there is one.
    pub job: Option<String>,
    /// Name of its pod, where there is one.
    pub pod: Option<String>,
    /// Where it runs.
    pub node: Option<String>,
    /// How far it is.
    pub state: AttemptState,
    /// Whether something of it is still there, so that it must be removed in the end.
    pub is_present: bool,
    /// Whether its end was asked for already.
    pub stopping: bool,
    /// Whether its batch Job may by itself start it anew, although it has ended: no other starts before that
    /// batch Job is removed.
    pub may_restart: bool,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and each is moved once")]
pub enum AttemptState {
    /// Its function does not run yet. The reason is what it is said to wait for.
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
    /// Its worker has reported how.
    Reported(Ending),
    /// Its worker has reported nothing.
    Unreported {
        /// What else says so.
        reason: FailureReason,
        /// The same in a sentence.
        message: String,
        /// When it ended, as far as is known.
        at: Timestamp,
    },
    /// Its node has refused to start it, and nothing of it has run.
    NotTaken {
        /// What the node says.
        message: String,
        /// When it was seen.
        at: Timestamp,
    },
}

impl Attempt {
    /// Whether its processes may still run.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, AttemptState::Ended(_))
    }

    /// Whether nothing of it runs, nor will.
    pub(super) fn is_dead(&self) -> bool {
        !self.is_live() && !self.may_restart
    }

    /// Whether anything of it can still be told to end.
    pub fn is_within_reach(&self) -> bool {
        self.is_live() && !matches!(self.state, AttemptState::Unreachable { .. })
    }
}
