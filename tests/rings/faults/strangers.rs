//! Other users of the machine, and directories that are refused: what strangers can read, hold up or make
//! the server do. Nothing.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{here, phase};
use crate::support::server::Server;
use crate::support::{eventually, run, text, windlass};

/// Everything below a directory that somebody but its owner may do anything with.
fn open_to_others(directory: &Path) -> Vec<String> {
    let mut open = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // What an attempt has left may go meanwhile.
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.mode() & 0o077 != 0 {
            open.push(format!("{:o} {}", found.mode() & 0o7777, path.display()));
        }
        if found.is_dir() && path.file_name().is_none_or(|name| name != "work") {
            open.extend(open_to_others(&path));
        }
    }
    open
}

#[test]
fn a_data_directory_is_its_owners_under_any_umask() {
    for umask in ["022", "000", "077"] {
        let here = here();
        let data = here.path().join("data");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(windlass());
        let script = "head -c 40000 /dev/zero > $WINDLASS_OUTPUT; echo said";
        let function = format!("large=sh -c '{script}'");
        let arguments = ["--cpus", "1", "--function", &function, "--function", "wait=sleep 60"];
        let server = Server::start_by(shell, &data, &arguments);
        server.client.run(&json!({ "function": "large" }));
        server.client.submit(&json!({ "function": "wait", "name": "wait" }));
        phase(&server.client, "wait", "Running");
        let keys = run(&["keys", "create", "key", "--data", data.to_str().unwrap()]);
        assert!(keys.status.success(), "{}", text(&keys.stderr));
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o7777, 0o700, "umask {umask}");
        assert_eq!(open_to_others(&data), Vec::<String>::new(), "umask {umask}");
    }
}

#[test]
fn a_directory_that_others_may_write_is_refused_with_words() {
    let here = here();
    let data = here.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("something"), "").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = Server::try_start(Command::new(windlass()), &data, &[]);
    let Err((status, said)) = refused else { panic!("it starts") };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("may be written by other users"), "{said}");
}

#[test]
fn whoever_holds_the_lock_is_named_and_a_dead_server_is_not() {
    let here = here();
    let mut server = Server::start_at(here.path(), &["--cpus", "1"]);
    let dead = server.pid();
    assert!(server.stop().success());
    let lock = here.path().join("lock");
    let mut holder = Command::new("flock").arg(&lock).args(["sleep", "60"]).spawn().unwrap();
    eventually("the lock is held", super::BOUND, || {
        let file = fs::File::open(&lock).unwrap();
        let free = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        free.is_err().then_some(())
    });
    let refused = Server::try_start(Command::new(windlass()), here.path(), &[]);
    // `flock` waits for its command, so that both are to be ended.
    let children = format!("/proc/{0}/task/{0}/children", holder.id());
    let child = fs::read_to_string(children).unwrap();
    Command::new("kill").arg(child.trim()).status().unwrap();
    holder.wait().unwrap();
    let Err((_, said)) = refused else { panic!("it starts") };
    assert!(said.contains(&format!("process {}, which holds", holder.id())), "{said}");
    assert!(!said.contains(&format!("process {dead}")), "{said}");
}

#[test]
fn whoever_has_the_directory_open_keeps_no_key_from_being_revoked() {
    let here = here();
    let data = here.path().to_str().unwrap();
    assert!(run(&["keys", "create", "key", "--data", data]).status.success());
    let directory = fs::File::open(here.path()).unwrap();
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let revoked = Command::new("timeout")
        .args(["20", windlass().to_str().unwrap(), "keys", "revoke", "key", "--data", data])
        .status()
        .unwrap();
    assert!(revoked.success(), "{revoked}");
}

#[test]
fn a_second_name_of_the_token_is_no_result() {
    let here = here();
    let token = here.path().join("token");
    let script = format!("ln {} $WINDLASS_OUTPUT", token.display());
    // Where the kernel does not keep it from the token anyway.
    let function = format!("ln=sh -c '{script}'");
    let arguments = ["--cpus", "1", "--landlock", "off", "--function", &function];
    let server = Server::start_at(here.path(), &arguments);
    server.client.submit(&json!({ "function": "ln", "name": "ln", "retries": 0 }));
    let status = phase(&server.client, "ln", "Failed");
    assert_eq!(status["failure"]["reason"], "NoOutput", "{status}");
}

#[test]
fn a_directory_that_no_worker_can_be_told_of_is_refused() {
    let here = here();
    let data = here.path().join(std::ffi::OsStr::from_bytes(b"data-\xff"));
    let refused = Server::try_start(Command::new(windlass()), &data, &[]);
    let Err((status, said)) = refused else { panic!("it starts") };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("not UTF-8"), "{said}");
    assert!(!data.exists());
}
