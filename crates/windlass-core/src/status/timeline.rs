//! When a job passed from one phase to the next.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::{Failure, FailureReason};
use crate::AttemptNumber;

/// When the job passed from one phase to the next, for its latest attempt.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Accepted.
    pub created: Option<Timestamp>,
    /// CPUs granted: its batch Job or process was created.
    pub admitted: Option<Timestamp>,
    /// The worker of the attempt started.
    pub started: Option<Timestamp>,
    /// The function's process started.
    pub running: Option<Timestamp>,
    /// Ended.
    pub finished: Option<Timestamp>,
    /// The attempts before the latest, in their order. At most 8: of more, the oldest are told as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub earlier: Vec<Earlier>,
}

/// Most attempts that are told beside the latest.
const MAX_EARLIER: usize = 8;

impl Timeline {
    /// Remembers an attempt that has failed and is tried again. Telling it twice changes nothing.
    pub(crate) fn remember(&mut self, failure: &Failure) {
        let Failure { attempt, time: ended, reason, exit_code, .. } = *failure;
        let known = self.earlier.last();
        if known.is_some_and(|known| known.attempt >= attempt) {
            return;
        }
        // What was not told, or is of the attempt before, is not before that one's end.
        let begun = self.admitted.unwrap_or(ended).min(ended);
        let admitted = known.map_or(begun, |known| begun.max(known.ended.min(ended)));
        self.earlier.push(Earlier { attempt, admitted, ended, reason: Some(reason), exit_code });
        if self.earlier.len() > MAX_EARLIER {
            let oldest = self.earlier.remove(0);
            self.earlier[0].admitted = oldest.admitted;
        }
    }
}

/// An attempt that failed and was followed by another.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Earlier {
    /// Its number, 1 for the first.
    #[schemars(range(min = 1))]
    pub attempt: AttemptNumber,
    /// When its CPUs were granted.
    pub admitted: Timestamp,
    /// When it had failed.
    pub ended: Timestamp,
    /// Why it failed, in one word. Absent where an earlier version of Windlass has written it.
    pub reason: Option<FailureReason>,
    /// Exit code of its function, where that exited by itself.
    pub exit_code: Option<i32>,
}
