//! Where a pod has its worker from: the function's own image, or ours, which is brought to it. Pure.
//!
//! Ours is brought as an image volume, which costs nothing but is new; or an init container copies the worker out of
//! it. An image that is ours has the worker already.

use k8s_openapi::api::core::v1 as core_v1;
use windlass_core::FunctionSpec;

use crate::labels::CONTAINER;

/// Our image, as pods get it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerImage {
    /// Such as `registry.example/windlass:0.1.0`.
    pub reference: String,
    /// As Kubernetes says it: `IfNotPresent`, for example. Default: Kubernetes' own.
    pub pull_policy: Option<String>,
    /// Secrets of each function's namespace with which it is pulled.
    pub pull_secrets: Vec<String>,
}

/// How it comes into a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a volume, which is the image.
    ImageVolume,
    /// By a container that runs before the function's and copies the worker.
    InitContainer,
}

/// Brings the worker to the pods of functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerSource {
    pub(crate) image: WorkerImage,
    pub(crate) way: Way,
}

/// The worker in our image, which has nothing else at this place.
const IN_IMAGE: &str = "/usr/local/bin/windlass-worker";
/// Its name, also of the volume and of the init container.
pub(super) const NAME: &str = "windlass-worker";
/// Where the volume with the worker is mounted.
const DIRECTORY: &str = "/windlass/worker";

/// What brings the worker to the pods of this function: nothing, where its image is ours.
fn needed<'a>(
    source: Option<&'a WorkerSource>,
    function: &FunctionSpec,
) -> Option<&'a WorkerSource> {
    source.filter(|source| function.image.as_ref() != Some(&source.image.reference))
}

/// The worker's own part of the command line in a pod of this function, with these flags.
pub(super) fn worker_command(
    source: Option<&WorkerSource>,
    function: &FunctionSpec,
    flags: &[&str],
) -> Vec<String> {
    let program = match needed(source, function).map(|source| source.way) {
        None => vec!["windlass".to_owned(), "worker".to_owned()],
        Some(Way::ImageVolume) => vec![format!("{DIRECTORY}{IN_IMAGE}")],
        Some(Way::InitContainer) => vec![format!("{DIRECTORY}/{NAME}")],
    };
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    program.into_iter().chain(flags).chain(["--".to_owned()]).collect()
}

/// Has the worker in the function's container of this pod.
pub(super) fn bring_worker(
    source: Option<&WorkerSource>,
    function: &FunctionSpec,
    pod: &mut core_v1::PodSpec,
) {
    let Some(WorkerSource { image, way }) = needed(source, function) else { return };
    let mount = |read_only| core_v1::VolumeMount {
        name: NAME.into(),
        mount_path: DIRECTORY.into(),
        read_only: Some(read_only),
        ..Default::default()
    };
    let mut volume = core_v1::Volume { name: NAME.into(), ..Default::default() };
    match way {
        Way::ImageVolume => {
            volume.image = Some(core_v1::ImageVolumeSource {
                reference: Some(image.reference.clone()),
                pull_policy: image.pull_policy.clone(),
            });
        }
        Way::InitContainer => {
            volume.empty_dir = Some(core_v1::EmptyDirVolumeSource::default());
            let copies = copies_worker(image, mount(false), &pod.containers);
            // First: a sidecar that runs before it would count to what the pod requests.
            pod.init_containers.get_or_insert_default().insert(0, copies);
        }
    }
    pod.volumes.get_or_insert_default().push(volume);
    for container in pod.containers.iter_mut().filter(|own| own.name == CONTAINER) {
        container.volume_mounts.get_or_insert_default().push(mount(true));
    }
    let secrets = pod.image_pull_secrets.get_or_insert_default();
    for name in &image.pull_secrets {
        if secrets.iter().all(|secret| secret.name != *name) {
            secrets.push(core_v1::LocalObjectReference { name: name.clone() });
        }
    }
}

/// The init container. It has the resources of the function's container: so the pod requests no more for it, is of the
/// same class, and no bound of the namespace that lets the function in refuses it.
fn copies_worker(
    image: &WorkerImage,
    mount: core_v1::VolumeMount,
    containers: &[core_v1::Container],
) -> core_v1::Container {
    let like = containers.iter().find(|container| container.name == CONTAINER);
    core_v1::Container {
        name: NAME.into(),
        image: Some(image.reference.clone()),
        image_pull_policy: image.pull_policy.clone(),
        command: Some(vec![IN_IMAGE.into(), "--install".into(), format!("{DIRECTORY}/{NAME}")]),
        resources: like.and_then(|container| container.resources.clone()),
        security_context: like.and_then(|container| container.security_context.clone()),
        // What it says when it fails is told with the job.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(vec![mount]),
        ..Default::default()
    }
}
