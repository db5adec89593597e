//! The pod that a function's template says, completed or refused.

use serde_json::json;
use windlass_core::{Error, FunctionSpec};

use super::super::pod_template::pod_template;
use super::pods::{job, template_of};
use super::*;

fn function(metadata: &Value, spec: &Value) -> Value {
    json!({ "image": "i", "command": ["f"], "env": [{ "name": "OWN", "value": "1" }],
        "podTemplate": { "metadata": metadata, "spec": spec } })
}

/// The pod of the first attempt of a function with this template, as JSON.
fn completed(metadata: &Value, spec: &Value) -> Value {
    serde_json::to_value(template_of(&job(), function(metadata, spec), 1)).unwrap()
}

#[test]
fn a_template_is_kept_beside_what_is_ours() {
    let secret = json!({ "secretKeyRef": { "name": "s", "key": "k" } });
    let said = json!({
        "serviceAccountName": "robot", "automountServiceAccountToken": true,
        "nodeSelector": { "a": "b" }, "tolerations": [{ "key": "gpu", "operator": "Exists" }],
        "priorityClassName": "high", "runtimeClassName": "r", "terminationGracePeriodSeconds": 60,
        "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["h"] }],
        "dnsConfig": { "nameservers": ["10.0.0.2"] },
        "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway" }],
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "c" } }],
        "initContainers": [
            { "name": "fetch", "image": "i2", "command": ["get"] },
            { "name": "proxy", "image": "i3", "restartPolicy": "Always" },
        ],
        "containers": [
            { "name": "log", "image": "i4" },
            { "name": "function",
              "env": [{ "name": "KEY", "valueFrom": secret }, { "name": "HOME", "value": "/data" }],
              "envFrom": [{ "configMapRef": { "name": "m" } }],
              "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
              "resources": { "limits": { "nvidia.com/gpu": "1", "ephemeral-storage": "1Gi" } } },
        ],
    });
    let pod = completed(
        &json!({ "labels": { "team": "x" }, "annotations": { "n": "v",
        "karpenter.sh/do-not-disrupt": "false" } }),
        &said,
    );
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    assert_eq!(metadata["labels"]["team"], "x");
    assert_eq!(metadata["labels"]["windlass.dev/job"], "j");
    assert_eq!(metadata["annotations"]["n"], "v");
    assert_eq!(metadata["annotations"]["karpenter.sh/do-not-disrupt"], "false");
    assert_eq!(metadata["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false");
    for (field, value) in said.as_object().unwrap() {
        if !["volumes", "containers"].contains(&field.as_str()) {
            assert_eq!(spec[field], *value, "{field}");
        }
    }
    assert_eq!(spec["restartPolicy"], "Never");
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().into()).collect()
    };
    assert_eq!(names(&spec["volumes"]), ["input", "token", "work", "shm", "data"]);
    assert_eq!(names(&spec["containers"]), ["function", "log"]);
    let container = &spec["containers"][0];
    assert_eq!(container["command"], json!(["windlass", "worker", "--", "f"]));
    assert_eq!(container["envFrom"], said["containers"][1]["envFrom"]);
    let env = names(&container["env"]);
    assert_eq!(env, ["USER", "LOGNAME", "OWN", "WINDLASS_ASSIGNMENT", "KEY", "HOME"]);
    assert_eq!(container["env"][4]["valueFrom"], secret);
    let limits = json!({ "cpu": "2", "memory": container["resources"]["limits"]["memory"],
        "nvidia.com/gpu": "1", "ephemeral-storage": "1Gi" });
    assert_eq!(container["resources"]["limits"], limits);
    assert_eq!(container["resources"]["requests"]["cpu"], "2");
    assert!(container["volumeMounts"].to_string().contains("/data"));
    assert!(container["volumeMounts"].to_string().contains("/windlass/input"));
}

#[test]
fn a_template_says_another_user_and_another_shm() {
    let mounts = json!([{ "name": "big", "mountPath": "/dev/shm/" }]);
    let security =
        json!({ "readOnlyRootFilesystem": false, "capabilities": { "drop": ["NET_RAW"] } });
    let pod = completed(
        &json!({}),
        &json!({
            "securityContext": { "runAsUser": 0, "runAsGroup": 7 },
            "volumes": [{ "name": "big", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } }],
            "containers": [
                { "name": "function", "volumeMounts": mounts, "securityContext": security },
            ],
        }),
    );
    let of_pod = &pod["spec"]["securityContext"];
    let user = (&of_pod["runAsUser"], &of_pod["runAsGroup"], &of_pod["fsGroup"]);
    assert_eq!(user, (&json!(0), &json!(7), &json!(7)));
    assert_eq!(of_pod["runAsNonRoot"], Value::Null);
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["spec"]["containers"][0];
    let of_container = &container["securityContext"];
    assert_eq!(of_container["readOnlyRootFilesystem"], false);
    assert_eq!(of_container["allowPrivilegeEscalation"], false);
    assert_eq!(of_container["capabilities"]["drop"], json!(["NET_RAW"]));
    let all = container["volumeMounts"].as_array().unwrap();
    let shm: Vec<_> = all.iter().filter(|mount| mount["name"] == "shm").collect();
    assert!(shm.is_empty(), "{shm:?}");
}

#[test]
fn a_function_starts_in_its_working_directory_unless_its_template_says_another() {
    let working_dir = |directory: Value, template: Value| {
        let function = json!({ "image": "i", "command": ["f"], "workingDirectory": directory,
            "passEnv": ["KEY"], "podTemplate": { "spec": { "containers": [template] } } });
        let pod = serde_json::to_value(template_of(&job(), function, 1)).unwrap();
        assert!(!pod.to_string().contains("KEY"), "{pod}");
        pod["spec"]["containers"][0]["workingDir"].clone()
    };
    let (plain, other) =
        (json!({ "name": "function" }), json!({ "name": "function", "workingDir": "/b" }));
    assert_eq!(working_dir(Value::Null, plain.clone()), "/windlass/work");
    assert_eq!(working_dir(json!("/a"), plain), "/a");
    assert_eq!(working_dir(json!("/a"), other), "/b");
    let relative = json!({ "image": "i", "command": ["f"], "workingDirectory": "a" });
    let Err(Error::Invalid(problems)) = pod_template(&serde_json::from_value(relative).unwrap())
    else {
        panic!("a relative directory is taken")
    };
    assert_eq!(problems[0].pointer, "/workingDirectory");
}

#[test]
fn what_is_ours_is_refused_with_its_path() {
    let refused = |metadata: Value, spec: Value| {
        let function: FunctionSpec = serde_json::from_value(function(&metadata, &spec)).unwrap();
        match pod_template(&function) {
            Err(Error::Invalid(problems)) => problems[0].pointer.clone(),
            other => panic!("{spec}: {other:?}"),
        }
    };
    let none = || json!({});
    let container = |part: Value| {
        let mut container = part.as_object().unwrap().clone();
        container.entry("name").or_insert_with(|| "function".into());
        json!({ "containers": [container] })
    };
    let of_container = [
        ("image", json!({ "image": "x" })),
        ("command", json!({ "command": ["x"] })),
        ("args", json!({ "args": ["x"] })),
        ("resources/limits/cpu", json!({ "resources": { "limits": { "cpu": "1" } } })),
        ("resources/requests/memory", json!({ "resources": { "requests": { "memory": "1" } } })),
        ("env/0/name", json!({ "env": [{ "name": "WINDLASS_INPUT", "value": "x" }] })),
        ("env/0/name", json!({ "env": [{ "name": "OWN", "value": "x" }] })),
        (
            "volumeMounts/0/name",
            json!({ "volumeMounts": [{ "name": "token", "mountPath": "/t" }] }),
        ),
        (
            "volumeMounts/0/mountPath",
            json!({ "volumeMounts": [{ "name": "x", "mountPath": "/windlass/work" }] }),
        ),
        ("comand", json!({ "comand": ["x"] })),
    ];
    for (path, part) in of_container {
        let path = format!("/podTemplate/spec/containers/0/{path}");
        assert_eq!(refused(none(), container(part)), path);
    }
    let of_spec = [
        ("restartPolicy", json!({ "restartPolicy": "Never" })),
        ("activeDeadlineSeconds", json!({ "activeDeadlineSeconds": 5 })),
        ("terminationGracePeriodSeconds", json!({ "terminationGracePeriodSeconds": 1 })),
        ("resources/limits/cpu", json!({ "resources": { "limits": { "cpu": "1" } } })),
        ("volumes/0/name", json!({ "volumes": [{ "name": "token", "emptyDir": {} }] })),
        (
            "schedulingGates/0/name",
            json!({ "schedulingGates": [{ "name": "windlass.dev/never-runs" }] }),
        ),
        ("containers", container(json!({ "name": "main", "image": "x" }))),
        ("initContainers/0/name", json!({ "initContainers": [{ "name": "function" }] })),
        (
            "initContainers/0/volumeMounts/0/name",
            json!({ "initContainers": [
            { "name": "x", "volumeMounts": [{ "name": "token", "mountPath": "/t" }] }] }),
        ),
        ("volums", json!({ "volums": [1] })),
    ];
    for (path, spec) in of_spec {
        assert_eq!(refused(none(), spec), format!("/podTemplate/spec/{path}"));
    }
    let of_metadata = [
        ("name", json!({ "name": "x" })),
        ("labels/windlass.dev~1job", json!({ "labels": { "windlass.dev/job": "x" } })),
        (
            "annotations/windlass.dev~1input",
            json!({ "annotations": { "windlass.dev/input": "x" } }),
        ),
    ];
    for (path, metadata) in of_metadata {
        assert_eq!(refused(metadata, none()), format!("/podTemplate/metadata/{path}"));
    }
    assert_eq!(refused(none(), json!({ "nodeSelector": 7 })), "/podTemplate");
}

#[test]
fn a_sidecar_that_goes_on_is_told_from_one_that_has_ended() {
    let held = |sidecar: Value| {
        let status = |name: &str, state: Value| {
            json!({ "name": name, "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": state })
        };
        let ended = json!({ "terminated": { "exitCode": 0, "finishedAt": at(9) } });
        let containers = [status("function", ended), status("log", sidecar)];
        let pod = observed_pod(json!({ "phase": "Running", "containerStatuses": containers }));
        assert!(matches!(pod.state, AttemptState::Ended(_)), "judged by the function");
        pod
    };
    let sending = held(json!({ "running": { "startedAt": at(1) } }));
    assert_eq!(sending.held_since, Some(at(9)));
    assert_eq!([19, 20].map(|now| sending.is_held(at(now))), [false, true]);
    assert_eq!(held(json!({ "terminated": { "exitCode": 0 } })).held_since, None);
    assert_eq!(running().held_since, None);
}
