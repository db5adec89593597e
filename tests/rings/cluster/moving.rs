//! Jobs that wait on one machine go on in a cluster, by the commands of the page.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::cluster::Namespace;
use crate::support::server::Server;
use crate::support::{checkout, text, windlass};

const KEY: [(&str, &str); 2] =
    [("Idempotency-Key", "night-1"), ("Content-Type", "application/json")];

/// The commands of the page, one text for each block.
fn commands() -> Vec<String> {
    let page = std::fs::read_to_string(checkout().join("docs/move-jobs.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn jobs_that_wait_on_one_machine_go_on_in_a_cluster() {
    let here = tempfile::tempdir().unwrap();
    let queue = json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
        "metadata": { "name": "default" }, "spec": { "cpus": 1 } });
    std::fs::write(here.path().join("queue.yaml"), queue.to_string()).unwrap();
    std::fs::write(here.path().join("data.bin"), b"some data").unwrap();
    let server = Server::beside(here.path(), &[]);
    let (machine, namespace) = (&server.client, Namespace::new("moving"));
    let cluster = namespace.client();

    let type_in = |commands: &str, token: &str| {
        let commands = commands
            .replace("/var/lib/windlass", server.data().to_str().unwrap())
            .replace("https://windlass.example", &format!("http://{}", cluster.address))
            .replace("--namespace windlass", &format!("--namespace {}", namespace.0));
        let program = windlass();
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &commands])
            .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
            .env("WINDLASS_SERVER", format!("http://{}", machine.address))
            .env("WINDLASS_TOKEN", token)
            .current_dir(here.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{commands}\n{}", text(&output.stderr));
        text(&output.stdout)
    };
    let [hold, send, create, cancel] = commands().try_into().unwrap();
    type_in(&hold, &machine.token);
    let request = json!({ "function": "echo", "input": { "n": 1 }, "labels": { "team": "red" } });
    let first = machine.post(&machine.jobs(""), &KEY, request.to_string().as_bytes());
    let named = first.json()["metadata"]["name"].as_str().unwrap().to_owned();
    type_in("windlass submit echo --input '{}' --name plain --priority 3", &machine.token);
    type_in("windlass submit echo --input '{}' --name files --file a=data.bin", &machine.token);

    type_in(&send, &cluster.token);
    let created = type_in(&create, &machine.token);
    assert_eq!(created.lines().count(), 3, "{created}");
    type_in(&cancel, &machine.token);
    for job in [&*named, "plain", "files"] {
        let moved = namespace.wait(job);
        assert_eq!(moved["status"]["phase"], "Succeeded", "{moved}");
        let left: Value = machine.get(&machine.jobs(&format!("/{job}"))).json();
        assert_eq!(left["status"]["phase"], "Cancelled", "{left}");
    }
    assert_eq!(namespace.job(&named)["metadata"]["labels"]["team"], "red");
    assert_eq!(namespace.job("plain")["spec"]["priority"], 3);
    // Its caller may send the request again, to the cluster.
    let again = cluster.post(&cluster.jobs(""), &KEY, request.to_string().as_bytes());
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"), "{again:?}");
    assert_eq!(again.json()["metadata"]["name"], *named);
}
