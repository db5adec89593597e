//! The carrier of an attempt: one `batch/v1` Job whose pod runs `windlass worker -- FUNCTION`.
//!
//! Pure: from a job, its function and a grant to the manifest. Image, command and everything else
//! that is shaped like a pod come from the function, which an admin wrote; nothing comes from the
//! job but its input, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use windlass_core::assignment::{ASSIGNMENT, Assignment, ReportTo};
use windlass_core::contract::STOP_GRACE_SECONDS;
use windlass_core::{AttemptNumber, Cpus, Error, FunctionSpec, Job, JobLimits, name};

use crate::labels::{
    ANNOTATION_INPUT, AUDIENCE, CONTAINER, LABEL_ATTEMPT, LABEL_CPUS, LABEL_JOB, LABEL_JOB_UID,
    LABEL_QUEUE,
};

/// How long a pod may take to end after it was told: the worker's grace for its function and some
/// seconds for the worker itself.
const POD_GRACE_SECONDS: i64 = STOP_GRACE_SECONDS as i64 + 5;
/// Slack of the pod-level deadline behind the worker's own clock, in seconds.
const DEADLINE_SLACK_SECONDS: i64 = 120;
/// Life of the reporting token, in seconds; the kubelet renews it.
const TOKEN_SECONDS: i64 = 3600;
/// User and group of the pod's processes.
const NOBODY: i64 = 65532;

const INPUT_DIRECTORY: &str = "/windlass/input";
const TOKEN_DIRECTORY: &str = "/windlass/token";
const WORK_DIRECTORY: &str = "/windlass/work";
const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// Gives certificate authorities (PEM) as they are now, at most
/// [`MAX_AUTHORITIES_BYTES`](windlass_core::assignment::MAX_AUTHORITIES_BYTES). Must return at once.
pub type Authorities = Arc<dyn Fn() -> Arc<str> + Send + Sync>;

/// Where workers report to.
#[derive(Clone)]
pub struct ReportPlace {
    /// The gateway's report route, as pods reach it.
    pub url: String,
    /// Who is trusted with an `https` URL; nobody is without.
    pub authorities: Option<Authorities>,
}

impl ReportPlace {
    fn as_it_is_now(&self) -> ReportTo {
        ReportTo::Http {
            url: self.url.clone(),
            token: format!("{TOKEN_DIRECTORY}/token"),
            authorities: self.authorities.as_ref().map(|authorities| authorities().to_string()),
        }
    }
}

/// The batch Job that carries this attempt.
pub fn carrier(
    job: &Job,
    limits: &JobLimits,
    function: &FunctionSpec,
    attempt: AttemptNumber,
    cpus: Cpus,
    report: &ReportPlace,
) -> Result<batch::Job, Error> {
    let Some(image) = &function.image else {
        return Err(Error::Conflict(format!("function {:?} has no image", job.spec.function)));
    };
    let memory = function
        .memory
        .bytes(cpus)
        .ok_or_else(|| Error::Conflict(format!("function {:?}: memory", job.spec.function)))?;
    let labels = labels(job, attempt, cpus);
    let pod = core_v1::PodSpec {
        active_deadline_seconds: None,
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        containers: vec![container(job, limits, function, attempt, cpus, memory, image, report)?],
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
        volumes: Some(volumes()),
        ..placement(function)
    };
    let annotations = BTreeMap::from([(ANNOTATION_INPUT.to_owned(), input_text(job))]);
    Ok(batch::Job {
        metadata: ObjectMeta {
            name: Some(name::attempt(&job.metadata.name, &job.metadata.uid, attempt)),
            namespace: Some(job.metadata.namespace.clone()),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner(job)]),
            ..Default::default()
        },
        spec: Some(batch::JobSpec {
            active_deadline_seconds: Some(
                i64::from(limits.start_deadline_seconds)
                    + i64::from(limits.timeout_seconds)
                    + DEADLINE_SLACK_SECONDS,
            ),
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            // A second pod only after the first is proven dead.
            pod_replacement_policy: Some("Failed".into()),
            template: core_v1::PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..Default::default()
                }),
                spec: Some(pod),
            },
            ..Default::default()
        }),
        status: None,
    })
}

fn labels(job: &Job, attempt: AttemptNumber, cpus: Cpus) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "windlass".to_owned()),
        (LABEL_JOB.to_owned(), job.metadata.name.clone()),
        (LABEL_JOB_UID.to_owned(), job.metadata.uid.clone()),
        (LABEL_ATTEMPT.to_owned(), attempt.to_string()),
        (LABEL_QUEUE.to_owned(), job.spec.queue().to_owned()),
        (LABEL_CPUS.to_owned(), cpus.to_string()),
    ])
}

/// The owner reference by which the cluster removes the carrier with its ComputeJob. It does not
/// block the owner's deletion: that would need a right that the controller has no other use for.
fn owner(job: &Job) -> OwnerReference {
    OwnerReference {
        api_version: windlass_core::API_VERSION.into(),
        kind: Job::KIND.into(),
        name: job.metadata.name.clone(),
        uid: job.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

#[expect(clippy::too_many_arguments, reason = "each is one field of the one container")]
fn container(
    job: &Job,
    limits: &JobLimits,
    function: &FunctionSpec,
    attempt: AttemptNumber,
    cpus: Cpus,
    memory: u64,
    image: &str,
    report: &ReportPlace,
) -> Result<core_v1::Container, Error> {
    let assignment = Assignment {
        job: job.metadata.name.clone(),
        job_uid: job.metadata.uid.clone(),
        attempt,
        parallelism: cpus,
        timeout_seconds: limits.timeout_seconds,
        max_result_bytes: limits.max_result_bytes,
        content_type: function.content_type.clone(),
        input: format!("{INPUT_DIRECTORY}/input.json"),
        work: WORK_DIRECTORY.into(),
        report: report.as_it_is_now(),
        results: None,
        log: None,
        confinement: None,
        termination_message: Some(TERMINATION_MESSAGE.into()),
    };
    let assignment = serde_json::to_string(&assignment)
        .map_err(|error| Error::Bug(format!("assignment: {error}")))?;
    let mut env: Vec<_> = function
        .env
        .iter()
        .map(|variable| env_var(&variable.name, escape(&variable.value)))
        .collect();
    env.push(env_var(ASSIGNMENT, escape(&assignment)));
    let command = ["windlass", "worker", "--"].map(str::to_owned).into_iter();
    let function_argv = function.command.iter().chain(&function.args).map(|part| escape(part));
    let amount = BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpus.to_string())),
        ("memory".to_owned(), Quantity(memory.to_string())),
    ]);
    Ok(core_v1::Container {
        name: CONTAINER.into(),
        image: Some(image.to_owned()),
        command: Some(command.chain(function_argv).collect()),
        env: Some(env),
        resources: Some(core_v1::ResourceRequirements {
            requests: Some(amount.clone()),
            limits: Some(amount),
            ..Default::default()
        }),
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
        ]),
        working_dir: Some(WORK_DIRECTORY.into()),
        ..Default::default()
    })
}

/// Kubernetes expands `$(NAME)` in commands and values; `$$` stands for one `$`.
fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

fn input_text(job: &Job) -> String {
    String::from_utf8_lossy(&job.spec.input_bytes()).into_owned()
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

fn volumes() -> Vec<core_v1::Volume> {
    let input = core_v1::Volume {
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
    };
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
    vec![input, token, work]
}

/// What the function's pods need of their node.
fn placement(function: &FunctionSpec) -> core_v1::PodSpec {
    let Some(pod) = &function.pod else { return core_v1::PodSpec::default() };
    core_v1::PodSpec {
        node_selector: Some(pod.node_selector.clone()),
        tolerations: Some(
            pod.tolerations
                .iter()
                .map(|t| core_v1::Toleration {
                    key: t.key.clone(),
                    operator: t.operator.clone(),
                    value: t.value.clone(),
                    effect: t.effect.clone(),
                    toleration_seconds: None,
                })
                .collect(),
        ),
        runtime_class_name: pod.runtime_class_name.clone(),
        image_pull_secrets: Some(
            pod.image_pull_secrets
                .iter()
                .map(|name| core_v1::LocalObjectReference { name: name.clone() })
                .collect(),
        ),
        priority_class_name: pod.priority_class_name.clone(),
        ..Default::default()
    }
}
