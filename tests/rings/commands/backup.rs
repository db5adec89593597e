//! A backup of a server, and a data directory that is made of one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{stdout_of, without_settings};
use crate::support::http::Client;
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::{eventually, script, text, traces, windlass};

const LIMIT: Duration = Duration::from_secs(30);

/// Longest that a submission may take beside a backup.
const MOMENT: Duration = Duration::from_secs(1);

/// Bytes of an input that takes a backup a while.
const LARGE: usize = 48 << 20;

/// Most memory of a backup, in KiB.
const MOST_MEMORY: u64 = 48 << 10;

/// Backups, and restores, that are killed.
const KILLS: u64 = 12;

/// Functions whose results are large, and that wait.
fn functions() -> TempDir {
    let here = tempfile::tempdir().unwrap();
    let large = "echo said; seq 20000 > $WINDLASS_OUTPUT";
    script(here.path(), "large", large, "retries: 0\n  inputTypes: ['*/*']");
    let wait = "until [ -e $HERE/go ]; do sleep 0.05; done; echo $WINDLASS_JOB > $WINDLASS_OUTPUT";
    script(here.path(), "waits", wait, "retries: 0");
    here
}

fn run(command: &str, file: &Path, data: &Path) -> Output {
    command_of(command, file, data).output().unwrap()
}

fn command_of(command: &str, file: &Path, data: &Path) -> Command {
    let mut run = without_settings(&windlass());
    run.arg(command).arg(file).arg("--data").arg(data);
    run
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn assert_refused(output: &Output, why: &str) {
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{said}");
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// All files and directories below one, itself among them.
fn all_below(directory: &Path) -> Vec<PathBuf> {
    let below = entries(directory)
        .into_iter()
        .flat_map(|path| if path.is_dir() { all_below(&path) } else { vec![path] });
    std::iter::once(directory.to_owned()).chain(below).collect()
}

fn get(client: &Client, name: &str) -> Value {
    client.get(&client.jobs(&format!("/{name}"))).json()
}

fn result(client: &Client, name: &str) -> Vec<u8> {
    client.get(&client.jobs(&format!("/{name}/result"))).body
}

/// Submits jobs that wait until it is over; the names of those that were acknowledged, and how long one took at most.
fn submit_until(client: &Client, over: &AtomicBool) -> (Vec<String>, Duration) {
    let (mut names, mut longest) = (Vec::new(), Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let name = format!("beside-{}", names.len());
        let begin = Instant::now();
        let answer = client.submit(&json!({ "function": "waits", "name": name }));
        assert_eq!(answer.status, 201, "{answer:?}");
        longest = longest.max(begin.elapsed());
        names.push(name);
    }
    (names, longest)
}

/// A server with jobs that have ended, run and wait.
fn busy_server(here: &Path) -> Server {
    let server = Server::beside(here, &["--cpus", "1"]);
    let input = here.join("input.bin");
    fs::write(&input, vec![7; LARGE]).unwrap();
    let input = format!("@{}", input.display());
    stdout_of(&server, &["submit", "large", "--name", "ended", "--input", &input, "--wait"]);
    stdout_of(&server, &["submit", "echo", "--name", "small", "--input", "{}", "--wait"]);
    stdout_of(&server, &["submit", "waits", "--name", "runs"]);
    eventually("it runs", LIMIT, || {
        (get(&server.client, "runs")["status"]["phase"] == "Running").then_some(())
    });
    for n in 0..20 {
        stdout_of(&server, &["submit", "waits", "--name", &format!("waiting-{n}")]);
    }
    server
}

#[test]
fn a_backup_of_a_running_server_has_all_that_it_had_acknowledged() {
    let here = functions();
    let mut server = busy_server(here.path());
    let data = server.data().to_owned();
    let path = data.to_str().unwrap();
    let key = stdout_of(&server, &["keys", "create", "web", "--data", path]);
    let small = result(&server.client, "small");
    let (ended, log) = (result(&server.client, "ended"), log_of(&server.client, "ended"));
    // A secret may be a link.
    let token = here.path().join("token-elsewhere");
    fs::rename(data.join("token"), &token).unwrap();
    std::os::unix::fs::symlink(&token, data.join("token")).unwrap();
    assert!(ended.len() > 64 * 1024 && log.contains("said"), "{log}");

    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("backup.tar");
    let over = AtomicBool::new(false);
    let (beside, longest) = std::thread::scope(|scope| {
        let submitting = scope.spawn(|| submit_until(&server.client, &over));
        let done = run("backup", &file, &data);
        over.store(true, Ordering::Relaxed);
        assert_done(&done);
        submitting.join().unwrap()
    });
    println!("{} submissions beside a backup, {longest:?} at most", beside.len());
    assert!(longest < MOMENT, "{longest:?}");
    assert_eq!(entries(out.path()), std::slice::from_ref(&file));
    let link = out.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_refused(&run("backup", &link, &data), "is no regular file");
    assert!(link.is_symlink());
    fs::set_permissions(&token, fs::Permissions::from_mode(0o622)).unwrap();
    assert_refused(&run("backup", &out.path().join("open.tar"), &data), "written by other users");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server.stop().success());

    let restored = out.path().join("restored");
    assert_done(&run("restore", &file, &restored));
    assert_refused(&run("restore", &file, &restored), "is not empty");
    for path in all_below(&restored) {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, wanted, "{}", path.display());
    }
    // What a killed restore leaves.
    fs::write(restored.join("restoring"), "").unwrap();
    let functions = ["--cpus", "1", "--functions", here.path().to_str().unwrap()];
    let Err((_, said)) = Server::try_start(Command::new(windlass()), &restored, &functions) else {
        panic!("a server takes half of a directory")
    };
    assert!(said.contains("was not restored to its end"), "{said}");
    fs::remove_file(restored.join("restoring")).unwrap();

    let next = Server::start_at(&restored, &functions);
    assert_eq!(next.client.token, server.client.token);
    let by_key = Client { token: key.trim().into(), ..next.client.clone() };
    assert_eq!(result(&by_key, "ended"), ended);
    assert_eq!(log_of(&next.client, "ended"), log);
    assert_eq!(result(&next.client, "small"), small);
    // Its input is there, too.
    let again = stdout_of(&next, &["retry", "ended"]).trim().to_owned();
    fs::write(traces(here.path()).join("go"), "").unwrap();
    // Of what came meanwhile it has the first ones.
    let is_there = |name: &String| get(&next.client, name)["metadata"]["uid"].is_string();
    let there: Vec<_> = beside.iter().map(is_there).collect();
    assert!(there.is_sorted_by(|before, after| before >= after), "{there:?}");
    let waiting = (0..20).map(|n| format!("waiting-{n}"));
    for name in waiting.chain(["runs".into(), again.clone()]) {
        stdout_of(&next, &["get", &name, "--wait=60"]);
        assert_eq!(get(&next.client, &name)["status"]["phase"], "Succeeded", "{name}");
    }
    assert_eq!(result(&next.client, &again), ended);
}

fn log_of(client: &Client, name: &str) -> String {
    text(&client.get(&client.jobs(&format!("/{name}/logs?timestamps=true"))).body)
}

/// A data directory with a large blob, of a server that has ended, and an archive of it.
fn archived() -> (TempDir, PathBuf, Vec<u8>) {
    let here = functions();
    let mut server = busy_server(here.path());
    assert!(server.stop().success());
    let data = server.data().to_owned();
    let archive = run("backup", Path::new("-"), &data);
    assert_done(&archive);
    (here, data, archive.stdout)
}

#[test]
fn what_is_no_whole_backup_is_refused_and_leaves_an_empty_directory() {
    let (here, data, archive) = archived();
    let (file, into) = (here.path().join("damaged.tar"), here.path().join("into"));
    let refuse = |bytes: &[u8], why: &str| {
        fs::write(&file, bytes).unwrap();
        assert_refused(&run("restore", &file, &into), why);
        // Who waits for the lock, and who comes later, have one and the same.
        assert_eq!(entries(&into), [into.join("lock")]);
    };
    fs::create_dir(&into).unwrap();
    let lock = fs::File::create(into.join("lock")).unwrap().metadata().unwrap().ino();
    let mut random = Random::of_environment();
    for part in [0, 1, 512, 700, archive.len() - 1600] {
        refuse(&archive[..part], "no whole backup");
    }
    for _ in 0..5 {
        refuse(&archive[..random.below(archive.len() as u64 - 1600) as usize], "no whole backup");
    }
    let mut changed = archive.clone();
    changed[archive.len() / 2] ^= 1;
    refuse(&changed, "not those that were written");
    refuse(b"no archive at all", "no whole backup");
    refuse(&renamed(&archive, "token", "t/../x"), "it has a file t/../x");
    refuse(&renamed(&archive, "token", "lock"), "it has a file lock");
    assert_eq!(fs::metadata(into.join("lock")).unwrap().ino(), lock);

    fs::write(&file, &archive).unwrap();
    fs::write(into.join("mine"), "mine").unwrap();
    assert_refused(&run("restore", &file, &into), "is not empty");
    assert_eq!(fs::read_to_string(into.join("mine")).unwrap(), "mine");
    fs::remove_file(into.join("mine")).unwrap();
    assert_done(&run("restore", &file, &into));
    assert_refused(&run("backup", &file, &here.path().join("traces")), "jobs.sqlite");
    let _server = Server::start_at(&data, &[]);
    assert_refused(&run("restore", &file, &data), "is not empty");
}

/// An archive in which one file has another name.
fn renamed(archive: &[u8], name: &str, other: &str) -> Vec<u8> {
    let mut changed = archive.to_vec();
    let at = (0..archive.len()).step_by(512);
    let field = format!("{name}\0");
    let at = at.into_iter().find(|at| archive[*at..].starts_with(field.as_bytes())).unwrap();
    let header = &mut changed[at..at + 512];
    header[..100].fill(0);
    header[..other.len()].copy_from_slice(other.as_bytes());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    changed
}

#[test]
fn a_backup_or_a_restore_that_is_killed_leaves_nothing_that_is_taken_for_whole() {
    let (here, data, archive) = archived();
    let out = tempfile::tempdir().unwrap();
    let (file, before) = (out.path().join("backup.tar"), here.path().join("before.tar"));
    fs::write(&before, &archive).unwrap();
    fs::write(&file, &archive).unwrap();
    let mut random = Random::of_environment();
    let (mut killed, mut half) = (0, 0);
    for n in 0..KILLS {
        killed += u32::from(kill(command_of("backup", &file, &data), &mut random));
        let into = here.path().join(format!("again-{n}"));
        assert_done(&run("restore", &file, &into));
        fs::remove_dir_all(&into).unwrap();

        let into = here.path().join(format!("into-{n}"));
        if n % 3 == 0 {
            kill_half_way(command_of("restore", Path::new("-"), &into), &archive);
            assert!(into.join("restoring").exists());
        } else {
            kill(command_of("restore", &before, &into), &mut random);
        }
        if into.join("restoring").exists() {
            half += 1;
            let Err((_, said)) = Server::try_start(Command::new(windlass()), &into, &[]) else {
                panic!("a server takes half of a directory")
            };
            assert!(said.contains("was not restored to its end"), "{said}");
            assert_refused(&run("restore", &before, &into), "was not restored to its end");
            assert_refused(&run("backup", &file, &into), "was not restored to its end");
        } else if into.join("jobs.sqlite").exists() {
            let server = Server::start_at(&into, &[]);
            assert_eq!(get(&server.client, "ended")["status"]["phase"], "Succeeded");
        }
        if into.exists() {
            fs::remove_dir_all(&into).unwrap();
        }
    }
    println!(
        "of {KILLS} each, {killed} backups were killed, and {half} directories were half restored"
    );
    assert!(killed > 0, "no backup was killed before its end");
}

/// Kills a restore that has read a half and waits for more.
fn kill_half_way(mut command: Command, archive: &[u8]) {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // More than a pipe holds.
    child.stdin.as_mut().unwrap().write_all(&archive[..archive.len() / 2]).unwrap();
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

/// Kills a command at any instant of its life. Whether it had not ended.
fn kill(mut command: Command, random: &mut Random) -> bool {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(random.below(200)));
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

#[test]
fn a_backup_needs_little_memory() {
    let (_here, data, archive) = archived();
    let mut child =
        command_of("backup", Path::new("-"), &data).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // What is left does not fit into a pipe.
    let mut most = vec![0; archive.len() - (256 << 10)];
    out.read_exact(&mut most).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{} MiB were backed up with {} MiB of memory", most.len() >> 20, peak >> 10);
    assert!(peak < MOST_MEMORY, "{peak} KiB");
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
}
