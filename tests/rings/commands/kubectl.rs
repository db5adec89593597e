//! `kubectl windlass`, and the cluster of the kube context.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use super::{kubeconfig_of, without_settings};
use crate::support::{text, windlass};

/// An API server that has one job; tells what it was asked for, request by request.
fn api_server() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = std::sync::mpsc::channel();
    let job = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
        "metadata": { "name": "far", "namespace": "research", "uid": "u", "resourceVersion": "1",
                      "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "function": "price", "input": {} },
        "status": { "phase": "Succeeded", "node": "node-7" },
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            let line = text(&head[..length]).lines().next().unwrap_or_default().to_owned();
            let (status, body) = match line.contains("/computejobs/far") {
                true => ("200 OK", job.clone()),
                false => (
                    "404 Not Found",
                    json!({
                        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                        "message": "the server could not find the requested resource",
                        "reason": "NotFound", "details": {}, "metadata": {},
                    }),
                ),
            };
            let body = body.to_string();
            asked.send(line).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, requests)
}

#[test]
fn kubectl_windlass_asks_the_cluster_of_the_kube_context() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-windlass");
    std::os::unix::fs::symlink(windlass(), &plugin).unwrap();
    let help = without_settings(&plugin).args(["list", "--help"]).output().unwrap();
    let help = text(&help.stdout);
    assert!(help.contains("Usage: kubectl windlass list"), "{help}");
    assert!(help.contains("--context") && !help.contains("--server"), "{help}");

    let (url, requests) = api_server();
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(&kubeconfig, kubeconfig_of(&url)).unwrap();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let asked = |arguments: &[&str]| {
        // A server in the environment is not what kubectl's user means.
        let output = without_settings(&plugin)
            .env("WINDLASS_SERVER", "http://127.0.0.1:1")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, shown, said) = asked(&["get", "far", "--kubeconfig", kubeconfig, "-o", "wide"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("node-7"), "{shown}");
    let prefix = "GET /apis/windlass.dev/v1alpha1/namespaces";
    let line = requests.recv().unwrap();
    assert!(line.starts_with(&format!("{prefix}/research/computejobs/far")), "{line}");
    let (code, _, said) =
        asked(&["get", "cjob/far", "-n", "other", "--kubeconfig", kubeconfig, "--context", "here"]);
    assert_eq!(code, Some(0), "{said}");
    let line = requests.recv().unwrap();
    assert!(line.starts_with(&format!("{prefix}/other/computejobs/far")), "{line}");

    let (code, _, said) = asked(&["list", "--kubeconfig", kubeconfig]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("helm install"), "{said}");
    let (code, _, said) = asked(&["list", "--server", &url]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("windlass --server"), "{said}");
    let (code, _, said) = asked(&["list"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("KUBECONFIG"), "{said}");
    // Without a server, the plain program asks the same cluster.
    let output = without_settings(&windlass())
        .env("KUBECONFIG", kubeconfig)
        .args(["get", "far"])
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("Succeeded"), "{}", text(&output.stderr));
}

#[test]
fn files_for_a_kube_context_are_refused_with_what_to_do_before_anything_is_asked() {
    let (url, requests) = api_server();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (kubeconfig, table) = (path("kubeconfig"), path("big.csv"));
    fs::write(&kubeconfig, kubeconfig_of(&url)).unwrap();
    fs::write(&table, "a,b").unwrap();
    let (file, input) = (format!("data={table}"), format!("@{table}"));
    for command in [
        &["run", "sum", "--file", &file][..],
        &["submit", "sum", "--file", &file],
        &["call", "sum", "--input", &input],
        &["blobs", "put", &table],
    ] {
        let mut windlass = without_settings(&windlass());
        let output = windlass.args(command).args(["--kubeconfig", &kubeconfig]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        for words in [
            "kubectl port-forward",
            "`windlass` with --server http://127.0.0.1:7070 -n research",
            "WINDLASS_TOKEN=$(kubectl create token ACCOUNT -n research)",
        ] {
            assert!(said.contains(words), "{command:?}: {said}");
        }
    }
    assert!(requests.try_iter().next().is_none(), "a cluster was asked");
}
