//! Who else submits jobs: a CronJob, and a step of Argo Workflows, as our samples have them.

use std::fs;

use serde_json::Value;

use super::MANY_SECONDS;
use crate::support::cluster::{Namespace, get, go_program, kubectl};
use crate::support::{checkout, eventually};

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_cron_job_submits_by_the_rights_of_its_own_account() {
    let namespace = Namespace::new("nightly");
    let image = get(&["cfn", "echo", "-n", &namespace.0])["spec"]["image"].take();
    let sample = fs::read_to_string(checkout().join("manifests/samples/nightly.yaml")).unwrap();
    let sample = sample.replace("windlass:0.1.0", image.as_str().unwrap());
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &sample).unwrap();
    let now = ["create", "job", "-n", &namespace.0, "--from=cronjob/nightly", "now"];
    kubectl(&now, "").unwrap();
    let selected = ["cjobs", "-n", &namespace.0, "-l", "schedule=nightly"];
    let job = eventually("a job is submitted", MANY_SECONDS, || {
        get(&selected)["items"][0]["metadata"]["name"].as_str().map(str::to_owned)
    });
    assert_eq!(namespace.wait(&job)["status"]["phase"], "Succeeded");
    let ended =
        ["wait", "-n", &namespace.0, "job/now", "--for=condition=Complete", "--timeout=60s"];
    kubectl(&ended, "").unwrap();
    assert_eq!(get(&selected)["items"].as_array().unwrap().len(), 1);
}

/// What the sample workflow applies under this name, and what Argo makes of the object then.
fn argo(name: &str, object: Option<&Value>) -> (String, String) {
    let arguments = ["../../examples/argo-workflow.yaml", name];
    let said = go_program("tests/argo", &arguments, object.map_or(&[], std::slice::from_ref));
    let (manifest, verdict) = said.split_once("\n\n").unwrap();
    (manifest.to_owned(), verdict.trim().to_owned())
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_step_of_argo_workflows_ends_as_its_job_does() {
    let namespace = Namespace::new("argo");
    let sample = fs::read_to_string(checkout().join("examples/argo-workflow.yaml")).unwrap();
    // All but the workflow, whose kind the cluster does not have.
    let (account, _) = sample.rsplit_once("\n---\n").unwrap();
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], account).unwrap();
    let by = format!("--as=system:serviceaccount:{}:windlass-step", namespace.0);
    let submit = |name| {
        let (manifest, _) = argo(name, None);
        // Argo may do it twice, and it is one job.
        for _ in 0..2 {
            kubectl(&["apply", "-n", &namespace.0, &by, "-f", "-"], &manifest).unwrap();
        }
    };
    submit("good");
    let job = namespace.wait("good-compute");
    assert_eq!(argo("good", Some(&job)).1, "Succeeded");
    let result = job["status"]["result"]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(result).unwrap()["input"]["from"], "good");

    namespace.apply_queue("default", &serde_json::json!({ "cpus": 1, "hold": true }));
    submit("bad");
    assert_eq!(argo("bad", Some(&namespace.job("bad-compute"))).1, "Running");
    namespace.cancel("bad-compute");
    assert_eq!(argo("bad", Some(&namespace.wait("bad-compute"))).1, "Failed");
}
