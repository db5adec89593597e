//! The next write of a ComputeQueue: grants become claims, and the numbers that people see are updated.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use windlass_core::Cpus;
use windlass_core::plan::is_other;

use super::state::{Held, QueueKey, QueueState, Stage, State};
use crate::crd::{Claim, QueueStatus};
use crate::labels::AttemptId;

/// Most claims of a queue whose attempts were not observed yet. It is far below what the definition of a ComputeQueue
/// accepts, and keeps the object small.
pub(super) const MAX_CLAIMS: usize = 500;

/// Shortest time that a queue is left to another controller, in milliseconds; the longest is twice as long.
const RETAKE_MILLISECONDS: u128 = 500;

/// A write of a ComputeQueue's status.
#[derive(Clone, Debug)]
pub(crate) struct ClaimWrite {
    /// Which queue.
    pub(crate) queue: QueueKey,
    /// UID of the queue.
    pub(crate) uid: String,
    /// The version that it may replace.
    pub(crate) resource_version: String,
    /// Whether it may be written at once: this process made the last claim, so that it knows every attempt of the
    /// queue; or the write has no claim.
    pub(crate) may_replace: bool,
    /// The new status.
    pub(crate) status: QueueStatus,
    /// The grants that become claims with it.
    pub(super) granted: Vec<AttemptId>,
}

/// The next write that is due: grants to be claimed by `identity`; with `numbers` also a queue whose numbers have
/// changed by half since they were last written.
pub(super) fn next_write(
    state: &State,
    identity: &str,
    numbers: bool,
    now: Timestamp,
) -> Option<ClaimWrite> {
    state.queues.iter().find_map(|(key, queue)| {
        let is_postponed = queue.not_before.is_some_and(|not_before| now < not_before);
        let name = key.scheduler_name();
        let waiting = u32::try_from(state.scheduler.waiting_in(&name)).unwrap_or(u32::MAX);
        let used = state.scheduler.used_in(&name);
        let numbers_due = numbers && numbers_changed(queue, waiting, used);
        if queue.is_gone || is_postponed || (queue.granted.is_empty() && !numbers_due) {
            return None;
        }
        let granted = grants_that_fit(state, key, queue);
        if granted.is_empty() && !numbers_due {
            return None;
        }
        let is_holder = queue.counted && queue.status.holder.as_deref() == Some(identity);
        // Any controller may write the numbers alone. If that took the queue over, two controllers would do so for ever.
        let only_numbers = granted.is_empty() && !is_holder;
        let status = if only_numbers {
            QueueStatus { granted: used, waiting, ..queue.status.clone() }
        } else {
            let holder = Some(identity.to_owned());
            QueueStatus { holder, claims: claims(state, key, &granted), granted: used, waiting }
        };
        Some(ClaimWrite {
            queue: key.clone(),
            uid: queue.uid.clone(),
            resource_version: queue.resource_version.clone(),
            may_replace: is_holder || only_numbers,
            status,
            granted: granted.into_iter().collect(),
        })
    })
}

/// Whether what people see of a queue has changed by half, or by whether the queue is full.
fn numbers_changed(queue: &QueueState, waiting: u32, used: Cpus) -> bool {
    let written = queue.status.waiting;
    let is_full = |waiting: u32| waiting >= queue.spec.max_queued;
    is_other(written, waiting)
        || is_full(written) != is_full(waiting)
        || is_other(queue.status.granted, used)
}

/// The grants of a queue that are claimed next. The others are claimed once the attempts of these were observed.
fn grants_that_fit(state: &State, key: &QueueKey, queue: &QueueState) -> BTreeSet<AttemptId> {
    let claimed =
        held_in(state, key).filter(|(_, held)| matches!(held.stage, Stage::Claimed { .. }));
    let room = MAX_CLAIMS.saturating_sub(claimed.count());
    queue.granted.iter().take(room).cloned().collect()
}

/// All claims that the ComputeQueue names after the write, in a fixed order.
fn claims(state: &State, key: &QueueKey, granted: &BTreeSet<AttemptId>) -> Vec<Claim> {
    let named = held_in(state, key).filter(|(id, held)| match held.stage {
        Stage::Claimed { .. } => true,
        Stage::Granted => granted.contains(*id),
        Stage::Live => false,
    });
    let mut claims: Vec<_> = named.map(|(id, held)| Claim::new(id, held.cpus)).collect();
    claims.sort_by(|a, b| (&a.job_uid, a.attempt).cmp(&(&b.job_uid, b.attempt)));
    claims
}

fn held_in<'a>(
    state: &'a State,
    key: &'a QueueKey,
) -> impl Iterator<Item = (&'a AttemptId, &'a Held)> {
    state.held.iter().filter(move |(_, held)| held.queue == *key)
}

/// How long a queue is left to another controller that has taken it over. It differs each time, so that two controllers
/// do not take it from each other for ever.
pub(super) fn until_retaken() -> SignedDuration {
    let jitter = uuid::Uuid::new_v4().as_u128() % RETAKE_MILLISECONDS;
    SignedDuration::from_millis((RETAKE_MILLISECONDS + jitter) as i64)
}
