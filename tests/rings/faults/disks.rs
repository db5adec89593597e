//! Disks that are full, read-only or broken, and stores that are held, damaged or newer.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::{BOUND, here, phase, status};
use crate::support::server::Server;
use crate::support::{eventually, processes_of, script, text, traces, windlass};

/// A file system of so many MiB, in a mount namespace of nobody but this test's processes' parents:
/// the whole machine's, so it is unmounted at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let directory = here();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("mode=0700,{options}"), "windlass-test"])
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
        // What a server has started ends a moment after it.
        let unmount = || Command::new("umount").arg(self.path()).status().unwrap().success();
        if std::thread::panicking() {
            unmount();
        } else {
            eventually("the disk is of no use to anybody", BOUND, || unmount().then_some(()));
        }
    }
}

#[test]
fn a_full_disk_refuses_submissions_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("size=16m") else { return };
    let mut server = Server::start_at(disk.path(), &["--cpus", "2"]);
    let first = server.client.submit(&json!({ "function": "echo", "name": "first" }));
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
        let answer = server.client.submit(&json!({
            "function": "echo", "name": name, "input": { "text": "x".repeat(20_000) },
        }));
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
        (server.client.submit(&job).status == 201).then_some(())
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

/// Calls of a job that needs as much room for its attempt as for its commit, on a disk with room for one of
/// them, until the attempt was first: its name.
fn begun_and_refused(disk: &Path, server: &Server, mark: &str) -> String {
    let ballast = disk.join("ballast");
    for number in 0..50 {
        let file = ballast.display();
        let fill = format!("dd if=/dev/zero bs=4k of={file} 2>&1; truncate -s -160K {file}");
        assert!(Command::new("sh").args(["-c", &fill]).output().unwrap().status.success());
        let name = format!("job-{number}");
        let input = json!({ "text": "x".repeat(100_000) });
        let body = json!({ "function": "begin", "name": name, "input": input }).to_string();
        let path = server.client.jobs("");
        let answer = server.client.post(&path, &[("Prefer", "wait=1")], body.as_bytes());
        let left = processes_of(mark);
        fs::remove_file(&ballast).unwrap();
        let path = server.client.jobs(&format!("/{name}"));
        if answer.status == 503 {
            assert!(left.is_empty(), "it is refused while it runs: {left:?}");
            assert_eq!(server.client.get(&path).status, 404);
            let begun = |line: &str| line.contains("attempt started") && line.contains(&name);
            if server.said().lines().any(begun) {
                return name;
            }
        } else {
            // Its commit was first.
            assert!(matches!(answer.status, 200 | 202), "{}", text(&answer.body));
            eventually("it is deleted", BOUND, || {
                let deleted = server.client.send("DELETE", &path, &[], b"");
                (deleted.status < 300).then_some(())
            });
        }
    }
    panic!("no attempt was quicker than the commit of its job");
}

#[test]
fn a_call_that_began_on_a_full_disk_is_ended_before_it_is_refused() {
    let Some(disk) = SmallDisk::mount("size=16m") else { return };
    let here = here();
    // Longer than any patience of the server, so that it must be ended.
    script(here.path(), "begin", "exec sleep 900", "retries: 0");
    let arguments = ["--cpus", "2", "--functions", here.path().to_str().unwrap()];
    let mut server = Server::start_at(disk.path(), &arguments);
    let mark = traces(here.path());
    let name = begun_and_refused(disk.path(), &server, mark.to_str().unwrap());
    let list = server.client.get(&server.client.jobs("")).json();
    assert_eq!(list["items"], json!([]), "what is kept is what was acknowledged");
    eventually("its files are deleted", BOUND, || {
        let logs = fs::read_dir(disk.path().join("logs")).unwrap();
        (logs.count() == 0).then_some(())
    });
    // The name and the CPUs are free.
    eventually("submissions are taken again", BOUND, || {
        let job = json!({ "function": "echo", "name": name, "parallelism": 2 });
        (server.client.submit(&job).status == 201).then_some(())
    });
    phase(&server.client, &name, "Succeeded");
    assert!(server.stop().success());
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
    server.client.run(&json!({ "function": "echo", "name": "before" }));
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
    // A worker that waits for an order sees a moment later that its server has gone.
    eventually("no process is left", Duration::from_secs(5), || {
        processes_of(here.path().to_str().unwrap()).is_empty().then_some(())
    });
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
    server.client.run(&json!({ "function": "echo" }));
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
fn a_database_that_another_process_holds_refuses_submissions_until_it_lets_go() {
    let mut server = Server::start(&["--cpus", "1"]);
    server.client.run(&json!({ "function": "echo" }));
    let hold = "import sqlite3, sys\n\
                held = sqlite3.connect(sys.argv[1])\n\
                held.execute('BEGIN IMMEDIATE')\n\
                print('held', flush=True)\n\
                sys.stdin.read()";
    let mut holder = Command::new("python3")
        .args(["-c", hold])
        .arg(server.data().join("jobs.sqlite"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    // Longer than SQLite would wait by itself.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(8) {
        let refused = server.client.submit(&json!({ "function": "echo" }));
        assert_eq!(refused.status, 503, "{}", text(&refused.body));
        assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    }
    drop(holder.stdin.take());
    holder.wait().unwrap();
    eventually("submissions are taken again", BOUND, || {
        (server.client.submit(&json!({ "function": "echo", "name": "after" })).status == 201)
            .then_some(())
    });
    phase(&server.client, "after", "Succeeded");
    assert!(server.stop().success());
}

#[test]
fn a_database_that_is_removed_ends_the_server_before_anything_is_lost() {
    type Remove = fn(&Path) -> std::io::Result<()>;
    let removals: [(&str, Remove); 4] = [
        ("the directory", |data| fs::remove_dir_all(data)),
        ("the database", |data| fs::remove_file(data.join("jobs.sqlite"))),
        ("its log", |data| fs::remove_file(data.join("jobs.sqlite-wal"))),
        ("the directory's name", |data| fs::rename(data, data.with_extension("away"))),
    ];
    for (what, remove) in removals {
        let here = here();
        let data = here.path().join("data");
        let mut server = Server::start_at(&data, &["--cpus", "1"]);
        server.client.run(&json!({ "function": "echo" }));
        // A worker that waits for its order may be about to make its directory.
        eventually("it is removed", BOUND, || remove(&data).ok());
        let body = json!({ "function": "echo" }).to_string();
        let path = server.client.jobs("");
        if let Ok(answer) = server.client.try_send("POST", &path, &[], body.as_bytes()) {
            assert_eq!(answer.status, 503, "{what}: {}", text(&answer.body));
        }
        let started = Instant::now();
        let status = server.ended();
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: {:?}", started.elapsed());
        let said = server.said();
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(
            said.contains("the store has failed") && said.contains("is gone"),
            "{what}: {said}"
        );
    }
}

#[test]
fn an_idle_server_notices_within_a_second_that_its_files_are_gone() {
    type Remove = fn(&Path) -> std::io::Result<()>;
    let removals: [Remove; 3] = [
        |data| fs::remove_file(data.join("jobs.sqlite")),
        |data| fs::remove_file(data.join("jobs.sqlite-wal")),
        |data| fs::rename(data, data.with_extension("away")),
    ];
    for remove in removals {
        let here = here();
        let data = here.path().join("data");
        let mut server = Server::start_at(&data, &["--cpus", "1"]);
        assert_eq!(server.client.get("/readyz").status, 200);
        let removed = Instant::now();
        remove(&data).unwrap();
        // It is not ready any more, or does not answer.
        while server.client.try_send("GET", "/readyz", &[], b"").is_ok_and(|it| it.status == 200) {
            assert!(removed.elapsed() < Duration::from_secs(1), "{:?}", removed.elapsed());
        }
        assert_eq!(server.ended().code(), Some(1));
        assert!(server.said().contains("the store has failed"), "{}", server.said());
    }
}
