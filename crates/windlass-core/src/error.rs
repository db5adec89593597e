//! What can go wrong, in terms of the caller's world and of no transport.
//!
//! The gateway maps the kinds to HTTP status codes in one match, the controller maps them to
//! "try again later" in one match. "Not yet" is no error: it is a plan with `requeue_after`.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Job, JobKey, Phase};

/// One thing that is wrong with what somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Where, as a JSON pointer (RFC 6901) into the document that was sent, for example
    /// `/parallelism` or `/input/options/3/spot`. Empty for the whole document.
    pub pointer: String,
    /// What is wrong and what is allowed. At most 1 KiB.
    pub message: String,
}

impl Problem {
    /// A problem at `pointer`; the message is cut to 1 KiB at a character boundary.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: clip(message.into(), 1024) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.pointer, self.message)
        }
    }
}

/// Every kind of failure that a caller of [`Jobs`](crate::Jobs) can meet.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong; all the problems that were found, never only the first.
    #[error("{}", join(.0))]
    Invalid(Vec<Problem>),
    /// It does not exist, or the caller may not know that it does.
    #[error("{kind} {name:?} was not found")]
    NotFound {
        /// Kind of the missing thing, such as `ComputeJob`.
        kind: &'static str,
        /// Its name as the caller gave it.
        name: String,
    },
    /// It was there, or would have been, and will not come back.
    #[error("{0}")]
    Gone(String),
    /// It exists already, or its state does not allow this.
    #[error("{0}")]
    Conflict(String),
    /// There is too much to do already. Trying again later is right.
    #[error("{message}")]
    Busy {
        /// What is full, for a person.
        message: String,
        /// When there may be room, as far as can be estimated.
        retry_after: Duration,
    },
    /// A part that is needed does not answer now. Trying again is right.
    #[error("{message}")]
    Unavailable {
        /// What is out of reach, for a person.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// A rule refuses it, whoever asks: a quota, or a policy that admins have set.
    #[error("{0}")]
    Refused(String),
    /// Whoever was asked does not let the caller do this. The gateway and the controller ask a cluster
    /// with rights of their own: there it is a defect of the installation.
    #[error("{0}")]
    Denied(String),
    /// A defect of Windlass. The text is for the log, not for the caller.
    #[error("internal error: {0}")]
    Bug(String),
}

impl Error {
    /// `Unavailable` with a retry after one second.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), retry_after: Duration::from_secs(1) }
    }

    /// `Conflict` for a name that a job has already.
    pub fn job_exists(name: &str) -> Self {
        Self::Conflict(format!("a job {name:?} exists already"))
    }

    /// `Conflict` for a job whose name another one has by now.
    pub fn another_job(name: &str) -> Self {
        Self::Conflict(format!("job {name:?} was deleted and made again: nothing was done"))
    }

    /// `NotFound` for a ComputeJob.
    pub fn no_job(name: impl Into<String>) -> Self {
        Self::NotFound { kind: "ComputeJob", name: name.into() }
    }

    /// `Conflict` for a job that has no result, with its phase.
    pub fn no_result(job: &Job) -> Self {
        let phase = job.status.phase.map_or("new", Phase::as_str);
        let partial = match &job.status.result {
            Some(_) => {
                ", only what it had computed before: `partial=true`, or `windlass result --partial`"
            }
            None => "",
        };
        let name = &job.metadata.name;
        Self::Conflict(format!("job {name:?} is {phase} and has no result{partial}"))
    }

    /// `Bug` for a job whose inline result is not what its digest says.
    pub fn damaged(key: &JobKey) -> Self {
        Self::Bug(format!("the result of {key} is not what its digest says"))
    }
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Cuts `text` to at most `max` bytes at a character boundary, with an ellipsis where it was cut.
pub fn clip(mut text: String, max: usize) -> String {
    const ELLIPSIS: &str = "...";
    if text.len() > max {
        let end = text.floor_char_boundary(max.saturating_sub(ELLIPSIS.len()));
        text.truncate(end);
        text.push_str(ELLIPSIS);
    }
    text
}
