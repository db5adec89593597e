//! What a real function needs of its pod, said by `podTemplate`: each need is a function that runs to its result.

use serde_json::{Value, json};

use super::{Restored, inject, run};
use crate::support::cluster::{Namespace, get, kubectl};

const IMAGE: &str = "windlass.test/python:1";

/// Gives back what the expression in its first argument is.
const PROGRAM: &str = "
import base64, json, os, sys, time
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
json.dump({'got': eval(sys.argv[1])}, open(os.environ['WINDLASS_OUTPUT'], 'w'))
";

/// One need: its name, what the function looks at, what that must be, and the specification of its pod.
struct Need(&'static str, &'static str, Value, Value);

fn apply(namespace: &Namespace, object: &Value) {
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &object.to_string()).unwrap();
}

fn apply_function(namespace: &Namespace, name: &str, expression: &str, pod: &Value) {
    let spec = json!({ "image": IMAGE, "command": ["python3", "-c", PROGRAM], "args": [expression],
        "retries": 0, "memory": { "base": "1100Mi", "perCpu": "0" }, "podTemplate": { "spec": pod } });
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

/// A volume that outlives pods, where the cluster makes such.
fn data_volume(namespace: &Namespace) -> Value {
    if get(&["storageclasses"])["items"].as_array().unwrap().is_empty() {
        println!("the cluster makes no volumes: an emptyDir instead of a PVC");
        return json!({ "name": "data", "emptyDir": {} });
    }
    apply(
        namespace,
        &json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Mi" } } } }),
    );
    json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data" } })
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

fn needs(namespace: &Namespace) -> Vec<Need> {
    let secret = json!({ "secretKeyRef": { "name": "secret", "key": "key" } });
    let empty = json!([{ "name": "data", "emptyDir": {} }]);
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
            json!({ "volumes": [data_volume(namespace)], "containers": mounted("/data") }),
        ),
        Need(
            "gpu",
            "1",
            json!(1),
            json!({ "containers":
            with(json!({ "resources": { "limits": { "windlass.test/gpu": "1" } } })) }),
        ),
        Need(
            "shm",
            "(lambda fs: fs.f_blocks * fs.f_frsize)(os.statvfs('/dev/shm'))",
            json!(1 << 30),
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

#[test]
#[ignore = "needs a cluster with the chart and tests/in-cluster/images: tests/run"]
fn what_a_real_function_needs() {
    let _restored = Restored;
    inject("initContainer");
    let namespace = Namespace::new("needs");
    let client = namespace.client();
    apply_objects(&namespace);
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
