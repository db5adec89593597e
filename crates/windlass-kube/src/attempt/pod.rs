//! Builds the pod of an attempt: one container, which runs the worker and under it the function, and what the function's
//! template has beside.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use windlass_core::assignment::{ASSIGNMENT, Assignment, STANDBY, StandbyOrder, VERSION};
use windlass_core::status::FailureReason;
use windlass_core::{Cpus, Error, FunctionSpec};

use super::complete_pod::complete_pod;
use super::inputs::{beside_files, fetched_inputs, input_digest};
use super::new_attempt::NewAttempt;
use super::pod_template::POD_GRACE_SECONDS;
use super::report_endpoint::{ReportEndpoint, TOKEN_DIRECTORY};
use super::worker_source::{WorkerSource, bring_worker, worker_command};
use crate::labels::{ANNOTATION_INPUT, AUDIENCE, CONTAINER};

/// Life of the reporting token, in seconds; the kubelet renews it.
const TOKEN_SECONDS: i64 = 3600;
/// User and group of the pod's processes.
const NOBODY: i64 = 65532;

/// Its name, which programs ask for.
const USER: &str = "windlass";

/// CPUs that a standby requests while it waits. It may use more: its function is started meanwhile.
const STANDBY_CPU: &str = "10m";
const STANDBY_CPU_LIMIT: &str = "1";

const INPUT_DIRECTORY: &str = "/windlass/input";
const INPUT_FILE: &str = "/windlass/input/input.json";
const WORK_DIRECTORY: &str = "/windlass/work";
/// That of a function that serves: it is cleared, and directories of others lie in the one above.
const SERVE_DIRECTORY: &str = "/windlass/work/serve";
/// The user has no entry in the image's passwd, and its home would be the root directory, which nobody may write.
const HOME_DIRECTORY: &str = "/home/windlass";
const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// The pod of this attempt. `Conflict` when the function cannot run on a cluster.
pub(super) fn pod_spec(
    attempt: &NewAttempt<'_>,
    template: &core_v1::PodTemplateSpec,
) -> Result<core_v1::PodSpec, Error> {
    let NewAttempt { job, function, cpus, worker, .. } = *attempt;
    let assignment = serde_json::to_string(&beside_files(job, assignment(attempt)))
        .map_err(|error| Error::Bug(format!("assignment: {error}")))?;
    let memory = memory_bytes(function, &job.spec.function, cpus)?;
    let container = core_v1::Container {
        command: Some(command(function, worker, &[])),
        env: Some(environment(function, ASSIGNMENT, &assignment)),
        resources: Some(resources(amount(&cpus.to_string(), memory), None)),
        ..container(function, &job.spec.function)?
    };
    let pod = core_v1::PodSpec {
        affinity: away_from_lost_node(attempt),
        ..with_container(container, input_of_annotation())
    };
    let mut pod = complete_pod(template, pod)?;
    bring_worker(worker, function, &mut pod);
    Ok(pod)
}

/// The pod of a standby of this function. `Conflict` when the function cannot run on a cluster.
pub(super) fn standby_pod_spec(
    name: &str,
    function: &FunctionSpec,
    template: &core_v1::PodTemplateSpec,
    report: &ReportEndpoint,
    worker: Option<&WorkerSource>,
) -> Result<core_v1::PodSpec, Error> {
    let order = StandbyOrder {
        version: VERSION,
        report: report.current(),
        input: INPUT_FILE.into(),
        work: SERVE_DIRECTORY.into(),
        keep_log_bytes: report.keep_log_bytes,
    };
    let order = serde_json::to_string(&order)
        .map_err(|error| Error::Bug(format!("the order of a standby: {error}")))?;
    let memory = memory_bytes(function, name, function.parallelism.default)?;
    let container = core_v1::Container {
        command: Some(command(function, worker, &["--standby"])),
        env: Some(environment(function, STANDBY, &order)),
        // One byte less than the limit: requests that are the limits make another class of pods (Guaranteed), and a
        // resize must not change the class.
        resources: Some(resources(
            amount(STANDBY_CPU, memory - 1),
            Some(amount(STANDBY_CPU_LIMIT, memory)),
        )),
        ..container(function, name)?
    };
    // The worker itself writes the input that it is given.
    let input = core_v1::Volume {
        name: "input".into(),
        empty_dir: Some(core_v1::EmptyDirVolumeSource::default()),
        ..Default::default()
    };
    let mut pod = with_container(container, input);
    let mounts = pod.containers.iter_mut().flat_map(|container| &mut container.volume_mounts);
    mounts.flatten().filter(|mount| mount.name == "input").for_each(|mount| {
        mount.read_only = None;
    });
    let mut pod = complete_pod(template, pod)?;
    bring_worker(worker, function, &mut pod);
    Ok(pod)
}

/// A pod with this container, and this volume of the input.
fn with_container(container: core_v1::Container, input: core_v1::Volume) -> core_v1::PodSpec {
    core_v1::PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        containers: vec![container],
        restart_policy: Some("Never".into()),
        security_context: Some(core_v1::PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            run_as_group: Some(NOBODY),
            fs_group: Some(NOBODY),
            seccomp_profile: Some(core_v1::SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        termination_grace_period_seconds: Some(POD_GRACE_SECONDS),
        volumes: Some(volumes(input)),
        ..Default::default()
    }
}

/// Another node than that on which the attempt before was lost or refused, where there is one that fits: the node may
/// be full, broken or about to go. Only a preference, so that a cluster of one node goes on.
fn away_from_lost_node(attempt: &NewAttempt<'_>) -> Option<core_v1::Affinity> {
    let status = &attempt.job.status;
    let failure =
        status.failure.as_ref().filter(|failure| failure.reason == FailureReason::Lost)?;
    // The status tells the node of the same attempt.
    if failure.attempt + 1 != attempt.number || status.attempt != Some(failure.attempt) {
        return None;
    }
    let not_there = core_v1::NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "NotIn".into(),
        values: Some(vec![status.node.clone()?]),
    };
    let term = core_v1::PreferredSchedulingTerm {
        weight: 100,
        preference: core_v1::NodeSelectorTerm {
            match_fields: Some(vec![not_there]),
            ..Default::default()
        },
    };
    Some(core_v1::Affinity {
        node_affinity: Some(core_v1::NodeAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// The function's container, but for what it runs and what that gets.
fn container(function: &FunctionSpec, name: &str) -> Result<core_v1::Container, Error> {
    let Some(image) = &function.image else {
        return Err(Error::Conflict(format!("function {name:?} has no image")));
    };
    Ok(core_v1::Container {
        name: CONTAINER.into(),
        image: Some(image.clone()),
        security_context: Some(core_v1::SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(core_v1::Capabilities {
                drop: Some(vec!["ALL".into()]),
                ..Default::default()
            }),
            read_only_root_filesystem: Some(true),
            ..Default::default()
        }),
        termination_message_path: Some(TERMINATION_MESSAGE.into()),
        volume_mounts: Some(vec![
            mount("input", INPUT_DIRECTORY, true),
            mount("token", TOKEN_DIRECTORY, true),
            mount("work", WORK_DIRECTORY, false),
            part_of_work("tmp", "/tmp"),
            part_of_work("home", HOME_DIRECTORY),
            mount("shm", "/dev/shm", false),
        ]),
        working_dir: Some(function.working_directory.as_deref().unwrap_or(WORK_DIRECTORY).into()),
        ..Default::default()
    })
}

/// The worker's own arguments, with these flags, and those of the function.
fn command(function: &FunctionSpec, worker: Option<&WorkerSource>, flags: &[&str]) -> Vec<String> {
    let argv = function.command.iter().chain(&function.args).map(|part| escape(part));
    worker_command(worker, function, flags).into_iter().chain(argv).collect()
}

/// The memory that the function says for so many CPUs.
pub(super) fn memory_bytes(function: &FunctionSpec, name: &str, cpus: Cpus) -> Result<u64, Error> {
    let bytes = function.memory.bytes(cpus);
    bytes.ok_or_else(|| Error::Conflict(format!("function {name:?}: memory")))
}

fn amount(cpu: &str, memory_bytes: u64) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu.to_owned())),
        ("memory".to_owned(), Quantity(memory_bytes.to_string())),
    ])
}

/// Requests and limits are the same for an attempt: the CPUs that were granted, and the memory that the function says
/// for them.
fn resources(
    requests: BTreeMap<String, Quantity>,
    limits: Option<BTreeMap<String, Quantity>>,
) -> core_v1::ResourceRequirements {
    let limits = limits.unwrap_or_else(|| requests.clone());
    core_v1::ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        ..Default::default()
    }
}

/// The function's own variables, and the worker's.
fn environment(function: &FunctionSpec, name: &str, value: &str) -> Vec<core_v1::EnvVar> {
    let mut env: Vec<_> = [("HOME", HOME_DIRECTORY), ("USER", USER), ("LOGNAME", USER)]
        .into_iter()
        .filter(|(name, _)| function.env.iter().all(|own| own.name != *name))
        .map(|(name, value)| env_var(name, value.to_owned()))
        .collect();
    let own = function.env.iter();
    env.extend(own.map(|variable| env_var(&variable.name, escape(&variable.value))));
    env.push(env_var(name, escape(value)));
    env
}

/// What the worker of a standby is told to do.
pub(super) fn standby_assignment(attempt: &NewAttempt<'_>) -> Assignment {
    Assignment { on_standby: true, work: SERVE_DIRECTORY.into(), ..assignment(attempt) }
}

/// What the worker is told to do.
fn assignment(attempt: &NewAttempt<'_>) -> Assignment {
    let NewAttempt { job, limits, function, number, cpus, report, .. } = *attempt;
    Assignment {
        input: INPUT_FILE.into(),
        work: WORK_DIRECTORY.into(),
        termination_message: Some(TERMINATION_MESSAGE.into()),
        input_digest: Some(input_digest(&job.spec)),
        inputs: fetched_inputs(&job.spec),
        keep_log_bytes: report.keep_log_bytes,
        ..Assignment::new(job, limits, function, number, cpus, report.current())
    }
}

/// Kubernetes expands `$(NAME)` in commands and values; `$$` stands for one `$`.
fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

fn env_var(name: &str, value: String) -> core_v1::EnvVar {
    core_v1::EnvVar { name: name.to_owned(), value: Some(value), ..Default::default() }
}

fn mount(name: &str, path: &str, read_only: bool) -> core_v1::VolumeMount {
    core_v1::VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..Default::default()
    }
}

/// A directory of the attempt's own volume at a usual place.
fn part_of_work(name: &str, path: &str) -> core_v1::VolumeMount {
    core_v1::VolumeMount { sub_path: Some(name.to_owned()), ..mount("work", path, false) }
}

/// The input as an annotation of the pod.
fn input_of_annotation() -> core_v1::Volume {
    core_v1::Volume {
        name: "input".into(),
        downward_api: Some(core_v1::DownwardAPIVolumeSource {
            items: Some(vec![core_v1::DownwardAPIVolumeFile {
                path: "input.json".into(),
                field_ref: Some(core_v1::ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{ANNOTATION_INPUT}']"),
                    ..Default::default()
                }),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn volumes(input: core_v1::Volume) -> Vec<core_v1::Volume> {
    let token = core_v1::Volume {
        name: "token".into(),
        projected: Some(core_v1::ProjectedVolumeSource {
            sources: Some(vec![core_v1::VolumeProjection {
                service_account_token: Some(core_v1::ServiceAccountTokenProjection {
                    audience: Some(AUDIENCE.into()),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    path: "token".into(),
                }),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let work = core_v1::Volume {
        name: "work".into(),
        empty_dir: Some(core_v1::EmptyDirVolumeSource::default()),
        ..Default::default()
    };
    // The runtime's own has 64 MiB. This one may be as large as the memory of the attempt, which it counts to.
    let shm = core_v1::Volume {
        name: "shm".into(),
        empty_dir: Some(core_v1::EmptyDirVolumeSource {
            medium: Some("Memory".into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    vec![input, token, work, shm]
}
