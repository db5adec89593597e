//! What is followed ends with an error, or goes on, when its job or the right to it is gone.

use std::fs;
use std::io::Read as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{key_of, run_windlass, server_of, stdout_of, windlass_with, with_slow};
use crate::support::server::Server;
use crate::support::{eventually, text, traces};

#[test]
fn what_is_not_there_any_more_or_cannot_be_ended_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let body = "touch $HERE/slow; echo begun; sleep 300";
    let server = server_of(directory.path(), &[("slow", body)]);
    let marker = traces(directory.path()).join("slow");
    let runs = || {
        eventually("the function runs", Duration::from_secs(30), || fs::remove_file(&marker).ok())
    };
    let child = |command: &mut Command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // A log whose job is deleted has not ended as it should.
    stdout_of(&server, &["submit", "slow", "--name", "deleted"]);
    runs();
    let mut follows = child(windlass_with(&server).args(["logs", "-f", "deleted"]));
    let mut begun = [0; 6];
    follows.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    stdout_of(&server, &["delete", "deleted"]);
    let output = follows.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ended before its job") && said.contains("\"deleted\""), "{said}");

    // Who may not cancel what they have called is told how it goes on.
    let mut call = windlass_with(&server);
    call.env("WINDLASS_TOKEN", key_of(&server, "create,get,watch"))
        .args(["call", "slow", "--name", "called"]);
    let called = child(&mut call);
    runs();
    Command::new("kill").args(["-INT", &called.id().to_string()]).status().unwrap();
    let output = called.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    for expected in ["job called goes on", "may not patch", "`windlass cancel called`"] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(stdout_of(&server, &["get", "called"]).contains("Running"));
}

#[test]
fn a_followed_log_ends_with_the_key_that_follows_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("slow", "echo begun; sleep 300")]);
    stdout_of(&server, &["submit", "slow", "--name", "a"]);
    let key = key_of(&server, "get");
    let mut follows = follow(windlass_with(&server).env("WINDLASS_TOKEN", key), "begun\n");
    stdout_of(&server, &["keys", "revoke", "key", "--data", server.data().to_str().unwrap()]);
    let status =
        eventually("the log ends", Duration::from_secs(20), || follows.try_wait().unwrap());
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_log_of_several_attempts_is_followed_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let body = "echo attempt $WINDLASS_ATTEMPT begins; sleep 0.3; [ $WINDLASS_ATTEMPT = 2 ] || exit 1; echo over";
    let server = server_of(directory.path(), &[("slow", body)]);
    stdout_of(&server, &["submit", "slow", "--name", "a", "--retries", "1"]);
    let followed = run_windlass(&server, &["logs", "-f", "a"]);
    assert_eq!(text(&followed.stdout), "attempt 1 begins\nattempt 2 begins\nover\n");
    assert_eq!(text(&followed.stderr), "");
}

/// Follows the log of the job `a`, once it has begun so.
fn follow(windlass: &mut Command, begin: &str) -> Child {
    let follows = windlass.args(["logs", "-f", "a"]);
    let mut follows = follows.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut begun = vec![0; begin.len()];
    follows.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    assert_eq!(text(&begun), begin);
    follows
}

/// An address that leads to one server after the other.
fn relay(to: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let address = to.lock().unwrap().clone();
            // While there is no server, the connection is closed at once.
            let Ok(server) = TcpStream::connect(address) else { continue };
            let pairs =
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
            for (mut from, mut into) in pairs {
                std::thread::spawn(move || {
                    std::io::copy(&mut from, &mut into).unwrap_or_default();
                    into.shutdown(Shutdown::Both).unwrap_or_default();
                });
            }
        }
    });
    address
}

#[test]
fn a_log_is_followed_from_one_server_to_the_next() {
    let directory =
        with_slow("echo attempt $WINDLASS_ATTEMPT begins; [ -e $HERE/go ] || sleep 300; echo over");
    let here = directory.path();
    let address = Arc::new(Mutex::new(String::new()));
    let relay = relay(Arc::clone(&address));
    let start = || {
        let server = Server::beside(here, &["--cpus", "2", "--host", &relay]);
        address.lock().unwrap().clone_from(&server.client.address);
        server
    };
    let mut first = start();
    let windlass = || {
        let mut command = windlass_with(&first);
        command.env("WINDLASS_SERVER", format!("http://{relay}"));
        command
    };
    let submitted = windlass().args(["submit", "slow", "--name", "a"]).output().unwrap();
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    let follows = follow(&mut windlass(), "attempt 1 begins");
    first.stop();
    fs::write(traces(here).join("go"), "").unwrap();
    let second = start();
    let output = follows.wait_with_output().unwrap();
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(said, "\nattempt 2 begins\nover\n", "{told}");
    assert!(told.contains("attempt 2 follows"), "{told}");
    // The same with the times at which its lines came, as it is and followed to the end.
    for follow in [&["logs", "a", "--timestamps"][..], &["logs", "a", "--timestamps", "-f"]] {
        let output = windlass_with(&second).args(follow).output().unwrap();
        let said = text(&output.stdout);
        let lines: Vec<_> = said.lines().map(|line| line.split_once(' ').unwrap()).collect();
        let (times, lines): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        assert_eq!(lines, ["attempt 2 begins", "over"], "{}", text(&output.stderr));
        let times = times.iter().map(|time| time.parse::<jiff::Timestamp>().unwrap());
        assert!(times.is_sorted(), "{said}");
    }
    an_earlier_attempt_is_asked_for(&second);
}

/// The job `a` has two attempts.
fn an_earlier_attempt_is_asked_for(server: &Server) {
    for before in [&["--attempt", "1"][..], &["--previous"], &["-p"]] {
        let said = stdout_of(server, &[&["logs", "a"], before].concat());
        assert_eq!(said, "attempt 1 begins\n", "{before:?}");
    }
    let latest = stdout_of(server, &["logs", "a", "--attempt", "2"]);
    assert_eq!(latest, "attempt 2 begins\nover\n");
    let once = run_windlass(server, &["submit", "slow", "--name", "once", "--wait"]);
    assert_eq!(once.status.code(), Some(1), "it has no output");
    for (wrong, expected) in [
        (&["a", "--attempt", "3"][..], "attempt \"3 of a\" was not found"),
        (&["a", "--attempt", "0"], "0"),
        (&["nothing", "--attempt", "1"], "ComputeJob \"nothing\" was not found"),
        (&["once", "--previous"], "no attempt before"),
        (&["a", "-f", "--attempt", "1"], "cannot be used with"),
    ] {
        let output = run_windlass(server, &[&["logs"], wrong].concat());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {told}");
        assert!(told.contains(expected), "{wrong:?}: {told}");
    }
}
