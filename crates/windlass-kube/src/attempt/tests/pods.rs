//! The pod of an attempt.

use serde_json::json;
use windlass_core::{FunctionSpec, Job, JobLimits, JobSpec, Metadata};

use super::super::build::batch_job;
use super::super::new_attempt::NewAttempt;
use super::super::report_endpoint::ReportEndpoint;
use super::*;

#[test]
fn a_function_has_a_home_and_places_to_write() {
    let metadata = Metadata { name: "j".into(), uid: UID.into(), ..Metadata::default() };
    let job = Job::new(metadata, JobSpec { function: "f".into(), ..JobSpec::default() });
    let function = json!({ "image": "i", "command": ["f"], "env": [{ "name": "USER",
        "value": "its own" }] });
    let function: FunctionSpec = serde_json::from_value(function).unwrap();
    let limits = JobLimits::without_function(&job.spec);
    let report = ReportEndpoint { url: "http://gateway".into(), authorities: None };
    let attempt = NewAttempt {
        is_managed: false,
        job: &job,
        limits: &limits,
        function: &function,
        number: 1,
        cpus: 2,
        report: &report,
    };
    let pod = batch_job(&attempt).unwrap().spec.unwrap().template.spec.unwrap();
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
