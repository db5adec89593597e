//! The pod of an attempt.

use serde_json::json;
use windlass_core::{FunctionSpec, Job, JobLimits, JobSpec, Metadata};

use super::super::build_batch_job::batch_job;
use super::super::new_attempt::NewAttempt;
use super::super::report_endpoint::ReportEndpoint;
use super::super::worker_source::{Way, WorkerImage, WorkerSource};
use super::*;

/// The pod of an attempt of this number.
fn pod_of(job: &Job, function: Value, number: u32) -> core_v1::PodSpec {
    pod_with(None, job, function, number)
}

/// The same with a worker that is brought.
fn pod_with(
    worker: Option<&WorkerSource>,
    job: &Job,
    function: Value,
    number: u32,
) -> core_v1::PodSpec {
    let template = template_with(worker, job, function, number);
    let annotations = template.metadata.unwrap().annotations.unwrap();
    let says = |name: &str| annotations[name].clone();
    assert_eq!(says("cluster-autoscaler.kubernetes.io/safe-to-evict"), "false");
    assert_eq!(says("karpenter.sh/do-not-disrupt"), "true");
    template.spec.unwrap()
}

/// The pod with its metadata.
pub(super) fn template_of(job: &Job, function: Value, number: u32) -> core_v1::PodTemplateSpec {
    template_with(None, job, function, number)
}

fn template_with(
    worker: Option<&WorkerSource>,
    job: &Job,
    function: Value,
    number: u32,
) -> core_v1::PodTemplateSpec {
    let function: FunctionSpec = serde_json::from_value(function).unwrap();
    let limits = JobLimits::without_function(&job.spec);
    let report =
        ReportEndpoint { url: "http://gateway".into(), authorities: None, keep_log_bytes: Some(7) };
    let (limits, function, report) = (&limits, &function, &report);
    let attempt =
        NewAttempt { maker: None, job, limits, function, number, cpus: 2, report, worker };
    batch_job(&attempt).unwrap().spec.unwrap().template
}

pub(super) fn job() -> Job {
    let metadata = Metadata { name: "j".into(), uid: UID.into(), ..Metadata::default() };
    Job::new(metadata, JobSpec { function: "f".into(), ..JobSpec::default() })
}

#[test]
fn an_attempt_after_a_lost_one_would_rather_run_on_another_node() {
    let function = json!({ "image": "i", "command": ["f"], "podTemplate": { "spec": { "nodeSelector": { "a": "b" } } } });
    let failed = |reason: &str, attempt: u32| {
        let status = json!({ "attempt": 2, "node": "n2", "failure": {
            "reason": reason, "message": "", "attempt": attempt, "time": at(0) } });
        Job { status: serde_json::from_value(status).unwrap(), ..job() }
    };
    let avoided = |job: &Job, number: u32| {
        let pod = pod_of(job, function.clone(), number);
        assert_eq!(pod.node_selector.unwrap()["a"], "b");
        serde_json::to_value(pod.affinity).unwrap()
    };
    let rule = json!({ "key": "metadata.name", "operator": "NotIn", "values": ["n2"] });
    let terms = json!([{ "weight": 100, "preference": { "matchFields": [rule] } }]);
    // Not required: where there is no other node, it runs on this one.
    let preferred = json!({ "preferredDuringSchedulingIgnoredDuringExecution": terms });
    assert_eq!(avoided(&failed("Lost", 2), 3), json!({ "nodeAffinity": preferred }));
    assert_eq!(avoided(&failed("Crashed", 2), 3), Value::Null, "the function's own failure");
    assert_eq!(avoided(&failed("Lost", 1), 3), Value::Null, "not the attempt before");
    assert_eq!(avoided(&job(), 1), Value::Null, "the first attempt");
}

#[test]
fn a_function_has_a_home_and_places_to_write() {
    let function = json!({ "image": "i", "command": ["f"], "env": [{ "name": "USER",
        "value": "its own" }] });
    let pod = pod_of(&job(), function, 1);
    let container = &pod.containers[0];
    let value = |name: &str| {
        let all: Vec<_> = container.env.iter().flatten().filter(|v| v.name == name).collect();
        assert_eq!(all.len(), 1, "{name}");
        all[0].value.clone().unwrap()
    };
    assert_eq!((value("USER"), value("LOGNAME")), ("its own".into(), "windlass".into()));
    let volume_at = |path: &str| {
        let mount = container.volume_mounts.iter().flatten().find(|m| m.mount_path == path);
        let mount = mount.unwrap_or_else(|| panic!("{path}"));
        assert_ne!(mount.read_only, Some(true), "{path}");
        let volume = pod.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        volume.unwrap().empty_dir.as_ref().unwrap().medium.clone()
    };
    assert_eq!((volume_at("/tmp"), volume_at(&value("HOME"))), (None, None));
    assert_eq!(volume_at("/dev/shm").as_deref(), Some("Memory"));
}

fn brought(way: Way) -> WorkerSource {
    let image = WorkerImage {
        reference: "registry.example/windlass:1".into(),
        pull_policy: Some("Always".into()),
        pull_secrets: vec!["ours".into(), "theirs".into()],
    };
    WorkerSource { image, way }
}

fn any_function() -> Value {
    json!({ "image": "python", "command": ["python3", "-m", "f"], "args": ["$x"],
        "podTemplate": { "spec": { "imagePullSecrets": [{ "name": "theirs" }] } } })
}

#[test]
fn an_image_volume_brings_the_worker() {
    let pod = pod_with(Some(&brought(Way::ImageVolume)), &job(), any_function(), 1);
    let container = &pod.containers[0];
    let command =
        ["/windlass/worker/usr/local/bin/windlass-worker", "--", "python3", "-m", "f", "$$x"];
    assert_eq!(container.command.as_deref().unwrap(), command);
    assert_eq!(pod.init_containers, None);
    let volume =
        pod.volumes.as_ref().unwrap().iter().find(|volume| volume.image.is_some()).unwrap();
    let image = volume.image.as_ref().unwrap();
    assert_eq!(image.reference.as_deref(), Some("registry.example/windlass:1"));
    assert_eq!(image.pull_policy.as_deref(), Some("Always"));
    let mounts = container.volume_mounts.as_ref().unwrap();
    let mount = mounts.iter().find(|mount| mount.name == volume.name).unwrap();
    assert_eq!((mount.mount_path.as_str(), mount.read_only), ("/windlass/worker", Some(true)));
    let secrets: Vec<_> = pod.image_pull_secrets.iter().flatten().map(|s| &s.name).collect();
    assert_eq!(secrets, ["theirs", "ours"], "each once");
}

#[test]
fn an_init_container_brings_the_worker_and_the_pod_requests_no_more() {
    let pod = pod_with(Some(&brought(Way::InitContainer)), &job(), any_function(), 1);
    let container = &pod.containers[0];
    assert_eq!(container.command.as_ref().unwrap()[0], "/windlass/worker/windlass-worker");
    let [init] = &pod.init_containers.unwrap()[..] else { panic!() };
    let copies =
        ["/usr/local/bin/windlass-worker", "--install", "/windlass/worker/windlass-worker"];
    assert_eq!(init.command.as_deref().unwrap(), copies);
    assert_eq!(init.image.as_deref(), Some("registry.example/windlass:1"));
    assert_eq!(init.image_pull_policy.as_deref(), Some("Always"));
    assert_eq!(init.resources, container.resources);
    assert_eq!(init.security_context, container.security_context);
    assert_eq!(init.termination_message_policy.as_deref(), Some("FallbackToLogsOnError"));
    let mount_of = |container: &core_v1::Container| {
        let mounts = container.volume_mounts.iter().flatten();
        mounts.clone().find(|mount| mount.mount_path == "/windlass/worker").unwrap().clone()
    };
    let (writes, reads) = (mount_of(init), mount_of(container));
    assert_eq!((writes.read_only, reads.read_only), (Some(false), Some(true)));
    assert_eq!(writes.name, reads.name);
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == writes.name).unwrap();
    assert!(volume.empty_dir.is_some());
}

#[test]
fn an_image_of_ours_has_its_worker() {
    for way in [Way::ImageVolume, Way::InitContainer] {
        let function = json!({ "image": "registry.example/windlass:1", "command": ["f"] });
        let pod = pod_with(Some(&brought(way)), &job(), function.clone(), 1);
        assert_eq!(pod, pod_of(&job(), function, 1));
        assert_eq!(pod.containers[0].command.as_ref().unwrap()[..2], ["windlass", "worker"]);
    }
}

#[test]
fn a_worker_is_told_what_to_fetch_and_gets_it_in_its_own_volume() {
    let function = json!({ "image": "i", "command": ["f"] });
    let blob = json!({ "sha256": "0a".repeat(32), "bytes": 3, "mediaType": "text/csv" });
    let told = |spec: Value| {
        let job = Job { spec: serde_json::from_value(spec).unwrap(), ..job() };
        let pod = pod_of(&job, function.clone(), 1);
        let variables = pod.containers[0].env.iter().flatten();
        let mut told = variables.filter(|variable| variable.name == "WINDLASS_ASSIGNMENT");
        let text = told.next().unwrap().value.clone().unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let inline = told(json!({ "function": "f" }));
    assert_eq!(
        (&inline["input"], &inline["inputs"]),
        (&json!("/windlass/input/input.json"), &Value::Null)
    );
    // Of `{}`: a policy that strips the pod of its input is found out.
    let empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(inline["inputDigest"], json!({ "sha256": empty, "bytes": 2 }));
    assert_eq!(inline["keepLogBytes"], 7);
    let fetched = told(json!({ "function": "f", "inputBlob": blob, "files": { "a": blob } }));
    assert_eq!(fetched["input"], "/windlass/work/input/input");
    assert_eq!(
        fetched["inputs"],
        json!({ "input": { "blob": blob }, "files": { "a": { "blob": blob } } })
    );
    // A worker that is older than blobs finds that its input is another.
    assert_eq!(fetched["inputDigest"], json!({ "sha256": "0a".repeat(32), "bytes": 3 }));
    let beside = told(json!({ "function": "f", "files": { "a": blob } }));
    assert_eq!(beside["inputs"]["input"]["path"], "/windlass/input/input.json");
    assert_eq!(beside["inputs"]["input"]["blob"]["mediaType"], "application/json");
    assert_eq!(beside["input"], "/windlass/work/input/input");
}

#[test]
fn a_pod_is_unschedulable_since_its_scheduler_says_so() {
    let said = |reason: &str, more: Value| {
        let mut status = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled",
            "status": "False", "reason": reason, "message": "0/1 nodes are available",
            "lastTransitionTime": at(7) }] });
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        status
    };
    let since = |status: Value| observed_pod(status).unschedulable_since();
    assert_eq!(since(said("Unschedulable", json!({}))), Some(at(7)));
    assert_eq!(since(said("SchedulingGated", json!({}))), None);
    // Its scheduler makes room for it.
    assert_eq!(since(said("Unschedulable", json!({ "nominatedNodeName": "n" }))), None);
    assert_eq!(since(json!({ "phase": "Pending" })), None);
}
