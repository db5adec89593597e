//! Functions in images that have nothing of Windlass, with each way that brings the worker to their pods.
//!
//! Each test upgrades the release, and so they run alone, one after the other. Where the node lacks image volumes, as with
//! a Kubernetes older than 1.35, that way is left out, and the test says so.

mod needs;

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::latency::bare_job;
use crate::support::cluster::{Namespace, RELEASE, get, kubectl};
use crate::support::http::Client;

/// Runs of each kind.
const RUNS: u32 = 7;

const PYTHON: &str = "
import json, os, socket, ssl
data = json.load(open(os.environ['WINDLASS_INPUT']))
for directory in ('/tmp', os.environ['HOME']):
    open(directory + '/file', 'w').write('x')
whole = os.path.exists('/windlass/worker/usr/local/bin/windlass-worker')
answer = {'user': os.getuid(), 'input': data, 'whole image': whole}
json.dump(answer, open(os.environ['WINDLASS_OUTPUT'], 'w'))
";

/// Has the worker come so into the pods of functions.
fn inject(how: &str) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/windlass");
    let mut helm = Command::new("helm");
    helm.args(["upgrade", RELEASE, chart, "--namespace", RELEASE, "--reuse-values", "--wait"]);
    helm.args(["--timeout", "2m", "--set", &format!("worker.injection={how}")]);
    let done = helm.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Puts it back as it was when a test ends.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        inject("none");
    }
}

/// Whether kubelets and container runtimes of the nodes have image volumes.
fn has_image_volumes() -> bool {
    let version = |text: &Value| -> Vec<u32> {
        let text = text.as_str().unwrap().split("://").last().unwrap();
        text.trim_start_matches('v').split('.').filter_map(|n| n.parse().ok()).collect()
    };
    get(&["nodes"])["items"].as_array().unwrap().iter().all(|node| {
        let info = &node["status"]["nodeInfo"];
        version(&info["kubeletVersion"]) >= vec![1, 35]
            && version(&info["containerRuntimeVersion"]) >= vec![2, 1]
    })
}

fn ways() -> Vec<&'static str> {
    if has_image_volumes() {
        return vec!["initContainer", "imageVolume", "auto"];
    }
    println!("the node has no image volumes: left out");
    vec!["initContainer", "auto"]
}

/// A function of this image in the namespace.
fn function(namespace: &Namespace, name: &str, image: &str, command: &Value) {
    let function = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction",
        "metadata": { "name": name }, "spec": { "image": image, "command": command, "retries": 0,
            "memory": { "base": "64Mi", "perCpu": "0" }, "parallelism": { "max": 2 } } });
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &function.to_string()).unwrap();
}

fn run(client: &Client, function: &str) -> (Value, Duration) {
    let started = Instant::now();
    let job = client.run(&json!({ "function": function, "input": { "n": 7 } }));
    (job["status"].clone(), started.elapsed())
}

#[test]
#[ignore = "needs a cluster with the chart and tests/in-cluster/images: tests/run"]
fn any_image_runs_whichever_way_brings_the_worker() {
    let _restored = Restored;
    for way in ways() {
        inject(way);
        let namespace = Namespace::new(&format!("images-{}", way.to_lowercase()));
        let client = namespace.client();
        function(&namespace, "python", "windlass.test/python:1", &json!(["python3", "-c", PYTHON]));
        function(&namespace, "static", "windlass.test/static:1", &json!(["/static"]));
        function(&namespace, "root-only", "windlass.test/root-only:1", &json!(["/static"]));
        for name in ["python", "static"] {
            let (status, _) = run(&client, name);
            assert_eq!(status["phase"], "Succeeded", "{way} {name}: {status}");
            let text = status["result"]["text"].as_str().unwrap();
            let mut told: Value = serde_json::from_str(text).unwrap();
            if name == "python" {
                let volume = way == "imageVolume" || way == "auto" && has_image_volumes();
                assert_eq!(told["whole image"].take(), json!(volume), "{way}");
                told.as_object_mut().unwrap().remove("whole image");
            }
            assert_eq!(told, json!({ "user": 65532, "input": { "n": 7 } }), "{way} {name}");
        }
        // What only root may start is told at once, and by its name.
        let (status, _) = run(&client, "root-only");
        assert_eq!(status["failure"]["reason"], "CannotStart", "{way}: {status}");
        assert!(status["failure"]["message"].to_string().contains("Permission denied"), "{status}");
    }
}

#[test]
#[ignore = "needs a cluster with the chart and tests/in-cluster/images: tests/run"]
fn what_bringing_the_worker_costs() {
    let _restored = Restored;
    let mut rows = Vec::new();
    let namespace = Namespace::new("injection");
    let client = namespace.client();
    function(&namespace, "static", "windlass.test/static:1", &json!(["/static"]));
    for way in ways() {
        inject(way);
        let (mut own, mut brought, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..=RUNS {
            // A kubelet that still takes a pod down starts the next one later: each has the node for itself. A pod goes
            // when the kubelet looks, which is once a second; starts are spread evenly over a second.
            let idle = || {
                namespace.becomes_empty("pods");
                sleep(Duration::from_secs(1) * turn / RUNS);
            };
            idle();
            let today = run(&client, "echo").1;
            idle();
            let (status, taken) = run(&client, "static");
            assert_eq!(status["phase"], "Succeeded", "{way}: {status}");
            idle();
            let job = bare_job(&namespace, turn as usize);
            // The first of each warms up what is loaded lazily.
            if turn > 0 {
                own.push(today);
                brought.push(taken);
                bare.push(job);
            }
        }
        rows.push((way, [own, brought, bare].map(median)));
    }
    println!("submit to result, median of {RUNS}, in ms");
    for (way, [own, brought, bare]) in rows {
        let share = brought / own - 1.0;
        println!(
            "{way:>14}: today's way {own:5.0}, any image {brought:5.0} ({:+.0} %), bare Job {bare:5.0}",
            share * 100.0
        );
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
