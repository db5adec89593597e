//! What may go wrong on one machine: each fault with its stated outcome, and nothing lost that was
//! acknowledged.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::{Answer, Client};
use crate::support::server::Server;
use crate::support::{eventually, processes_of, script, text, windlass};

/// Longest wait for what must happen.
const BOUND: Duration = Duration::from_secs(60);

fn here() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn submit(client: &Client, body: &Value) -> Answer {
    client.post(&client.jobs(""), &[], body.to_string().as_bytes())
}

/// Submits and waits for the end.
fn finished(client: &Client, body: &Value) -> Value {
    let answer =
        client.post(&client.jobs(""), &[("Prefer", "wait=60")], body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", text(&answer.body));
    answer.json()
}

fn status(client: &Client, name: &str) -> Value {
    client.get(&client.jobs(&format!("/{name}"))).json()["status"].clone()
}

fn phase(client: &Client, name: &str, phase: &str) -> Value {
    eventually(&format!("{name} is {phase}"), BOUND, || {
        Some(status(client, name)).filter(|status| status["phase"] == phase)
    })
}

/// A file system of so many MiB, in a mount namespace of nobody but this test's processes' parents:
/// the whole machine's, so it is unmounted at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let directory = here();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "windlass-test"])
            .arg(directory.path())
            .output()
            .unwrap();
        if !mounted.status.success() {
            println!("not tested, no mount: {}", text(&mounted.stderr));
            return None;
        }
        Some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let path = self.path();
        assert!(Command::new("mount").args(["-o", &options]).arg(path).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status().unwrap();
        assert!(unmounted.success() || std::thread::panicking(), "a mount is left");
    }
}

#[test]
fn a_full_disk_refuses_submissions_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("size=16m") else { return };
    let mut server = Server::start_at(disk.path(), &["--cpus", "2"]);
    let first = submit(&server.client, &json!({ "function": "echo", "name": "first" }));
    assert_eq!(first.status, 201, "{}", text(&first.body));
    phase(&server.client, "first", "Succeeded");
    // To the last byte.
    let ballast = disk.path().join("ballast");
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=4k"])
        .arg(format!("of={}", ballast.display()))
        .output()
        .unwrap();
    assert!(!filled.status.success());
    let mut accepted = Vec::new();
    let refused = (0..200).find_map(|number| {
        let name = format!("job-{number}");
        let answer = submit(
            &server.client,
            &json!({
                "function": "echo", "name": name, "input": { "text": "x".repeat(20_000) },
            }),
        );
        if answer.status == 201 {
            accepted.push(name);
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("a full disk takes two hundred jobs");
    assert_eq!(refused.status, 503, "{}", text(&refused.body));
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    assert_eq!(status(&server.client, "first")["phase"], "Succeeded", "it still answers");
    fs::remove_file(&ballast).unwrap();
    // It goes on by itself.
    eventually("submissions are taken again", BOUND, || {
        let job = json!({ "function": "echo", "name": "after" });
        (submit(&server.client, &job).status == 201).then_some(())
    });
    accepted.push("after".into());
    for name in &accepted {
        phase(&server.client, name, "Succeeded");
    }
    assert!(server.stop().success());
    let server = Server::start_at(disk.path(), &["--cpus", "2"]);
    for name in accepted.iter().map(String::as_str).chain(["first"]) {
        assert_eq!(status(&server.client, name)["phase"], "Succeeded", "{name}");
    }
}

#[test]
fn a_read_only_directory_is_refused_with_its_name() {
    let Some(disk) = SmallDisk::mount("size=4m") else { return };
    disk.remount("ro");
    let refused = Server::try_start(Command::new(windlass()), disk.path(), &[]);
    let Err((status, said)) = refused else { panic!("it starts") };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(disk.path().to_str().unwrap()), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}

/// Runs a server of which the kernel lets a system call fail from the `when`th on.
fn with_failing(call: &str, error: &str, when: u32) -> Option<()> {
    if Command::new("strace").arg("--version").output().is_err() {
        println!("not tested: strace is missing");
        return None;
    }
    let here = here();
    let data = here.path().join("data");
    // The first life is sound, so that the failure meets a store with something in it.
    let mut server = Server::start_at(&data, &["--cpus", "1"]);
    finished(&server.client, &json!({ "function": "echo", "name": "before" }));
    assert!(server.stop().success());

    let mut strace = Command::new("strace");
    let inject = format!("inject={call}:error={error}:when={when}+");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
    strace.arg(windlass());
    let mut accepted = vec!["before".to_owned()];
    match Server::try_start(strace, &data, &["--cpus", "1"]) {
        Ok(mut server) => {
            for number in 0..100 {
                let name = format!("job-{number}");
                let body = json!({ "function": "echo", "name": name }).to_string();
                let path = server.client.jobs("");
                match server.client.try_send("POST", &path, &[], body.as_bytes()) {
                    Ok(answer) if answer.status == 201 => accepted.push(name),
                    _ => break,
                }
            }
            // After a failure that nobody can repair the server ends, and says why.
            let status = server.ended();
            assert!(!status.success());
            let said = server.said();
            assert!(said.contains("the store has failed"), "{said}");
        }
        Err((status, said)) => assert!(!status.success(), "{said}"),
    }
    let server = Server::start_at(&data, &["--cpus", "1"]);
    for name in &accepted {
        phase(&server.client, name, "Succeeded");
    }
    drop(server);
    let left = processes_of(here.path().to_str().unwrap());
    assert_eq!(left, Vec::<String>::new());
    Some(())
}

#[test]
fn a_failed_fsync_ends_the_server_and_loses_nothing_that_was_acknowledged() {
    for when in [3, 9] {
        with_failing("fsync,fdatasync", "EIO", when);
    }
}

#[test]
fn a_failed_write_ends_the_server_and_loses_nothing_that_was_acknowledged() {
    for when in [30, 61] {
        with_failing("pwrite64", "EIO", when);
    }
}

#[test]
fn a_second_server_is_told_who_holds_the_directory() {
    let server = Server::start(&["--cpus", "1"]);
    let refused = Server::try_start(Command::new(windlass()), server.data(), &[]);
    let Err((status, said)) = refused else { panic!("it starts") };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("process {}", server.pid())), "{said}");
}

#[test]
fn a_store_that_is_damaged_or_newer_is_left_as_it_is() {
    let here = here();
    let mut server = Server::start_at(here.path(), &["--cpus", "1"]);
    finished(&server.client, &json!({ "function": "echo" }));
    assert!(server.stop().success());
    let store = here.path().join("jobs.sqlite");
    let good = fs::read(&store).unwrap();
    let mut newer = good.clone();
    // The header's user version, https://www.sqlite.org/fileformat.html#the_database_header
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    let mut torn = good.clone();
    torn[4096..8192].fill(0x5a);
    let foreign = b"these are somebody's notes, and no database\n".repeat(100);
    for (bytes, words) in [
        (newer, "has version 99"),
        (torn, "is damaged"),
        (foreign, "is damaged or no store of Windlass"),
    ] {
        fs::write(&store, &bytes).unwrap();
        let refused = Server::try_start(Command::new(windlass()), here.path(), &[]);
        let Err((status, said)) = refused else { panic!("it starts") };
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(words) && said.contains("jobs.sqlite"), "{said}");
        assert!(fs::read(&store).unwrap() == bytes, "{words}: the file was changed");
    }
    fs::write(&store, &good).unwrap();
    Server::start_at(here.path(), &["--cpus", "1"]);
}

#[test]
fn with_64_descriptors_the_server_answers_and_runs_jobs() {
    let here = here();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(windlass());
    let server = Server::start_by(command, here.path(), &["--cpus", "4"]);
    // More connections than there are descriptors.
    let open: Vec<_> = (0..100).filter_map(|_| server.client.connect().ok()).collect();
    for number in 0..20 {
        let name = format!("job-{number}");
        eventually("a submission is taken", BOUND, || {
            let body = json!({ "function": "echo", "name": name }).to_string();
            let path = server.client.jobs("");
            let answer = server.client.try_send("POST", &path, &[], body.as_bytes());
            answer.ok().filter(|answer| matches!(answer.status, 201 | 409))
        });
    }
    drop(open);
    for number in 0..20 {
        phase(&server.client, &format!("job-{number}"), "Succeeded");
    }
}

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
    let functions = here.path().to_str().unwrap();
    let server = Server::start_at(&data, &["--cpus", "2", "--functions", functions]);
    let mut most = 0;
    for name in ["talks", "counts"] {
        let job = json!({ "function": name, "name": name });
        assert_eq!(submit(&server.client, &job).status, 201);
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
    let away = "trap '' TERM; setsid sh -c 'trap \"\" TERM; exec 9>&-; sleep 1000' & \
                setsid sleep 1000 & echo x > $WINDLASS_OUTPUT; wait; sleep 1000";
    script(here.path(), "away", away, "retries: 0");
    let functions = here.path().to_str().unwrap();
    let data = here.path().join("data");
    let mut server = Server::start_at(&data, &["--cpus", "1", "--functions", functions]);
    submit(&server.client, &json!({ "function": "away", "name": "away" }));
    phase(&server.client, "away", "Running");
    eventually("it has forked", BOUND, || {
        let sleeping = processes_of(here.path().to_str().unwrap());
        (sleeping.iter().filter(|line| line.contains("sleep 1000")).count() >= 2).then_some(())
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
    let sleeping = processes_of("sleep\u{0}1000");
    assert_eq!(sleeping, Vec::<String>::new());
    assert!(server.stop().success());
}

#[test]
fn a_result_that_is_written_while_its_job_is_cancelled_does_not_count() {
    let here = here();
    let late = "trap 'echo late > $WINDLASS_OUTPUT; exit 0' TERM; while :; do sleep 0.01; done";
    script(here.path(), "late", late, "retries: 0");
    let functions = here.path().to_str().unwrap();
    let server =
        Server::start_at(&here.path().join("data"), &["--cpus", "1", "--functions", functions]);
    for round in 0..10 {
        let name = format!("late-{round}");
        submit(&server.client, &json!({ "function": "late", "name": name }));
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
    let functions = here.path().to_str().unwrap();
    let server =
        Server::start_at(&here.path().join("data"), &["--cpus", "1", "--functions", functions]);
    let job = finished(&server.client, &json!({ "function": "hungry" }));
    assert_eq!(job["status"]["failure"]["reason"], "OutOfMemory", "{job:#}");
}

#[test]
fn a_manifest_that_changes_is_read_again_and_a_bad_one_changes_nothing() {
    let here = here();
    script(here.path(), "greet", "echo one > $WINDLASS_OUTPUT", "retries: 0");
    let functions = here.path().to_str().unwrap().to_owned();
    let data = here.path().join("data");
    let server = Server::start_at(&data, &["--cpus", "1", "--functions", &functions]);
    let said = |text: &str| {
        let job = finished(&server.client, &json!({ "function": "greet" }));
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
        let answer = submit(&server.client, &json!({ "function": "greet" }));
        (answer.status != 201).then_some(())
    });
}

#[test]
fn beyond_the_bound_submissions_are_told_when_to_come_back() {
    let here = here();
    script(here.path(), "slow", "sleep 30", "retries: 0");
    let queue = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\nmetadata: {name: small}\n\
                 spec: {cpus: 1, maxQueued: 2}\n";
    fs::write(here.path().join("queue.yaml"), queue).unwrap();
    let functions = here.path().to_str().unwrap();
    let data = here.path().join("data");
    let arguments = ["--cpus", "1", "--functions", functions, "--max-queued", "5"];
    let mut server = Server::start_at(&data, &arguments);
    let slow = |queue: &str| submit(&server.client, &json!({ "function": "slow", "queue": queue }));
    let started = Instant::now();
    assert_eq!(slow("small").status, 201);
    eventually("it runs", BOUND, || {
        let list = server.client.get(&server.client.jobs("?phase=Running")).json();
        list["items"].as_array().is_some_and(|items| items.len() == 1).then_some(())
    });
    assert_eq!([slow("small").status, slow("small").status], [201, 201]);
    let busy = slow("small");
    assert_eq!(busy.status, 429, "{}", text(&busy.body));
    assert!(busy.header("retry-after").is_some());
    assert!(text(&busy.body).contains("holds 2 waiting jobs"), "{}", text(&busy.body));
    assert_eq!([slow("other").status, slow("other").status, slow("other").status], [201, 201, 201]);
    assert_eq!(slow("other").status, 429);
    assert!(started.elapsed() < Duration::from_secs(25), "the first job has ended meanwhile");
    assert!(server.stop().success());
}
