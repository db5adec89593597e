//! Outside -> `Seen`: what batch Jobs and pods tell about the attempts of one ComputeJob. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use kube::ResourceExt as _;
use windlass_core::assignment::read_termination_message;
use windlass_core::plan::{Attempt, AttemptState, End};
use windlass_core::status::FailureReason;
use windlass_core::{AttemptNumber, Cpus, Job};

use crate::attempt::{CONTAINER, LABEL_ATTEMPT, LABEL_CPUS, LABEL_JOB_UID};

/// Reasons of a waiting container that only mean "not yet".
const ORDINARY_WAITING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// The attempts of one job that left a trace, in the order of their numbers.
///
/// Only batch Jobs that the ComputeJob owns, by UID, and pods that such a batch Job owned count:
/// labels alone could be anybody's.
pub fn attempts(
    job: &Job,
    jobs: &[Arc<batch::Job>],
    pods: &[Arc<core_v1::Pod>],
    now: Timestamp,
) -> Vec<Attempt> {
    let mut carriers: BTreeMap<AttemptNumber, &batch::Job> = BTreeMap::new();
    let mut bodies: BTreeMap<AttemptNumber, Vec<&core_v1::Pod>> = BTreeMap::new();
    for carrier in jobs.iter().filter(|carrier| is_owned(carrier, job)) {
        if let Some(number) = number(carrier.as_ref()) {
            carriers.insert(number, carrier);
        }
    }
    for pod in
        pods.iter().filter(|pod| label(pod.as_ref(), LABEL_JOB_UID) == Some(&job.metadata.uid))
    {
        let Some(number) = number(pod.as_ref()) else { continue };
        let owner = windlass_core::name::attempt(&job.metadata.name, &job.metadata.uid, number);
        if pod.owner_references().iter().any(|o| o.kind == "Job" && o.name == owner) {
            bodies.entry(number).or_default().push(pod);
        }
    }
    let mut numbers: Vec<_> = carriers.keys().chain(bodies.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|number| {
            let bodies = bodies.get(&number).map_or(&[][..], Vec::as_slice);
            attempt(number, carriers.get(&number).copied(), bodies, now)
        })
        .collect()
}

/// An attempt that the status names and that is gone without a trace. The caller has looked at the
/// API server itself, not only at a cache.
pub fn vanished(job: &Job, number: AttemptNumber, now: Timestamp) -> Attempt {
    Attempt {
        number,
        cpus: job.status.parallelism.unwrap_or(1),
        created: job.status.timeline.admitted.unwrap_or(now),
        job: job.status.job.clone(),
        pod: job.status.pod.clone(),
        node: job.status.node.clone(),
        state: AttemptState::Ended(End::Silent {
            reason: FailureReason::Lost,
            message: "its Job and pod are gone".into(),
            at: now,
        }),
        carried: false,
        stopping: false,
    }
}

/// Whether this batch Job is a carrier of this ComputeJob.
pub fn is_owned(carrier: &batch::Job, job: &Job) -> bool {
    carrier.owner_references().iter().any(|owner| owner.uid == job.metadata.uid)
}

/// CPUs that a batch Job or pod of ours was granted.
pub fn cpus<K: kube::Resource>(object: &K) -> Cpus {
    label(object, LABEL_CPUS).and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Whether processes of this pod may still run.
pub fn may_run(pod: &core_v1::Pod) -> bool {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed")) && terminated(pod).is_none()
}

fn attempt(
    number: AttemptNumber,
    carrier: Option<&batch::Job>,
    pods: &[&core_v1::Pod],
    now: Timestamp,
) -> Attempt {
    // A live pod says more than a dead one; the Job controller may have made two.
    let pod = pods.iter().find(|pod| may_run(pod)).or(pods.last()).copied();
    let created = carrier
        .and_then(|carrier| carrier.creation_timestamp())
        .or_else(|| pod.and_then(kube::ResourceExt::creation_timestamp))
        .map_or(now, |time| time.0);
    Attempt {
        number,
        cpus: carrier.map(cpus).or(pod.map(cpus)).unwrap_or(1),
        created,
        job: carrier.map(|carrier| carrier.name_any()),
        pod: pod.map(|pod| pod.name_any()),
        node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
        state: match pod {
            Some(pod) => state_of_pod(pod, now),
            None => state_without_pod(carrier, now),
        },
        carried: carrier.is_some(),
        stopping: carrier.is_some_and(|carrier| carrier.metadata.deletion_timestamp.is_some()),
    }
}

fn state_without_pod(carrier: Option<&batch::Job>, now: Timestamp) -> AttemptState {
    let failed = carrier
        .and_then(|carrier| carrier.status.as_ref()?.conditions.as_ref())
        .and_then(|all| all.iter().find(|c| c.type_ == "Failed" && c.status == "True"));
    match failed {
        Some(condition) => AttemptState::Ended(End::Silent {
            reason: FailureReason::Lost,
            message: format!(
                "its pod is gone: {} {}",
                condition.reason.as_deref().unwrap_or_default(),
                condition.message.as_deref().unwrap_or_default()
            ),
            at: condition.last_transition_time.as_ref().map_or(now, |time| time.0),
        }),
        None => AttemptState::Starting { reason: None, message: "no pod yet".into() },
    }
}

fn state_of_pod(pod: &core_v1::Pod, now: Timestamp) -> AttemptState {
    let status = pod.status.clone().unwrap_or_default();
    if let Some(dead) = terminated(pod) {
        return AttemptState::Ended(end_of(pod, dead, now));
    }
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        // Evicted or refused before a container ran, or its node is gone.
        let reason = status.reason.clone().unwrap_or_else(|| "pod failed".into());
        let message = status.message.clone().unwrap_or_default();
        return AttemptState::Ended(End::Silent {
            reason: FailureReason::Lost,
            message: format!("{reason} {message}"),
            at: now,
        });
    }
    let container = container_state(&status);
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

fn end_of(pod: &core_v1::Pod, dead: &core_v1::ContainerStateTerminated, now: Timestamp) -> End {
    let at = dead.finished_at.as_ref().map_or(now, |time| time.0);
    if let Some(ending) = dead.message.as_deref().and_then(read_termination_message) {
        return End::Told(ending);
    }
    let disrupted = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let why = dead.reason.as_deref().unwrap_or("unknown");
    let reason = match why {
        _ if disrupted || pod.metadata.deletion_timestamp.is_some() => FailureReason::Lost,
        "OOMKilled" => FailureReason::OutOfMemory,
        "StartError" | "ContainerCannotRun" => FailureReason::CannotStart,
        _ => FailureReason::Killed,
    };
    let message = format!(
        "the worker left no word: {why}, exit code {}. {}",
        dead.exit_code,
        dead.message.as_deref().unwrap_or_default()
    );
    End::Silent { reason, message, at }
}

fn terminated(pod: &core_v1::Pod) -> Option<&core_v1::ContainerStateTerminated> {
    container_state(pod.status.as_ref()?)?.terminated.as_ref()
}

fn container_state(status: &core_v1::PodStatus) -> Option<&core_v1::ContainerState> {
    status
        .container_statuses
        .as_ref()?
        .iter()
        .find(|container| container.name == CONTAINER)?
        .state
        .as_ref()
}

fn number<K: kube::Resource>(object: &K) -> Option<AttemptNumber> {
    label(object, LABEL_ATTEMPT)?.parse().ok().filter(|number| *number > 0)
}

fn label<'a, K: kube::Resource>(object: &'a K, key: &str) -> Option<&'a String> {
    object.meta().labels.as_ref()?.get(key)
}
