//! What is kept of the objects of one attempt: its batch Job and its pods, and only what is needed of each.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use windlass_core::Cpus;
use windlass_core::plan::AttemptState;

use super::managed::{self, ManagedJob};
use super::managed_pod::is_placeholder;
use super::owner::{PodOwner, is_standby, own_batch_job, own_pod};
use super::pod_state::{end_of, held_since, is_ready, pod_state, unknown, unschedulable_since};
use super::standby::claimed_since;
use super::suspension::{is_told_to_suspend, was_never_resumed};
use crate::labels::AttemptLabels;
use crate::version::{is_older, version_of};

/// How long containers beside the function may go on after its end: to send what they have gathered.
const SIDECAR_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// So long after the time by which a pod must have ended, its end may still be on its way to us.
const END_IS_LATE: SignedDuration = SignedDuration::from_secs(5);

/// The objects of one attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptObjects {
    /// Its batch Job.
    pub batch_job: Option<ObservedBatchJob>,
    /// UID of the last batch Job that was seen, whether it is still there or not.
    pub batch_job_uid: Option<String>,
    /// Its pods by UID. More than one only when the Job controller made a second.
    pub pods: BTreeMap<String, ObservedPod>,
    /// Name of the last pod that was seen, whether it is still there or not.
    pub last_pod: Option<String>,
    /// The node of the last pod that had one.
    pub last_node: Option<String>,
    /// Since when its batch Job is to be deleted whose pod was never seen.
    pub removal_asked: Option<Timestamp>,
    /// Whether its batch Job was suspended, and had no pod then: it has none when it is gone.
    pub is_podless: bool,
}

/// What is kept of a batch Job.
#[derive(Clone, Debug)]
pub(crate) struct ObservedBatchJob {
    pub(super) uid: String,
    pub(super) version: Option<u64>,
    pub(super) name: String,
    pub(crate) cpus: Cpus,
    pub(crate) queue: String,
    pub(super) created: Option<Timestamp>,
    /// What it says when it has failed, and since when.
    pub(super) failed: Option<(String, Option<Timestamp>)>,
    /// Whether it ends its pod because that takes longer than the batch Job may.
    pub(super) past_deadline: bool,
    pub(super) finished: bool,
    pub(super) stopping: bool,
    pub(super) suspended: bool,
    /// Whether it is suspended because it is to be deleted.
    pub(crate) is_told_to_suspend: bool,
    /// Whether its controller says so, too, and surely about that: it makes no pod from then on.
    pub(crate) has_suspended: bool,
    /// Whether it is a standby: that has had its pod before it was of this attempt.
    pub(super) is_standby: bool,
    /// Whether it was suspended and goes on, and its next pod was not seen yet.
    pub(super) resumed: bool,
    /// Since when its controller has taken the suspension in; of one without parallelism, since when that was seen.
    pub(super) suspended_since: Option<Timestamp>,
    /// What is kept of it beside, if this controller manages it.
    pub(super) managed: Option<ManagedJob>,
}

/// What is kept of a pod.
#[derive(Clone, Debug)]
pub(crate) struct ObservedPod {
    pub(super) name: String,
    pub(super) node: Option<String>,
    pub(super) cpus: Cpus,
    pub(super) created: Option<Timestamp>,
    /// UID of its batch Job; `None` when that was deleted and has left the pod behind.
    pub(super) owner_uid: Option<String>,
    pub(super) stopping: bool,
    /// When it must have ended, once it was deleted.
    pub(super) stops_by: Option<Timestamp>,
    pub(super) state: AttemptState,
    /// Since when its scheduler says that no node has room for it.
    pub(super) unschedulable_since: Option<Timestamp>,
    /// Whether all its containers are ready.
    pub(super) is_ready: bool,
    /// Whether it has succeeded, once it has ended as a whole.
    pub(super) succeeded: Option<bool>,
    /// When its container ended.
    pub(super) ended: Option<Timestamp>,
    /// Since when only other containers than the function's run in it.
    pub(super) held_since: Option<Timestamp>,
    /// Whether it never runs, and only takes the name of another.
    pub(super) is_placeholder: bool,
}

impl AttemptObjects {
    /// Takes in a batch Job. Somebody may have deleted one whose name another has now: a watch that is late shows the
    /// first, and its deletion, after a list has shown the second.
    ///
    /// The next pod of one that is resumed is made a moment later: until then, the pod before it is not lost.
    pub(crate) fn batch_job_seen(&mut self, mut batch_job: ObservedBatchJob, now: Timestamp) {
        let known = self.batch_job.as_ref();
        if known.is_some_and(|known| is_older(batch_job.version, known.version)) {
            return;
        }
        let was_paused = known.is_some_and(|known| known.uid == batch_job.uid && known.is_paused());
        let goes_on = was_paused && batch_job.is_open() && !batch_job.stopping;
        if goes_on && !batch_job.suspended && self.last_pod.is_some() && !self.has_lasting_pod() {
            batch_job.resumed = true;
        }
        // Nothing of it says since when it has no parallelism, nor since when one had been suspended that goes on.
        if batch_job.is_paused() && batch_job.suspended_since.is_none() {
            let known = known.filter(|_| was_paused).and_then(|known| known.suspended_since);
            batch_job.suspended_since = known.or(Some(now));
        }
        self.is_podless &=
            batch_job.has_suspended && known.is_some_and(|known| known.uid == batch_job.uid);
        if self.batch_job_uid.as_ref() != Some(&batch_job.uid) {
            self.removal_asked = None;
        }
        self.batch_job_uid = Some(batch_job.uid.clone());
        self.batch_job = Some(batch_job);
    }

    /// Whether processes of the attempt may run, or may be started without our doing.
    pub(crate) fn is_live(&self) -> bool {
        let may_get_pod = match &self.batch_job {
            Some(batch_job) => {
                !self.is_podless
                    && batch_job.is_open()
                    && (!self.has_own_pod() || batch_job.may_make_another(self))
            }
            // A batch Job that is gone before its pod was seen may have had a pod.
            None => self.is_empty() && self.last_pod.is_none() && !self.is_podless,
        };
        may_get_pod || self.pods.values().any(ObservedPod::is_live)
    }

    /// Whether a pod is that of the batch Job, and no other that says so.
    pub(super) fn is_trusted(&self, pod: &ObservedPod) -> bool {
        pod.owner_uid.is_some() && pod.owner_uid == self.batch_job_uid
    }

    /// Whether a pod of its present batch Job lives, and nobody has deleted it.
    fn has_lasting_pod(&self) -> bool {
        self.pods.values().any(|pod| self.is_trusted(pod) && pod.is_live() && !pod.stopping)
    }

    /// Whether there is a pod of its present batch Job. One that an earlier batch Job has left does not keep this one from
    /// making its own.
    fn has_own_pod(&self) -> bool {
        self.pods.values().any(|pod| self.is_trusted(pod))
    }

    /// The pod that tells how far the attempt is. A live pod says more than a dead one; the Job controller may have
    /// made two. A pod whose batch Job is not the present one was left by a deletion, and still counts.
    pub(super) fn telling_pod(&self) -> Option<&ObservedPod> {
        let pods = || self.pods.values();
        let trusted = || pods().filter(|pod| self.is_trusted(pod));
        trusted()
            .find(|pod| pod.is_live())
            .or_else(|| pods().find(|pod| pod.is_live()))
            .or_else(|| trusted().next_back())
            .or_else(|| pods().next_back())
    }

    /// Whether its batch Job is ours to manage and does not say yet how it has ended, but will: nobody has deleted or
    /// suspended it, and its pod has ended, runs, or was not seen yet.
    pub(crate) fn is_untold(&self) -> bool {
        let is_untold = self.batch_job.as_ref().is_some_and(|batch_job| {
            batch_job.is_managed()
                && batch_job.is_open()
                && !batch_job.stopping
                && !batch_job.is_paused()
        });
        let ends = |pod: &ObservedPod| match pod.state {
            AttemptState::Running { .. } => !pod.stopping && self.is_trusted(pod),
            AttemptState::Ended(_) => !pod.is_placeholder,
            AttemptState::Starting { .. } | AttemptState::Unreachable { .. } => false,
        };
        let is_gone = self.pods.is_empty() && self.last_pod.is_some();
        is_untold && !is_gone && self.pods.values().all(ends)
    }

    /// Whether its pod is one that never runs.
    pub(super) fn has_placeholder(&self) -> bool {
        self.pods.values().any(|pod| pod.is_placeholder)
    }

    /// Whether nothing of it can be seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch_job.is_none() && self.pods.is_empty()
    }
}

impl ObservedBatchJob {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its UID.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// Whether this controller manages it, and not the cluster's Job controller.
    pub(crate) fn is_managed(&self) -> bool {
        self.managed.is_some()
    }

    /// Whether somebody wants it suspended, as far as this controller has to see to that.
    pub(crate) fn is_to_suspend(&self) -> bool {
        self.managed.as_ref().is_some_and(ManagedJob::is_to_suspend)
    }

    /// The process that makes the pod of one that this controller manages.
    pub(crate) fn maker(&self) -> Option<&str> {
        self.managed.as_ref().map(ManagedJob::maker)
    }

    /// The version that was read of one that this controller manages.
    pub(crate) fn managed_version(&self) -> Option<&str> {
        self.managed.as_ref().map(ManagedJob::resource_version)
    }

    /// Whether it says that it has had its pod, as far as this controller sees to that.
    pub(super) fn had_pod(&self) -> bool {
        self.managed.as_ref().is_some_and(ManagedJob::had_pod)
    }

    /// Whether it has not ended, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.finished && self.failed.is_none()
    }

    /// Whether it is suspended, so that it goes on when somebody resumes it, or was resumed and is to go on. The pods of such
    /// a batch Job are deleted, which is no failure.
    pub(crate) fn is_paused(&self) -> bool {
        (self.suspended || self.resumed) && self.is_open() && !self.stopping
    }

    /// Whether the Job controller may create another pod for it.
    pub(super) fn may_make_another(&self, objects: &AttemptObjects) -> bool {
        self.is_paused() || self.is_open() && !self.stopping && !objects.has_own_pod()
    }
}

impl ObservedPod {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its node, once it has one.
    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Since when no node has room for it, if nobody has deleted it.
    pub(super) fn unschedulable_since(&self) -> Option<Timestamp> {
        self.unschedulable_since.filter(|_| !self.stopping && self.is_live())
    }

    /// Whether somebody must delete it: it runs, or its batch Job is gone; and nobody has deleted it yet.
    pub(crate) fn is_to_be_deleted(&self) -> bool {
        !self.stopping && (self.is_live() || self.is_orphan())
    }

    /// Whether its function has ended and containers beside it have not, for so long that they will not by themselves.
    pub(crate) fn is_held(&self, now: Timestamp) -> bool {
        let is_long = |since| now.duration_since(since) > SIDECAR_GRACE;
        !self.stopping && self.held_since.is_some_and(is_long)
    }

    /// Whether its batch Job was deleted without it.
    pub(crate) fn is_orphan(&self) -> bool {
        self.owner_uid.is_none()
    }

    pub(super) fn is_live(&self) -> bool {
        !matches!(self.state, AttemptState::Ended(_))
    }

    /// How long its worker may still leave the log of its function, if somebody has deleted it.
    pub(crate) fn may_leave_log_for(&self, now: Timestamp) -> Option<Duration> {
        let until = self.stops_by.filter(|_| self.may_leave_log(now))? + END_IS_LATE;
        Some(until.duration_since(now).unsigned_abs())
    }

    /// Whether its worker runs and may still leave the log of its function.
    pub(crate) fn may_leave_log(&self, now: Timestamp) -> bool {
        let is_in_time = self.stops_by.is_none_or(|by| now.duration_since(by) < END_IS_LATE);
        is_in_time && !self.is_orphan() && matches!(self.state, AttemptState::Running { .. })
    }
}

/// Reads a batch Job of ours; `None` for anybody else's.
pub(crate) fn read_batch_job(object: &batch::Job) -> Option<(AttemptLabels, ObservedBatchJob)> {
    let labels = own_batch_job(object)?;
    let status = object.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let failed = conditions.iter().find(|c| c.type_ == "Failed" && c.status == "True");
    let managed = managed::read(object);
    let past_deadline = conditions.iter().any(|c| {
        matches!(c.type_.as_str(), "Failed" | "FailureTarget")
            && c.status == "True"
            && c.reason.as_deref() == Some("DeadlineExceeded")
    });
    let suspended = conditions.iter().find(|c| c.type_ == "Suspended" && c.status == "True");
    let is_told_to_suspend = is_told_to_suspend(object);
    let batch_job = ObservedBatchJob {
        uid: object.uid().unwrap_or_default(),
        version: version_of(&object.metadata),
        name: object.name_any(),
        cpus: labels.cpus,
        queue: labels.queue.clone(),
        created: created(object),
        failed: failed.map(|condition| {
            let reason = condition.reason.as_deref().unwrap_or_default();
            let message = condition.message.as_deref().unwrap_or_default();
            let since = condition.last_transition_time.as_ref().map(|time| time.0);
            (format!("{reason} {message}"), since)
        }),
        past_deadline,
        finished: status.is_some_and(|status| status.completion_time.is_some()),
        stopping: object.metadata.deletion_timestamp.is_some(),
        resumed: false,
        is_told_to_suspend,
        has_suspended: is_told_to_suspend && suspended.is_some() && was_never_resumed(object),
        is_standby: is_standby(&object.metadata),
        suspended_since: suspended.and_then(|c| c.last_transition_time.as_ref()).map(|time| time.0),
        // One that this controller manages stays suspended until its pod is there again.
        suspended: managed::is_to_suspend(object)
            || managed.as_ref().is_some_and(ManagedJob::says_suspended),
        managed,
    };
    Some((labels, batch_job))
}

/// Since when an object is of its attempt. A standby is there before.
fn created<K: kube::Resource<DynamicType = ()>>(object: &K) -> Option<Timestamp> {
    claimed_since(object.meta()).or(object.creation_timestamp().map(|time| time.0))
}

/// Reads a pod of ours; `None` for anybody else's.
pub(crate) fn read_pod(
    object: &core_v1::Pod,
    now: Timestamp,
) -> Option<(AttemptLabels, ObservedPod)> {
    let (labels, owner) = own_pod(object)?;
    let is_placeholder = is_placeholder(object);
    let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
    let pod = ObservedPod {
        name: object.name_any(),
        node: object.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        cpus: labels.cpus,
        created: created(object),
        owner_uid: match owner {
            PodOwner::BatchJob { uid } => Some(uid),
            PodOwner::Gone => None,
        },
        stopping: object.metadata.deletion_timestamp.is_some(),
        stops_by: object.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        state: if is_placeholder {
            AttemptState::Ended(unknown(object, now))
        } else {
            pod_state(object, &labels, now)
        },
        unschedulable_since: unschedulable_since(object),
        is_ready: is_ready(object),
        succeeded: match phase {
            Some("Succeeded") => Some(true),
            Some("Failed") => Some(false),
            _ => None,
        },
        ended: end_of(object),
        held_since: held_since(object, now),
        is_placeholder,
    };
    Some((labels, pod))
}
