//! Stops of the server, and what its parent has done to its signals.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::{BOUND, here, phase, status};
use crate::support::server::Server;
use crate::support::{eventually, processes_of, script, traces, windlass};

/// Starts the program with a signal ignored.
fn ignoring(signal: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(format!("--ignore-signal={signal}")).arg(windlass());
    command
}

#[test]
fn a_stop_that_reaches_every_process_at_once_judges_no_function() {
    for signal in ["TERM", "INT", "HUP"] {
        let here = here();
        script(here.path(), "plain", "exec sleep 900", "retries: 0");
        // Goes on when its command is ended, with a result that is wrong.
        let goes_on = "trap '' TERM INT HUP; (trap - TERM INT HUP; exec sleep 900); \
                       echo wrong > $WINDLASS_OUTPUT";
        script(here.path(), "shell", goes_on, "retries: 0");
        let mut server = Server::beside(here.path(), &["--cpus", "2"]);
        for name in ["plain", "shell"] {
            server.client.submit(&json!({ "function": name, "name": name }));
            phase(&server.client, name, "Running");
        }
        eventually("both sleep", BOUND, || {
            let all = processes_of(here.path().to_str().unwrap());
            (all.iter().filter(|line| line.contains("sleep 900")).count() >= 3).then_some(())
        });
        server.signal_all(here.path(), signal);
        let ended = server.ended();
        assert!(ended.success(), "{signal}: {ended}, {}", server.said());
        let server = Server::beside(here.path(), &["--cpus", "2"]);
        for name in ["plain", "shell"] {
            is_begun_again(&server, name);
        }
    }
}

/// As with `windlass serve 2>&1 | tee log` when `tee` is killed, or a log on a disk that is full.
#[test]
fn a_server_goes_on_when_nobody_takes_its_log_any_more() {
    let here = here();
    script(here.path(), "greet", "echo hello > $WINDLASS_OUTPUT", "retries: 0");
    let mut command = Command::new("bash");
    command.args(["-c", r#"exec "$0" "$@" 2> >(exec sed -u '/"address"/q' >&2)"#]).arg(windlass());
    command.env("WINDLASS_LOG", "debug");
    let mut server = Server::start_by(
        command,
        &here.path().join("data"),
        &["--functions", here.path().to_str().unwrap()],
    );
    for round in 0..3 {
        let job = server.client.run(&json!({ "function": "greet" }));
        assert_eq!(job["status"]["phase"], "Succeeded", "{round}: {job}");
    }
    let ended = server.stop();
    assert!(ended.success(), "{ended}");
}

/// As `docker stop` does it: the first process is told, and all are killed when it takes too long.
#[test]
fn a_stop_of_a_container_that_takes_too_long_judges_no_function() {
    let here = here();
    script(here.path(), "slow", "trap '' TERM; sleep 900; sleep 900", "retries: 0");
    let mut server = Server::beside(here.path(), &["--cpus", "1"]);
    server.client.submit(&json!({ "function": "slow", "name": "slow" }));
    phase(&server.client, "slow", "Running");
    Command::new("kill").args(["-TERM", &server.pid().to_string()]).status().unwrap();
    eventually("it is stopping", BOUND, || server.said().contains("stopping").then_some(()));
    server.signal_all(here.path(), "KILL");
    assert_eq!(server.ended().code(), None);
    let server = Server::beside(here.path(), &["--cpus", "1", "--grace", "1"]);
    is_begun_again(&server, "slow");
}

/// Waits until a second attempt of a job runs, which is no retry.
fn is_begun_again(server: &Server, job: &str) {
    let status = eventually(&format!("{job} is begun again"), BOUND, || {
        let status = status(&server.client, job);
        let again = status["attempt"] == 2 && status["phase"] == "Running";
        (again || status["timeline"]["finished"].is_string()).then_some(status)
    });
    assert_eq!(status["phase"], "Running", "{status}");
    assert_eq!(status["retries"].as_u64().unwrap_or(0), 0, "{status}");
}

#[test]
fn a_server_that_was_told_to_ignore_hangups_does() {
    let here = here();
    let server = Server::start_by(ignoring("HUP"), here.path(), &["--cpus", "1"]);
    Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap();
    server.client.run(&json!({ "function": "echo" }));
}

#[test]
fn a_server_whose_parent_ignores_its_children_runs_jobs() {
    let here = here();
    let server = Server::start_by(ignoring("CHLD"), here.path(), &["--cpus", "1"]);
    server.client.submit(&json!({ "function": "echo", "name": "echo", "retries": 0 }));
    eventually("it has ended", BOUND, || {
        status(&server.client, "echo")["timeline"]["finished"].is_string().then_some(())
    });
    let status = status(&server.client, "echo");
    assert_eq!(status["phase"], "Succeeded", "{status}");
}

#[test]
fn what_a_killed_server_has_left_frozen_is_ended() {
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    if !freezer.exists() {
        println!("not tested: no freezer of version 1");
        return;
    }
    let here = here();
    let freeze = "[ $WINDLASS_ATTEMPT = 1 ] || { echo > $WINDLASS_OUTPUT; exit; }; \
        group=$(sed -n 's/.*:freezer://p' /proc/self/cgroup); \
        echo \"$group\" > $HERE/group; echo FROZEN > /sys/fs/cgroup/freezer$group/freezer.state; \
        sleep 900";
    script(here.path(), "freeze", freeze, "retries: 0");
    let server = Server::beside(here.path(), &["--cpus", "1"]);
    server.client.submit(&json!({ "function": "freeze", "name": "freeze" }));
    let state = eventually("it is frozen", BOUND, || {
        let group = fs::read_to_string(traces(here.path()).join("group")).ok()?;
        let state = freezer.join(group.trim().trim_start_matches('/')).join("freezer.state");
        (fs::read_to_string(&state).ok()?.trim() == "FROZEN").then_some(state)
    });
    assert!(state.to_str().unwrap().contains("windlass-"), "{}", state.display());
    server.kill();
    let refused = Server::try_start(
        Command::new(windlass()),
        &here.path().join("data"),
        &["--cpus", "1", "--functions", here.path().to_str().unwrap()],
    );
    // So that a server of another version leaves nothing behind.
    fs::write(&state, "THAWED").unwrap_or_default();
    let server = match refused {
        Ok(server) => server,
        Err((status, said)) => panic!("it does not start: {status} {said}"),
    };
    phase(&server.client, "freeze", "Succeeded");
}

/// A server of one CPU with this function, of which a job of the same name is submitted.
fn runs(here: &TempDir, name: &str, body: &str, fields: &str) -> Server {
    script(here.path(), name, body, fields);
    let server = Server::beside(here.path(), &["--cpus", "1"]);
    server.client.submit(&json!({ "function": name, "name": name }));
    server
}

#[test]
fn shared_memory_beyond_the_limit_is_out_of_memory() {
    let here = here();
    let name = format!("/dev/shm/windlass-test-{}", std::process::id());
    let fill = format!("head -c 268435456 /dev/zero > {name}; echo > $WINDLASS_OUTPUT");
    let mut server =
        runs(&here, "fill", &fill, "memory: { base: 32Mi, perCpu: 0Mi }\n  retries: 0");
    eventually("it has ended", BOUND, || {
        status(&server.client, "fill")["timeline"]["finished"].is_string().then_some(())
    });
    fs::remove_file(&name).unwrap_or_default();
    let status = status(&server.client, "fill");
    assert!(server.stop().success());
    assert_eq!(status["failure"]["reason"], "OutOfMemory", "{status}");
}

#[test]
fn shared_memory_that_a_function_leaves_is_gone_with_its_attempt() {
    let here = here();
    let name = format!("/dev/shm/windlass-test-left-{}", std::process::id());
    let leave = format!("echo left > {name} && cat {name} > $WINDLASS_OUTPUT");
    let mut server = runs(&here, "leave", &leave, "retries: 0");
    phase(&server.client, "leave", "Succeeded");
    let is_left = fs::remove_file(&name).is_ok();
    assert!(server.stop().success());
    let may_mount = Command::new("unshare").args(["--mount", "true"]).status();
    assert_eq!(is_left, !may_mount.is_ok_and(|status| status.success()));
}
