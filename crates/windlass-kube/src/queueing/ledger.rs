//! Where grants are claimed: on the status of a ComputeQueue or, where its namespace shares the CPUs of a
//! ClusterComputeQueue, on that one. Everything that is granted from one pool of CPUs is claimed on one object, so that a
//! compare-and-set sees every other grant from it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kube::core::ObjectMeta;
use windlass_core::Cpus;

use super::key::QueueKey;
use crate::crd::{Claim, QueueStatus};
use crate::labels::AttemptId;
use crate::version::{is_older, version_of};

/// Shortest time that a queue is left to another controller, in milliseconds; the longest is twice as long.
const RETAKE_MILLISECONDS: u128 = 500;

/// The object whose status names the claims.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LedgerKey {
    /// A ComputeQueue whose quota is its own.
    Queue(QueueKey),
    /// The ClusterComputeQueue of this name.
    ClusterQueue(String),
}

impl LedgerKey {
    /// The name of the object.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Queue(key) => &key.name,
            Self::ClusterQueue(name) => name,
        }
    }

    /// A claim of CPUs of this queue, as it stands on the object: which queue it is of goes without saying on the
    /// queue itself.
    pub(super) fn claim(&self, attempt: &AttemptId, cpus: Cpus, queue: &QueueKey) -> Claim {
        let claim = Claim::new(attempt, cpus);
        match self {
            Self::Queue(_) => claim,
            Self::ClusterQueue(_) => {
                let (namespace, queue) = (queue.namespace.clone(), queue.name.clone());
                Claim { namespace: Some(namespace), queue: Some(queue), ..claim }
            }
        }
    }

    /// The queue of a claim that stands on the object.
    pub(super) fn queue_of(&self, claim: &Claim) -> Option<QueueKey> {
        match self {
            Self::Queue(key) => Some(key.clone()),
            Self::ClusterQueue(_) => {
                let (namespace, name) = claim.namespace.clone().zip(claim.queue.clone())?;
                Some(QueueKey { namespace, name })
            }
        }
    }
}

/// What is known of it.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) resource_version: String,
    pub(super) uid: String,
    pub(super) status: QueueStatus,
    /// Grants that are not claimed yet.
    pub(super) granted: BTreeSet<AttemptId>,
    /// Grants whose claims are being written. The claim of a grant that is not held any more means nothing: the grant
    /// was given up meanwhile.
    pub(super) writing: BTreeSet<AttemptId>,
    /// Attempts that are over and that the object still names.
    pub(super) settled: BTreeSet<AttemptId>,
    /// Whether all attempts that the previous holder has made were counted.
    pub(super) counted: bool,
    /// No write before this time: the last one was refused, or another controller has taken the object over.
    pub(super) not_before: Option<Timestamp>,
}

impl Ledger {
    /// Whether a watch that is late shows a version that is older than what was seen, or written, before. Its claims may
    /// be of attempts that are over and forgotten: they would be held, and used, once more.
    pub(super) fn is_newer_than(&self, shown: &ObjectMeta) -> bool {
        self.uid == shown.uid.as_deref().unwrap_or_default()
            && is_older(version_of(shown), self.resource_version.parse().ok())
    }

    /// The object is like this now. `identity` is this process.
    pub(super) fn observe(
        &mut self,
        shown: &ObjectMeta,
        status: QueueStatus,
        identity: &str,
        now: Timestamp,
    ) {
        self.resource_version = shown.resource_version.clone().unwrap_or_default();
        self.uid = shown.uid.clone().unwrap_or_default();
        let is_holder = |status: &QueueStatus| status.holder.as_deref() == Some(identity);
        if is_holder(&self.status) && !is_holder(&status) {
            // Another controller acts too. It gets some time for its claims, or each would undo the other's for ever.
            self.not_before = Some(now + until_retaken());
        }
        self.counted &= is_holder(&status);
        self.settled.retain(|attempt| is_claimed(&status, attempt));
        self.status = status;
    }

    /// An attempt that was granted CPUs here holds none any more.
    pub(super) fn release(&mut self, attempt: &AttemptId) {
        if !self.granted.remove(attempt) && is_claimed(&self.status, attempt) {
            self.settled.insert(attempt.clone());
        }
    }
}

/// Whether the status names this attempt.
pub(super) fn is_claimed(status: &QueueStatus, attempt: &AttemptId) -> bool {
    status.claims.iter().any(|claim| claim.attempt() == *attempt)
}

/// How long a queue is left to another controller that has taken it over. It differs each time, so that two controllers
/// do not take it from each other for ever.
fn until_retaken() -> SignedDuration {
    let jitter = uuid::Uuid::new_v4().as_u128() % RETAKE_MILLISECONDS;
    SignedDuration::from_millis((RETAKE_MILLISECONDS + jitter) as i64)
}
