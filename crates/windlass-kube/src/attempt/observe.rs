//! Outside -> `Observed`: what batch Jobs and pods tell about the attempts of one ComputeJob. Pure.
//!
//! Of each object only what is needed is kept, as a [`Carrier`] or a [`Body`]; together they are the
//! [`Trace`] of an attempt. Only batch Jobs that the ComputeJob owns, by UID, under the name that is
//! computed for the attempt, and pods that such a batch Job owns, are traces: labels alone could be
//! anybody's. A pod that has lost its owner, since its batch Job was deleted and not its pods, is known
//! by its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use windlass_core::assignment::read_termination_message;
use windlass_core::plan::{Attempt, AttemptState, End};
use windlass_core::report::Ending;
use windlass_core::result::location;
use windlass_core::status::{FailureReason, reasons};
use windlass_core::{AttemptNumber, Cpus, Job, Outcome, name};

use crate::labels::{CONTAINER, LABEL_ATTEMPT, LABEL_CPUS, LABEL_JOB, LABEL_JOB_UID, LABEL_QUEUE};

/// Reasons of a waiting container that only mean "not yet".
const ORDINARY_WAITING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// An attempt of a job, over all time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// UID of the job.
    pub job_uid: Arc<str>,
    /// Number of the attempt.
    pub number: AttemptNumber,
}

/// What an object of ours says about itself by its labels and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The attempt that it belongs to.
    pub attempt: AttemptId,
    /// Its namespace.
    pub namespace: String,
    /// Name of the job.
    pub job: String,
    /// Name of the queue.
    pub queue: String,
    /// CPUs granted.
    pub cpus: Cpus,
}

/// What is left of one attempt in the world.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Its batch Job.
    pub carrier: Option<Carrier>,
    /// Its pods by UID. More than one only when the Job controller made a second.
    pub bodies: BTreeMap<String, Body>,
    /// Name of the last pod that was seen, whether it is still there or not.
    pub pod: Option<String>,
    /// The node of the last pod that had one.
    pub node: Option<String>,
}

/// A batch Job.
#[derive(Clone, Debug)]
pub struct Carrier {
    uid: String,
    name: String,
    cpus: Cpus,
    created: Option<Timestamp>,
    /// What it says when it has failed, and since when.
    failed: Option<(String, Option<Timestamp>)>,
    finished: bool,
    stopping: bool,
    suspended: bool,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Body {
    name: String,
    node: Option<String>,
    cpus: Cpus,
    created: Option<Timestamp>,
    /// UID of its batch Job; `None` when that is gone and has left it.
    owner_uid: Option<String>,
    stopping: bool,
    state: AttemptState,
}

impl Trace {
    /// Whether processes of the attempt may run, or may be started without our doing.
    pub fn is_live(&self) -> bool {
        let comes = match &self.carrier {
            Some(carrier) => {
                carrier.is_open() && (self.bodies.is_empty() || carrier.may_make_another(self))
            }
            // A batch Job that is gone before its pod was seen may have had one all the same.
            None => self.is_invisible() && self.pod.is_none(),
        };
        comes || self.bodies.values().any(Body::is_live)
    }

    /// Whether nothing of it can be seen.
    pub fn is_invisible(&self) -> bool {
        self.carrier.is_none() && self.bodies.is_empty()
    }
}

impl Carrier {
    /// Its UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Whether its end is not known.
    fn is_open(&self) -> bool {
        !self.finished && self.failed.is_none()
    }

    /// Whether the Job controller may make a pod of it again.
    fn may_make_another(&self, trace: &Trace) -> bool {
        // Suspended, its pods are deleted, and that is no failure.
        self.is_open() && !self.stopping && (self.suspended || trace.bodies.is_empty())
    }
}

impl Body {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its node, once it has one.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Whether there is something to be told to end, or left by a batch Job that is gone.
    pub fn is_to_be_deleted(&self) -> bool {
        !self.stopping && (self.is_live() || self.is_orphan())
    }

    /// Whether its batch Job has left it.
    pub fn is_orphan(&self) -> bool {
        self.owner_uid.is_none()
    }

    fn is_live(&self) -> bool {
        !matches!(self.state, AttemptState::Ended(_))
    }
}

/// A batch Job of ours and what it says; `None` for a stranger's.
pub fn carrier(object: &batch::Job) -> Option<(Origin, Carrier)> {
    let origin = origin(object)?;
    let owner = object.owner_references().iter().find(|owner| owner.kind == Job::KIND)?;
    if owner.uid != *origin.attempt.job_uid || object.name_any() != name_of(&origin) {
        return None;
    }
    let status = object.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let failed = conditions.iter().find(|c| c.type_ == "Failed" && c.status == "True");
    let carrier = Carrier {
        uid: object.uid().unwrap_or_default(),
        name: object.name_any(),
        cpus: origin.cpus,
        created: object.creation_timestamp().map(|time| time.0),
        failed: failed.map(|condition| {
            let reason = condition.reason.as_deref().unwrap_or_default();
            let message = condition.message.as_deref().unwrap_or_default();
            let since = condition.last_transition_time.as_ref().map(|time| time.0);
            (format!("{reason} {message}"), since)
        }),
        finished: status.is_some_and(|status| status.completion_time.is_some()),
        stopping: object.metadata.deletion_timestamp.is_some(),
        suspended: object.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true)),
    };
    Some((origin, carrier))
}

/// What a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The batch Job of this UID.
    BatchJob {
        /// As the pod says.
        uid: String,
    },
    /// Nothing any more: its batch Job was deleted without it.
    Gone,
}

/// What a pod belongs to, if that is, or was, the batch Job of this name. One without owners is known by its
/// name: who may make such a pod may as well say that the batch Job owns it.
pub fn parent(pod: &core_v1::Pod, carrier: &str) -> Option<Parent> {
    let owners = pod.owner_references();
    match owners.iter().find(|owner| owner.kind == "Job" && owner.name == carrier) {
        Some(owner) => Some(Parent::BatchJob { uid: owner.uid.clone() }),
        None if owners.is_empty() => {
            pod.name_any().strip_prefix(carrier)?.starts_with('-').then_some(Parent::Gone)
        }
        None => None,
    }
}

/// A pod of ours and what it says; `None` for a stranger's.
pub fn body(pod: &core_v1::Pod, now: Timestamp) -> Option<(Origin, Body)> {
    let origin = origin(pod)?;
    let owner_uid = match parent(pod, &name_of(&origin))? {
        Parent::BatchJob { uid } => Some(uid),
        Parent::Gone => None,
    };
    let body = Body {
        name: pod.name_any(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        cpus: origin.cpus,
        created: pod.creation_timestamp().map(|time| time.0),
        owner_uid,
        stopping: pod.metadata.deletion_timestamp.is_some(),
        state: state_of_pod(pod, &origin, now),
    };
    Some((origin, body))
}

/// The attempts of one job that left a trace, in the order of their numbers. One whose batch Job went away
/// before its pod was seen may run all the same: it starts until the API server was asked.
pub fn attempts(traces: &BTreeMap<AttemptNumber, Trace>, now: Timestamp) -> Vec<Attempt> {
    traces.iter().map(|(number, trace)| attempt(*number, trace, now)).collect()
}

/// An attempt that the status names and that is gone without a trace. The caller has looked at the
/// API server itself, not only at a cache.
pub fn vanished(job: &Job, number: AttemptNumber, now: Timestamp) -> Attempt {
    Attempt {
        number,
        cpus: job.status.parallelism.unwrap_or(1),
        created: job.status.timeline.admitted.unwrap_or(now),
        startable_since: None,
        job: job.status.job.clone(),
        pod: job.status.pod.clone(),
        node: job.status.node.clone(),
        state: AttemptState::Ended(End::Unreported {
            reason: FailureReason::Lost,
            message: "its Job and pod are gone".into(),
            at: now,
        }),
        is_present: false,
        stopping: false,
        may_restart: false,
    }
}

/// An attempt whose pod is gone, though its batch Job is there.
pub fn gone(now: Timestamp) -> AttemptState {
    AttemptState::Ended(End::Unreported {
        reason: FailureReason::Lost,
        message: "its pod is gone".into(),
        at: now,
    })
}

/// Whether an attempt left no word and no pod that could be asked: what its node says decides.
pub fn is_gone_without_a_word(attempt: &Attempt, trace: Option<&Trace>) -> bool {
    let silent = matches!(
        attempt.state,
        AttemptState::Ended(End::Unreported { reason: FailureReason::Lost, .. })
    );
    silent && trace.is_none_or(|trace| trace.bodies.is_empty())
}

fn attempt(number: AttemptNumber, trace: &Trace, now: Timestamp) -> Attempt {
    let carrier = trace.carrier.as_ref();
    // A live pod says more than a dead one; the Job controller may have made two. One whose batch
    // Job is another than the one that is there was left by a deletion, and still counts.
    let mine =
        |body: &&Body| carrier.is_none_or(|carrier| body.owner_uid.as_ref() == Some(&carrier.uid));
    let body = (trace.bodies.values().find(|body| body.is_live()))
        .or_else(|| trace.bodies.values().rfind(mine))
        .or_else(|| trace.bodies.values().next_back());
    let created = carrier.and_then(|carrier| carrier.created).or(body.and_then(|b| b.created));
    Attempt {
        number,
        cpus: carrier.map(|c| c.cpus).or(body.map(|b| b.cpus)).unwrap_or(1),
        created: created.unwrap_or(now),
        startable_since: body.and_then(|body| body.created),
        job: carrier.map(|carrier| carrier.name.clone()),
        pod: body.map(|body| body.name.clone()).or_else(|| trace.pod.clone()),
        node: body.and_then(|body| body.node.clone()).or_else(|| trace.node.clone()),
        state: match body {
            Some(body) => body.state.clone(),
            None if trace.pod.is_some() => gone(now),
            None => state_without_pod(carrier, now),
        },
        // A live pod whose batch Job is gone is ended as well: whoever deleted that may have left it.
        is_present: carrier.is_some()
            || body.is_some_and(|body| body.is_live() || body.is_orphan()),
        stopping: carrier
            .map_or_else(|| body.is_some_and(|body| body.stopping), |carrier| carrier.stopping),
        may_restart: carrier.is_some_and(|carrier| carrier.may_make_another(trace)),
    }
}

fn state_without_pod(carrier: Option<&Carrier>, now: Timestamp) -> AttemptState {
    match carrier.and_then(|carrier| carrier.failed.as_ref()) {
        Some((message, since)) => AttemptState::Ended(End::Unreported {
            reason: FailureReason::Lost,
            message: format!("its pod is gone: {message}"),
            at: since.unwrap_or(now),
        }),
        // Its pod was there, and was removed before anybody here has seen it.
        None if carrier.is_some_and(|carrier| carrier.finished) => gone(now),
        None if carrier.is_some_and(|carrier| carrier.suspended) => AttemptState::Starting {
            reason: Some(reasons::SUSPENDED.into()),
            message: "its Job is suspended".into(),
        },
        None => AttemptState::Starting { reason: None, message: "no pod yet".into() },
    }
}

fn state_of_pod(pod: &core_v1::Pod, origin: &Origin, now: Timestamp) -> AttemptState {
    let nothing = core_v1::PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&nothing);
    if let Some(dead) = container_state(status).and_then(|state| state.terminated.as_ref()) {
        return AttemptState::Ended(end_of(pod, origin, dead, now));
    }
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        return without_a_container(status, now);
    }
    let container = container_state(status);
    if let Some(running) = container.and_then(|state| state.running.as_ref()) {
        let since = running.started_at.as_ref().map_or(now, |time| time.0);
        return AttemptState::Running { since };
    }
    if let Some(waiting) = container.and_then(|state| state.waiting.as_ref()) {
        let reason = waiting.reason.clone().filter(|r| !ORDINARY_WAITING.contains(&r.as_str()));
        let message = waiting.message.clone().unwrap_or_default();
        return AttemptState::Starting { reason, message };
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    AttemptState::Starting {
        reason: unscheduled.and_then(|c| c.reason.clone()),
        message: unscheduled.and_then(|c| c.message.clone()).unwrap_or_default(),
    }
}

/// A pod that has ended, of whose container nothing is known: evicted or refused before it ran; or
/// given up by the control plane because its node object is gone, which proves nothing.
fn without_a_container(status: &core_v1::PodStatus, now: Timestamp) -> AttemptState {
    let disruption =
        status.conditions.iter().flatten().find(|c| {
            c.type_ == "DisruptionTarget" && c.reason.as_deref() == Some("DeletionByPodGC")
        });
    let reason = status.reason.clone().unwrap_or_else(|| "pod failed".into());
    let message = status.message.clone().unwrap_or_default();
    if let Some(disruption) = disruption
        && container_state(status).is_some_and(|state| state.running.is_some())
    {
        let since = disruption.last_transition_time.as_ref().map_or(now, |time| time.0);
        let message = disruption.message.clone().unwrap_or_default();
        return AttemptState::Unreachable { message, since };
    }
    AttemptState::Ended(End::Unreported {
        reason: FailureReason::Lost,
        message: format!("{reason} {message}"),
        at: now,
    })
}

fn end_of(
    pod: &core_v1::Pod,
    origin: &Origin,
    dead: &core_v1::ContainerStateTerminated,
    now: Timestamp,
) -> End {
    let created = pod.creation_timestamp().map_or(now, |time| time.0);
    // By its node's clock, which may be any.
    let at = dead.finished_at.as_ref().map_or(now, |time| time.0).max(created).min(now);
    if let Some(ending) = dead.message.as_deref().and_then(read_termination_message) {
        return End::Reported(in_its_place(ending, origin).between(created, now));
    }
    let disrupted = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let why = dead.reason.as_deref().unwrap_or("unknown");
    let reason = match why {
        _ if disrupted || pod.metadata.deletion_timestamp.is_some() => FailureReason::Lost,
        // What a kubelet says of a container that it does not find any more: its node has started anew.
        "Unknown" | "ContainerStatusUnknown" => FailureReason::Lost,
        "OOMKilled" => FailureReason::OutOfMemory,
        "StartError" | "ContainerCannotRun" => FailureReason::CannotStart,
        _ => FailureReason::Killed,
    };
    let message = format!(
        "the worker left no word: {why}, exit code {}. {}",
        dead.exit_code,
        dead.message.as_deref().unwrap_or_default()
    );
    End::Unreported { reason, message, at }
}

/// A result that is said to be stored counts only in its own attempt's place.
fn in_its_place(mut ending: Ending, origin: &Origin) -> Ending {
    if let Outcome::Succeeded(result) = &ending.outcome
        && let Some(said) = &result.location
    {
        let AttemptId { job_uid, number } = &origin.attempt;
        if *said != location(&origin.namespace, job_uid, *number, &result.sha256) {
            let why = "the worker named a place that is not the attempt's";
            ending.outcome = Outcome::failed(FailureReason::ResultLost, why);
        }
    }
    ending
}

fn container_state(status: &core_v1::PodStatus) -> Option<&core_v1::ContainerState> {
    let all = status.container_statuses.as_ref()?;
    all.iter().find(|container| container.name == CONTAINER)?.state.as_ref()
}

/// The attempt that the labels of an object of ours name.
pub fn attempt_of<K: kube::Resource>(object: &K) -> Option<AttemptId> {
    Some(origin(object)?.attempt)
}

fn origin<K: kube::Resource>(object: &K) -> Option<Origin> {
    let meta = object.meta();
    let labels = meta.labels.as_ref()?;
    let label = |key| labels.get(key).cloned();
    let number = label(LABEL_ATTEMPT)?.parse().ok().filter(|number| *number > 0)?;
    Some(Origin {
        attempt: AttemptId { job_uid: label(LABEL_JOB_UID)?.into(), number },
        namespace: meta.namespace.clone()?,
        job: label(LABEL_JOB)?,
        queue: label(LABEL_QUEUE)?,
        cpus: label(LABEL_CPUS)?.parse().ok()?,
    })
}

/// The name that the batch Job of this attempt has.
fn name_of(origin: &Origin) -> String {
    name::attempt(&origin.job, &origin.attempt.job_uid, origin.attempt.number)
}

#[cfg(test)]
mod tests;
