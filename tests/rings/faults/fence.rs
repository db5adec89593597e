//! A function and the server's own files.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use serde_json::json;

use super::{BOUND, here};
use crate::support::server::Server;
use crate::support::{eventually, processes_of, run, script, windlass};

/// What a function of this server finds in the server's token file.
fn token_read_by_a_function(more: &[&str]) -> (Server, String) {
    let here = here();
    let read = "cat $(dirname $WINDLASS_INPUT)/../../token > $WINDLASS_OUTPUT; exit 0";
    script(here.path(), "reads", read, "retries: 0");
    let server = Server::start(&[more, &["--functions", here.path().to_str().unwrap()]].concat());
    let ended = server.client.run(&json!({ "function": "reads" }));
    let found = ended["status"]["result"]["text"].as_str().unwrap_or_else(|| panic!("{ended}"));
    let found = found.to_owned();
    (server, found)
}

#[test]
fn a_function_reads_the_token_only_where_it_is_not_kept_out() {
    let (server, found) = token_read_by_a_function(&["--landlock", "on"]);
    assert_eq!(found, "");
    drop(server);
    let (server, found) = token_read_by_a_function(&["--landlock", "off"]);
    assert_eq!(found.trim(), server.client.token);
    assert!(server.said().contains("functions can read the data directory"), "{}", server.said());
}

/// Landlock does not govern modes.
#[test]
fn a_data_directory_that_a_function_opens_is_closed_again() {
    let here = here();
    let open = "data=$(dirname $WINDLASS_INPUT)/../..; chmod 0777 $data || exit 1; \
                until [ $(stat -c %a $data) = 700 ]; do sleep 0.01; done; echo closed > $WINDLASS_OUTPUT";
    script(here.path(), "opens", open, "retries: 0");
    let server = Server::beside(here.path(), &[]);
    for _ in 0..2 {
        let ended = server.client.run(&json!({ "function": "opens" }));
        assert_eq!(ended["status"]["phase"], "Succeeded", "{ended}");
    }
    assert_eq!(fs::metadata(server.data()).unwrap().mode() & 0o7777, 0o700);
    let said = server.said();
    assert_eq!(said.matches("was opened to other users").count(), 1, "{said}");
}

#[test]
fn what_holds_a_function_is_said_at_the_start() {
    let start = |more: &[&str]| Server::start(&[&["--cpus", "1"], more].concat());
    let warning = "functions can read the data directory";
    let mut usual = start(&["--landlock", "on"]);
    assert!(usual.before().contains(r#""landlock":true"#), "{}", usual.before());
    assert!(usual.before().contains(r#""attempt_disk_bytes":1"#), "{}", usual.before());
    assert!(!usual.before().contains("function_user"), "{}", usual.before());
    assert!(usual.stop().success());
    assert!(!usual.said().contains(warning), "{}", usual.said());
    let unbounded = start(&["--attempt-disk", "0"]);
    assert!(!unbounded.before().contains("attempt_disk_bytes"), "{}", unbounded.before());
    if rustix::process::geteuid().is_root() {
        let mut other = start(&["--landlock", "off", "--function-user", "4711:4712"]);
        assert!(other.before().contains(r#""function_user":4711"#), "{}", other.before());
        assert!(other.stop().success());
        assert!(!other.said().contains(warning), "{}", other.said());
    }
}

#[test]
fn a_function_writes_to_what_was_made_after_its_worker_was_started() {
    let here = here();
    script(here.path(), "writes", "date > $PLACE; exit 0", "retries: 0");
    let manifest = here.path().join("writes.yaml");
    let place = here.path().join("later");
    let text = fs::read_to_string(&manifest).unwrap();
    let variable = format!("env: [{{name: PLACE, value: {}}}, ", place.join("file").display());
    fs::write(&manifest, text.replace("env: [", &variable)).unwrap();
    let server = Server::beside(here.path(), &["--landlock", "on"]);
    // Workers are there, and wait.
    eventually("workers wait", BOUND, || {
        (processes_of(server.data().to_str().unwrap()).len() > 1).then_some(())
    });
    for _ in 0..20 {
        fs::create_dir(&place).unwrap();
        let ended = server.client.run(&json!({ "function": "writes" }));
        assert!(place.join("file").exists(), "{ended}");
        fs::remove_dir_all(&place).unwrap();
    }
}

#[test]
fn what_was_open_when_the_server_started_is_closed_to_functions() {
    let here = here();
    let secret = here.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    script(here.path(), "reads", "{ cat <&7; } > $WINDLASS_OUTPUT; exit 0", "retries: 0");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec 7<{} && exec \"$@\"", secret.display()), "sh"])
        .arg(windlass());
    let data = here.path().join("data");
    let server = Server::start_by(shell, &data, &["--functions", here.path().to_str().unwrap()]);
    let ended = server.client.run(&json!({ "function": "reads" }));
    assert_ne!(ended["status"]["result"]["text"], "secret", "{ended}");
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended}");
}

#[test]
fn a_function_of_another_user_reads_its_own_input_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start functions as another user");
        return;
    }
    let here = here();
    // As tempfile makes it, only this user may pass through it.
    fs::set_permissions(here.path(), Permissions::from_mode(0o755)).unwrap();
    let look = "cd $(dirname $WINDLASS_INPUT)/../..; \
                { id -u; id -G; echo $HOME; cat token lock */*/lock; ls .; ls attempts; kill -0 $PPID; echo 1 > lock; } \
                > $WINDLASS_OUTPUT 2>/dev/null; echo '1 2' >> $WINDLASS_PROGRESS; cat $WINDLASS_INPUT >> $WINDLASS_OUTPUT";
    script(here.path(), "looks", look, "retries: 0");
    let data = here.path().join("data");
    let functions = here.path().to_str().unwrap();
    for landlock in ["on", "off"] {
        let arguments =
            ["--functions", functions, "--function-user", "4711:4712", "--landlock", landlock];
        let server = Server::start_at(&data, &arguments);
        let job = server.client.run(&json!({ "function": "looks", "input": { "own": 1 } }));
        let text = job["status"]["result"]["text"].as_str().unwrap_or_else(|| panic!("{job}"));
        let lines: Vec<&str> = text.lines().collect();
        let [user, groups, home, input] = lines.as_slice() else { panic!("{text}") };
        assert_eq!((*user, *groups, *input), ("4711", "4712", r#"{"own":1}"#));
        assert!(home.ends_with("/work"), "{home}");
        assert_eq!(job["status"]["progress"]["done"], 1);
        // A command beside the server does not close what functions pass through.
        let keys = run(&["keys", "create", landlock, "--data", data.to_str().unwrap()]);
        assert!(keys.status.success(), "{keys:?}");
        let job = server.client.run(&json!({ "function": "looks" }));
        assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    }
    let server = Server::start_at(&data, &["--functions", functions]);
    assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
    drop(server);
}

/// Takes a descriptor over a socket, and writes to it when it is told to.
const KEEPER: &str = "import os, socket, sys\n\
    heard = socket.socket(socket.AF_UNIX); heard.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777)\n\
    heard.listen(); print('listens', flush=True); link = heard.accept()[0]\n\
    got = socket.recv_fds(link, 1, 1)[1][0]; link.close(); sys.stdin.read()\n\
    os.pwrite(got, b'forged', 0)";

/// What a function does to have a result that is another's to change.
const HANDS_ON: &str = "import os, socket\n\
    file = open(os.environ['WINDLASS_OUTPUT'], 'wb'); file.write(b'a' * 100_000); file.flush()\n\
    link = socket.socket(socket.AF_UNIX); link.connect(os.environ['PLACE'])\n\
    socket.send_fds(link, [b'1'], [file.fileno()]); link.recv(1)";

#[test]
fn a_result_stays_as_it_is_whoever_has_the_functions_descriptor() {
    let here = here();
    fs::set_permissions(here.path(), Permissions::from_mode(0o755)).unwrap();
    let place = here.path().join("socket");
    script(here.path(), "hands-on", "python3 $CODE; exit 0", "retries: 0");
    let (manifest, code) = (here.path().join("hands-on.yaml"), here.path().join("code.py"));
    fs::write(&code, HANDS_ON).unwrap();
    fs::set_permissions(&code, Permissions::from_mode(0o644)).unwrap();
    let (place_text, code) = (place.display(), code.display());
    let variables =
        format!("env: [{{name: PLACE, value: {place_text}}}, {{name: CODE, value: {code}}}, ");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("env: [", &variables)).unwrap();
    let users: &[&[&str]] = match rustix::process::geteuid().is_root() {
        true => &[&[], &["--function-user", "4711:4712"]],
        false => &[&[]],
    };
    for user in users {
        let mut keeper = Command::new("python3");
        keeper.args(["-c", KEEPER]).arg(&place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().unwrap();
        keeper.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
        let server = Server::beside(here.path(), user);
        let ended = server.client.run(&json!({ "function": "hands-on" }));
        assert_eq!(ended["status"]["result"]["bytes"], 100_000, "{ended}");
        drop(keeper.stdin.take());
        assert!(keeper.wait().unwrap().success());
        let name = ended["metadata"]["name"].as_str().unwrap();
        let result = server.client.get(&format!("/v1/namespaces/default/jobs/{name}/result"));
        assert!(result.body.iter().all(|byte| *byte == b'a'), "{user:?}");
        fs::remove_file(&place).unwrap();
    }
}

#[test]
fn a_file_that_a_function_may_rename_and_not_read_is_no_result() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start functions as another user");
        return;
    }
    let here = here();
    fs::set_permissions(here.path(), Permissions::from_mode(0o755)).unwrap();
    let own = here.path().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(4711), Some(4712)).unwrap();
    let rename =
        "mv $OWN/$WINDLASS_JOB $TO_RENAME || exit 9; echo > $WINDLASS_OUTPUT; sleep 0.3; exit 0";
    for (name, to) in [("result", "OUTPUT"), ("type", "OUTPUT_TYPE"), ("told", "PROGRESS")] {
        let body = match name {
            "result" => "mv $OWN/result $WINDLASS_OUTPUT || exit 9; exit 0".to_owned(),
            _ => rename.replace("TO_RENAME", &format!("WINDLASS_{to}")),
        };
        let secret = own.join(name);
        fs::write(&secret, "1 2 secret\n").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        script(here.path(), name, &body, "retries: 0");
        let manifest = here.path().join(format!("{name}.yaml"));
        let text = fs::read_to_string(&manifest).unwrap();
        let variable = format!("env: [{{name: OWN, value: {}}}, ", own.display());
        fs::write(&manifest, text.replace("env: [", &variable)).unwrap();
    }
    let server =
        Server::beside(here.path(), &["--function-user", "4711:4712", "--landlock", "off"]);
    for name in ["result", "type", "told"] {
        let ended = server.client.run(&json!({ "function": name, "name": name }));
        assert!(!ended["status"].to_string().contains("secret"), "{ended}");
        assert!(!own.join(name).exists(), "it was renamed: {ended}");
        if name != "told" {
            let why = ended["status"]["failure"]["message"].as_str().unwrap_or_default();
            assert!(why.contains("belongs to another user"), "{ended}");
        }
    }
}

/// Whoever can open it types there as its owner would, where the kernel allows that (TIOCSTI), and writes past what the
/// command line takes out.
#[test]
fn a_function_cannot_open_the_terminal_of_whoever_has_started_it() {
    let here = here();
    let tries =
        "if (: > /dev/tty) 2> /dev/null; then echo opened; else echo none; fi > $WINDLASS_OUTPUT";
    script(here.path(), "types", tries, "");
    let on_a_terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))";
    let mut run = Command::new("python3");
    run.args(["-c", on_a_terminal]).arg(windlass()).args(["run", "types", "--functions"]);
    let output = run.arg(here.path()).stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("none"), "{output:?}");
}
