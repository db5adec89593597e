//! Functions that misbehave, and manifests that change.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{BOUND, here, phase, status};
use crate::support::server::Server;
use crate::support::{eventually, executable, processes_of, script, text, windlass};

#[test]
fn what_a_function_floods_is_bounded() {
    let here = here();
    let data = here.path().join("data");
    let gigabyte = "head -c 1073741824 /dev/zero | tr '\\0' x";
    script(
        here.path(),
        "talks",
        &format!("{gigabyte}; echo; echo the end; echo > $WINDLASS_OUTPUT"),
        "retries: 0",
    );
    let lines = "yes '1 10 a line of progress' | head -c 1073741824 >> $WINDLASS_PROGRESS";
    script(
        here.path(),
        "counts",
        &format!("{lines}; printf '\\n10 10\\n' >> $WINDLASS_PROGRESS; echo > $WINDLASS_OUTPUT"),
        "retries: 0",
    );
    let server = Server::beside(here.path(), &["--cpus", "2"]);
    let mut most = 0;
    for name in ["talks", "counts"] {
        let job = json!({ "function": name, "name": name });
        assert_eq!(server.client.submit(&job).status, 201);
    }
    eventually("both end", BOUND * 3, || {
        most = most.max(blocks(&data));
        ["talks", "counts"]
            .iter()
            .all(|name| status(&server.client, name)["timeline"]["finished"].is_string())
            .then_some(())
    });
    for name in ["talks", "counts"] {
        assert_eq!(status(&server.client, name)["phase"], "Succeeded");
    }
    assert_eq!(status(&server.client, "counts")["progress"]["done"], 10);
    let log = server.client.get(&server.client.jobs("/talks/logs"));
    assert_eq!(log.status, 200);
    assert!(log.body.ends_with(b"x\nthe end\n") && log.body.len() <= 1 << 20, "{}", log.body.len());
    println!("at most {most} bytes on the disk while 2 GiB were written");
    assert!(most < 512 << 20, "{most} bytes on the disk");
}

/// Bytes that a directory takes on the disk.
fn blocks(directory: &Path) -> u64 {
    let output = Command::new("du").arg("-sB1").arg(directory).output().unwrap();
    text(&output.stdout).split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

#[test]
fn a_function_that_forks_away_and_ignores_sigterm_is_gone_after_the_cancel() {
    let here = here();
    let away = "trap '' TERM; setsid sh -c 'trap \"\" TERM; exec 9>&-; sleep 1009' & \
                setsid sleep 1009 & echo x > $WINDLASS_OUTPUT; wait; sleep 1009";
    script(here.path(), "away", away, "retries: 0");
    let mut server = Server::beside(here.path(), &["--cpus", "1"]);
    server.client.submit(&json!({ "function": "away", "name": "away" }));
    phase(&server.client, "away", "Running");
    eventually("it has forked", BOUND, || {
        let sleeping = processes_of(here.path().to_str().unwrap());
        (sleeping.iter().filter(|line| line.contains("sleep 1009")).count() >= 2).then_some(())
    });
    // Its worker is killed: nobody is left to end what it has started but the server.
    let worker = processes_of(here.path().to_str().unwrap());
    let workers: Vec<_> = worker.iter().filter(|line| line.ends_with("windlass worker ")).collect();
    for line in workers {
        let pid = line.split(':').next().unwrap();
        Command::new("kill").args(["-KILL", pid]).status().unwrap();
    }
    let status = phase(&server.client, "away", "Failed");
    assert_eq!(status["failure"]["reason"], "Killed", "{status:#}");
    let sleeping = processes_of("sleep\u{0}1009");
    assert_eq!(sleeping, Vec::<String>::new());
    assert!(server.stop().success());
}

#[test]
fn a_result_that_is_written_while_its_job_is_cancelled_does_not_count() {
    let here = here();
    let late = "trap 'echo late > $WINDLASS_OUTPUT; exit 0' TERM; while :; do sleep 0.01; done";
    script(here.path(), "late", late, "retries: 0");
    let server = Server::beside(here.path(), &["--cpus", "1"]);
    for round in 0..10 {
        let name = format!("late-{round}");
        server.client.submit(&json!({ "function": "late", "name": name }));
        phase(&server.client, &name, "Running");
        server.client.post(&server.client.jobs(&format!("/{name}/cancel")), &[], b"");
        let status = phase(&server.client, &name, "Cancelled");
        assert!(status["result"].is_null(), "{status:#}");
    }
}

#[test]
fn too_much_memory_is_out_of_memory() {
    let here = here();
    // In a child, whose death makes the function give up.
    let hungry =
        "python3 -c 'x = bytearray(512 << 20); print(len(x))' > $WINDLASS_OUTPUT || exit 1";
    script(here.path(), "hungry", hungry, "memory: {base: 64Mi, perCpu: 32Mi}\n  retries: 0");
    let server = Server::beside(here.path(), &["--cpus", "1"]);
    let job = server.client.run(&json!({ "function": "hungry" }));
    assert_eq!(job["status"]["failure"]["reason"], "OutOfMemory", "{job:#}");
}

#[test]
fn a_manifest_that_changes_is_read_again_and_a_bad_one_changes_nothing() {
    let here = here();
    script(here.path(), "greet", "echo one > $WINDLASS_OUTPUT", "retries: 0");
    let server = Server::beside(here.path(), &["--cpus", "1"]);
    let said = |text: &str| {
        let job = server.client.run(&json!({ "function": "greet" }));
        (job["status"]["result"]["text"] == text).then_some(())
    };
    assert_eq!(said("one\n"), Some(()));
    script(here.path(), "greet", "echo two > $WINDLASS_OUTPUT", "retries: 0");
    eventually("the change is in force", BOUND, || said("two\n"));
    fs::write(here.path().join("greet.yaml"), "apiVersion: windlass.dev/v1alpha1\nkind: [")
        .unwrap();
    eventually("the mistake is told", BOUND, || server.said().contains("greet.yaml").then_some(()));
    assert_eq!(said("two\n"), Some(()), "what was good stays");
    fs::remove_file(here.path().join("greet.yaml")).unwrap();
    eventually("the function is gone", BOUND, || {
        let answer = server.client.submit(&json!({ "function": "greet" }));
        (answer.status != 201).then_some(())
    });
}

#[test]
fn a_server_goes_on_when_its_program_is_replaced_or_removed() {
    let here = here();
    let program = here.path().join("windlass");
    fs::copy(windlass(), &program).unwrap();
    let data = here.path().join("data");
    let server = Server::start_by(
        Command::new(&program),
        &data,
        &["--cpus", "1", "--function", "yes=sh -c 'echo yes > $WINDLASS_OUTPUT'"],
    );
    // An upgrade moves another file there.
    let other = here.path().join("other");
    executable(&other, "#!/bin/sh\nexit 1\n");
    fs::rename(&other, &program).unwrap();
    // More than the workers that were started before.
    for round in 0..12 {
        if round == 6 {
            fs::remove_file(&program).unwrap();
        }
        let job = server.client.run(&json!({ "function": "yes", "retries": 0 }));
        assert_eq!(job["status"]["phase"], "Succeeded", "{round}: {job}");
    }
}

#[test]
fn a_temporary_directory_that_is_not_there_is_no_fault_of_a_function() {
    let here = here();
    let python = here.path().join("python");
    executable(&python, "#!/bin/sh\necho 1 > $WINDLASS_OUTPUT\n");
    let mut command = Command::new(windlass());
    command.env("TMPDIR", here.path().join("gone"));
    let function = format!("one={} -m windlass.worker module:one", python.display());
    let server = Server::start_by(command, &here.path().join("data"), &["--function", &function]);
    assert!(server.before().contains("TMPDIR"), "{}", server.before());
}

#[test]
fn a_script_whose_interpreter_is_not_there_is_told_from_one_that_is_not_there() {
    let here = here();
    let odd = here.path().join("odd");
    executable(&odd, "");
    let function = format!("odd={}", odd.display());
    let server =
        Server::start_at(&here.path().join("data"), &["--cpus", "1", "--function", &function]);
    let failure = |text: &str| {
        fs::write(&odd, text).unwrap();
        let job = server.client.run(&json!({ "function": "odd" }));
        assert_eq!(job["status"]["failure"]["reason"], "CannotStart", "{job}");
        job["status"]["failure"]["message"].as_str().unwrap().to_owned()
    };
    let said = failure("#!/bin/sh\r\nexit 0\r\n");
    let why = r#"its interpreter "/bin/sh\r" is not: its lines end as on Windows"#;
    assert!(said.ends_with(why), "{said}");
    let said = failure("#! /opt/moved/bin/python -u\nexit 0\n");
    assert!(said.ends_with(r#"its interpreter "/opt/moved/bin/python" is not"#), "{said}");
}
