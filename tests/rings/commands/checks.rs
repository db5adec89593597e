//! A function of Python's client that cannot be imported is told when the server starts, not by each job.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use crate::support::server::Server;
use crate::support::{eventually, windlass};

/// It takes every module for one that is not there.
const PYTHON: &str = "#!/bin/sh\necho \"$*: No module named 'mistyped'\" >&2\nexit 1\n";

#[test]
fn a_function_that_cannot_be_imported_is_told_at_the_start() {
    let here = tempfile::tempdir().unwrap();
    let python = here.path().join("python");
    fs::write(&python, PYTHON).unwrap();
    fs::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
    let python = python.to_str().unwrap();
    let said = "-m windlass.worker mistyped:f --check: No module named 'mistyped'";

    // Whoever has typed it is there to read why.
    let flag = format!("f={python} -m windlass.worker mistyped:f");
    let data = here.path().join("first");
    let refused = Server::try_start(Command::new(windlass()), &data, &["--function", &flag]);
    let (status, log) = refused.err().unwrap();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("--function f cannot be called") && log.contains(said), "{log}");

    // A server with many manifests goes on with the others.
    let manifests = here.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let write = |name: &str| {
        let manifest = format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: ComputeFunction\nmetadata: {{name: {name}}}\n\
             spec: {{command: [{python}, -m, windlass.worker, 'mistyped:f']}}\n"
        );
        fs::write(manifests.join(format!("{name}.yaml")), manifest).unwrap();
    };
    write("first");
    let arguments = ["--functions", manifests.to_str().unwrap()];
    let server = Server::start_at(&here.path().join("second"), &arguments);
    let told = |name: &str| {
        eventually("the function is told", Duration::from_secs(60), || {
            let log = server.said();
            (log.contains("every job of this function will fail") && log.contains(name))
                .then_some(log)
        })
    };
    assert!(told("first").contains(said));
    write("later");
    let log = told("later");
    assert!(log.contains(said) && !log.contains("\"first\""), "{log}");
}
