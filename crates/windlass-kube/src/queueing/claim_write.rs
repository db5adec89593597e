//! The next write of a ComputeQueue or a ClusterComputeQueue: grants become claims, and the numbers that people see are
//! updated.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use windlass_core::Cpus;
use windlass_core::plan::is_other;

use super::cluster_queues::ClusterQueueState;
use super::key::QueueKey;
use super::ledger::{Ledger, LedgerKey};
use super::state::{Held, QueueState, Stage, State};
use crate::condition::Condition;
use crate::crd::{Claim, QueueStatus};
use crate::labels::AttemptId;

/// Most claims of one object whose attempts were not observed yet. It is far below what the definition of the
/// object accepts, and keeps the object small.
pub(super) const MAX_CLAIMS: usize = 500;

/// The same of a ClusterComputeQueue, for all its queues and for one of them.
const MAX_SHARED_CLAIMS: usize = 2_000;
const MAX_CLAIMS_OF_SHARING: usize = 100;

/// A write of the status of a ComputeQueue or a ClusterComputeQueue.
#[derive(Clone, Debug)]
pub(crate) struct ClaimWrite {
    /// Which object.
    pub(crate) ledger: LedgerKey,
    /// UID of the object.
    pub(crate) uid: String,
    /// The version that it may replace.
    pub(crate) resource_version: String,
    /// Whether it may be written at once: this process made the last claim, so that it knows every attempt that counts
    /// there; or the write has no claim.
    pub(crate) may_replace: bool,
    /// The new status.
    pub(crate) status: QueueStatus,
    /// Whether a ClusterComputeQueue is as it should be.
    pub(crate) ready: Option<Condition>,
    /// The grants that become claims with it, as they are claimed.
    pub(super) granted: Vec<(AttemptId, Held)>,
}

/// What people see of a queue.
struct Numbers {
    waiting: u32,
    granted: Cpus,
}

/// The next write that is due: grants to be claimed by `identity`; with `numbers` also an object whose numbers have
/// changed by half since they were last written, or whose condition has changed.
pub(super) fn next_write(
    state: &State,
    identity: &str,
    numbers: bool,
    now: Timestamp,
) -> Option<ClaimWrite> {
    let of_queue = |(key, queue): (&QueueKey, &QueueState)| {
        if queue.is_gone || !numbers && queue.ledger.granted.is_empty() {
            return None;
        }
        let waiting = state.scheduler.waiting_in(key);
        let granted = state.scheduler.held_in(key);
        let told = Numbers { waiting: at_most_u32(waiting), granted };
        let is_due = numbers && numbers_changed(queue, &told);
        write_of(state, &LedgerKey::Queue(key.clone()), (told, is_due), identity, now)
    };
    let of_cluster_queue = |(name, queue): (&String, &ClusterQueueState)| {
        let (granted, waiting) = state.scheduler.numbers_of(name);
        let told = Numbers { waiting: at_most_u32(waiting), granted };
        let status = &queue.ledger.status;
        let ready = numbers.then(|| queue.ready(state.scheduler.guaranteed_of(name), now));
        let is_due = numbers
            && (is_other(status.waiting, told.waiting)
                || is_other(status.granted, told.granted)
                || ready != queue.told_ready);
        let key = LedgerKey::ClusterQueue(name.clone());
        let write = write_of(state, &key, (told, is_due), identity, now)?;
        Some(ClaimWrite { ready, ..write })
    };
    state
        .queues
        .iter()
        .find_map(of_queue)
        .or_else(|| state.cluster_queues.iter().find_map(of_cluster_queue))
}

/// The write of one object, if one is due.
fn write_of(
    state: &State,
    key: &LedgerKey,
    (told, is_due): (Numbers, bool),
    identity: &str,
    now: Timestamp,
) -> Option<ClaimWrite> {
    let ledger = state.ledger(key)?;
    let is_postponed = ledger.not_before.is_some_and(|not_before| now < not_before);
    if is_postponed || (ledger.granted.is_empty() && !is_due) {
        return None;
    }
    let claimed = grants_that_fit(state, key, ledger);
    if claimed.is_empty() && !is_due {
        return None;
    }
    let Numbers { waiting, granted } = told;
    let is_holder = ledger.counted && ledger.status.holder.as_deref() == Some(identity);
    // Any controller may write the numbers alone. If that took the queue over, two controllers would do so for ever.
    let only_numbers = claimed.is_empty() && !is_holder;
    let status = if only_numbers {
        QueueStatus { granted, waiting, ..ledger.status.clone() }
    } else {
        let holder = Some(identity.to_owned());
        QueueStatus { holder, claims: claims(state, key, &claimed), granted, waiting }
    };
    let as_held = |attempt: AttemptId| {
        let held = state.held.get(&attempt)?.clone();
        Some((attempt, held))
    };
    Some(ClaimWrite {
        ledger: key.clone(),
        uid: ledger.uid.clone(),
        resource_version: ledger.resource_version.clone(),
        may_replace: is_holder || only_numbers,
        status,
        ready: None,
        granted: claimed.into_iter().filter_map(as_held).collect(),
    })
}

fn at_most_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether what people see of a queue has changed by half, or by whether the queue is full.
fn numbers_changed(queue: &QueueState, told: &Numbers) -> bool {
    let status = &queue.ledger.status;
    let is_full = |waiting: u32| waiting >= queue.spec.max_queued;
    is_other(status.waiting, told.waiting)
        || is_full(status.waiting) != is_full(told.waiting)
        || is_other(status.granted, told.granted)
}

/// The grants that are claimed next. The others are claimed once the attempts of these were observed. A queue whose
/// attempts cannot be made, such as for a ResourceQuota of its namespace, leaves the others room for their claims.
fn grants_that_fit(state: &State, key: &LedgerKey, ledger: &Ledger) -> BTreeSet<AttemptId> {
    if ledger.granted.is_empty() {
        return BTreeSet::new();
    }
    let (most, most_of_queue) = match key {
        LedgerKey::Queue(_) => (MAX_CLAIMS, MAX_CLAIMS),
        LedgerKey::ClusterQueue(_) => (MAX_SHARED_CLAIMS, MAX_CLAIMS_OF_SHARING),
    };
    let mut of_queue: HashMap<&QueueKey, usize> = HashMap::new();
    let mut all = 0;
    for (_, held) in held_on(state, key) {
        if matches!(held.stage, Stage::Claimed { .. }) {
            all += 1;
            *of_queue.entry(&held.queue).or_default() += 1;
        }
    }
    let mut has_room = |attempt: &&AttemptId| {
        let Some(held) = state.held.get(*attempt) else { return false };
        let claims = of_queue.entry(&held.queue).or_default();
        let has_room = all < most && *claims < most_of_queue;
        all += usize::from(has_room);
        *claims += usize::from(has_room);
        has_room
    };
    ledger.granted.iter().filter(|attempt| has_room(attempt)).cloned().collect()
}

/// All claims that the object names after the write, in a fixed order.
fn claims(state: &State, key: &LedgerKey, granted: &BTreeSet<AttemptId>) -> Vec<Claim> {
    let named = held_on(state, key).filter(|(id, held)| match held.stage {
        Stage::Claimed { .. } => true,
        Stage::Granted => granted.contains(*id),
        Stage::Live => false,
    });
    let claim = |(id, held): (&AttemptId, &Held)| key.claim(id, held.cpus, &held.queue);
    let mut claims: Vec<_> = named.map(claim).collect();
    claims.sort_by(|a, b| (&a.job_uid, a.attempt).cmp(&(&b.job_uid, b.attempt)));
    claims
}

/// What is held of the CPUs whose grants are claimed on this object.
fn held_on<'a>(
    state: &'a State,
    key: &'a LedgerKey,
) -> impl Iterator<Item = (&'a AttemptId, &'a Held)> {
    state.held.iter().filter(move |(_, held)| {
        match (key, state.scheduler.pool_of(&held.queue.namespace)) {
            (LedgerKey::Queue(queue), None) => held.queue == *queue,
            (LedgerKey::ClusterQueue(name), Some(pool)) => name == pool,
            _ => false,
        }
    })
}
