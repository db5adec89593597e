//! What a real function needs of its pod, said by `podTemplate`: each need is a function that runs to its result.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_core::result::sha256;

use super::{Restored, inject, run};
use crate::inputs::{call, noise};
use crate::support::cluster::{Namespace, get, kubectl};
use crate::support::http::Client;

const IMAGE: &str = "windlass.test/python:1";

/// Gives back what the expression in its first argument is.
const PROGRAM: &str = "
import base64, hashlib, json, os, sys, time
def there(path):
    deadline = time.monotonic() + 30
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    return open(path).read()
def claims():
    token = open('/var/run/secrets/kubernetes.io/serviceaccount/token').read().split('.')[1]
    return json.loads(base64.urlsafe_b64decode(token + '=='))
def written(path):
    open(path, 'w').write('x')
    return open(path).read()
def filled(path, mebibytes):
    with open(path, 'wb') as file:
        for _ in range(mebibytes):
            file.write(bytes(1 << 20))
    return os.path.getsize(path) >> 20
def given():
    data = open(os.environ['WINDLASS_INPUT'], 'rb').read()
    return [os.environ['WINDLASS_INPUT_TYPE'], len(data), hashlib.sha256(data).hexdigest()]
json.dump({'got': eval(sys.argv[1])}, open(os.environ['WINDLASS_OUTPUT'], 'w'))
";

/// One need: its name, what the function looks at, what that must be, and the specification of its pod.
struct Need(&'static str, &'static str, Value, Value);

fn apply(namespace: &Namespace, object: &Value) {
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &object.to_string()).unwrap();
}

fn apply_function(namespace: &Namespace, name: &str, expression: &str, pod: &Value) {
    let spec = json!({ "image": IMAGE, "command": ["python3", "-c", PROGRAM], "args": [expression],
        "retries": 0, "inputTypes": ["*/*"], "memory": { "base": "1100Mi", "perCpu": "0" },
        "podTemplate": { "spec": pod } });
    apply(
        namespace,
        &json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction",
        "metadata": { "name": name }, "spec": spec }),
    );
}

/// What the functions name.
fn apply_objects(namespace: &Namespace) {
    let object = |kind: &str, name: &str| {
        json!({ "apiVersion": "v1", "kind": kind,
        "metadata": { "name": name } })
    };
    let mut secret = object("Secret", "secret");
    secret["stringData"] = json!({ "key": "hush" });
    let mut config = object("ConfigMap", "config");
    config["data"] = json!({ "file": "text" });
    for object in [secret, config, object("ServiceAccount", "robot")] {
        apply(namespace, &object);
    }
    for node in get(&["nodes"])["items"].as_array().unwrap() {
        let patch = json!({ "status": { "capacity": { "windlass.test/gpu": "1" } } }).to_string();
        let name = node["metadata"]["name"].as_str().unwrap();
        kubectl(&["patch", "node", name, "--subresource=status", "--type=merge", "-p", &patch], "")
            .unwrap();
    }
}

/// A volume that outlives pods: one that the cluster makes, or a directory of this machine, which is its node.
struct Volume {
    name: String,
    /// Where what the function writes is found.
    directory: Option<TempDir>,
}

impl Volume {
    /// The volume, and the claim `data` that is bound to it.
    fn new(namespace: &Namespace) -> Self {
        let name = format!("data-of-{}", namespace.0);
        let mut claim = json!({ "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Mi" } } });
        let directory = get(&["storageclasses"])["items"].as_array().unwrap().is_empty().then(|| {
            let directory = tempfile::tempdir().unwrap();
            // A kubelet gives a hostPath to no group.
            fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
            (claim["volumeName"], claim["storageClassName"]) = (json!(name), json!(""));
            let spec = json!({ "capacity": { "storage": "1Mi" }, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": directory.path() },
                "claimRef": { "namespace": namespace.0, "name": "data" } });
            let volume = json!({ "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": { "name": name }, "spec": spec });
            kubectl(&["apply", "-f", "-"], &volume.to_string()).unwrap();
            directory
        });
        apply(
            namespace,
            &json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": "data" }, "spec": claim }),
        );
        Self { name, directory }
    }

    /// Whether what a pod has written is there when that is gone, where this machine sees it.
    fn check_written(&self) {
        if let Some(directory) = &self.directory {
            assert_eq!(fs::read_to_string(directory.path().join("x")).unwrap(), "x");
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.directory.is_some() {
            kubectl(&["delete", "pv", &self.name, "--wait=false"], "")
                .map(drop)
                .unwrap_or_default();
        }
    }
}

/// The function's container and this part of it.
fn with(part: Value) -> Value {
    let mut container = json!({ "name": "function" });
    container.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
    json!([container])
}

fn mounted(path: &str) -> Value {
    with(json!({ "volumeMounts": [{ "name": "data", "mountPath": path }] }))
}

/// A container beside the function that runs this program.
fn beside(program: &str) -> Value {
    let safe = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    json!({ "name": "beside", "image": IMAGE, "command": ["python3", "-c", program],
        "securityContext": safe,
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }] })
}

/// So many of what the node has one of.
fn gpus(count: u32) -> Value {
    let limits = json!({ "windlass.test/gpu": count.to_string() });
    json!({ "containers": with(json!({ "resources": { "limits": limits } })) })
}

fn needs(namespace: &Namespace) -> Vec<Need> {
    let secret = json!({ "secretKeyRef": { "name": "secret", "key": "key" } });
    let empty = json!([{ "name": "data", "emptyDir": {} }]);
    let claimed = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    let config = json!([{ "name": "data", "configMap": { "name": "config" } }]);
    let shm = json!([{ "name": "data", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } }]);
    let mut sidecar = beside("import time; open('/data/x', 'w').write('x'); time.sleep(3600)");
    let plain = sidecar.clone();
    sidecar["restartPolicy"] = "Always".into();
    let step = beside("open('/data/x', 'w').write('x')");
    let mut with_plain = mounted("/data");
    with_plain.as_array_mut().unwrap().push(plain);
    let subject = format!("system:serviceaccount:{}:robot", namespace.0);
    vec![
        Need(
            "secret",
            "os.environ['KEY']",
            json!("hush"),
            json!({ "containers":
            with(json!({ "env": [{ "name": "KEY", "valueFrom": secret }] })) }),
        ),
        Need(
            "config",
            "there('/data/file')",
            json!("text"),
            json!({ "volumes": config, "containers": mounted("/data") }),
        ),
        Need(
            "account",
            "claims()['sub']",
            json!(subject),
            json!({ "serviceAccountName": "robot", "automountServiceAccountToken": true }),
        ),
        Need(
            "volume",
            "written('/data/x')",
            json!("x"),
            json!({ "volumes": claimed, "containers": mounted("/data") }),
        ),
        Need("gpu", "1", json!(1), gpus(1)),
        Need(
            "shm",
            "[(lambda fs: fs.f_blocks * fs.f_frsize)(os.statvfs('/dev/shm')), filled('/dev/shm/x', 900)]",
            json!([1 << 30, 900]),
            json!({ "volumes": shm, "containers": mounted("/dev/shm") }),
        ),
        Need(
            "sidecar",
            "there('/data/x')",
            json!("x"),
            json!({ "volumes": empty,
            "initContainers": [sidecar], "containers": mounted("/data") }),
        ),
        Need(
            "plain-sidecar",
            "there('/data/x')",
            json!("x"),
            json!({ "volumes": empty, "containers": with_plain }),
        ),
        Need(
            "user",
            "[os.getuid(), written('/tmp/x'), written(os.environ['HOME'] + '/x')]",
            json!([1000, "x", "x"]),
            json!({ "securityContext": { "runAsUser": 1000 } }),
        ),
        Need(
            "init-step",
            "open('/data/x').read()",
            json!("x"),
            json!({ "volumes": empty,
            "initContainers": [step], "containers": mounted("/data") }),
        ),
    ]
}

/// What the condition of a function says, once it is this.
fn told(namespace: &Namespace, function: &str, ready: &str) -> String {
    let (name, until) = (format!("cfn/{function}"), format!("--for=condition=Ready={ready}"));
    kubectl(&["wait", "-n", &namespace.0, &name, &until, "--timeout=60s"], "")
        .unwrap_or_else(|error| panic!("{error}: {}", get(&["-n", &namespace.0, &name])));
    let found = get(&["-n", &namespace.0, &name]);
    found["status"]["conditions"][0]["message"].as_str().unwrap().to_owned()
}

/// An input that no object of Kubernetes could hold.
fn check_large_input(namespace: &Namespace, client: &Client) {
    apply_function(namespace, "given", "given()", &json!({}));
    assert_eq!(told(namespace, "given", "True"), "");
    let table = json!({ "rows": vec![0.5; 1_300_000] }).to_string().into_bytes();
    assert!(table.len() > 5_000_000);
    for (media_type, bytes) in [("application/json", table), ("image/png", noise(5_000_000))] {
        let answer = call(client, "given", media_type, &bytes);
        assert_eq!(answer.status, 200, "{media_type}: {answer:?}");
        let got = json!([media_type, bytes.len(), sha256(&bytes)]);
        assert_eq!(answer.json()["got"], got, "{media_type}");
    }
}

#[test]
#[ignore = "needs a cluster with the chart and tests/in-cluster/images: tests/run"]
fn what_a_real_function_needs() {
    let _restored = Restored;
    inject("initContainer");
    let namespace = Namespace::new("needs");
    let client = namespace.client();
    apply_objects(&namespace);
    let volume = Volume::new(&namespace);
    for Need(name, expression, expected, pod) in needs(&namespace) {
        apply_function(&namespace, name, expression, &pod);
        assert_eq!(told(&namespace, name, "True"), "", "{name}");
        let (status, taken) = run(&client, name);
        assert_eq!(status["phase"], "Succeeded", "{name}: {status}");
        let text = status["result"]["text"].as_str().unwrap();
        let told: Value = serde_json::from_str(text).unwrap();
        assert_eq!(told["got"], expected, "{name}");
        println!("{name:>14}: {} ms", taken.as_millis());
        if name == "plain-sidecar" {
            // It would go on for an hour, and hold the CPUs.
            let pod = format!("pod/{}", status["pod"].as_str().unwrap());
            let gone = ["wait", "-n", &namespace.0, &pod, "--for=delete", "--timeout=90s"];
            kubectl(&gone, "").unwrap();
        }
    }
    volume.check_written();
    check_large_input(&namespace, &client);
    // What Windlass refuses, and what the API server does.
    apply_function(&namespace, "ours", "1", &json!({ "restartPolicy": "Always" }));
    let ours = told(&namespace, "ours", "False");
    assert!(ours.contains("/podTemplate/spec/restartPolicy"), "{ours}");
    apply_function(&namespace, "theirs", "1", &json!({ "containers": mounted("/data") }));
    let theirs = told(&namespace, "theirs", "False");
    assert!(theirs.contains("volumeMounts") && theirs.contains("Not found"), "{theirs}");
    apply_function(&namespace, "root", "1", &json!({ "securityContext": { "runAsUser": 0 } }));
    let root = told(&namespace, "root", "False");
    assert!(root.contains("violates PodSecurity"), "{root}");
}
