//! The commands that ask a server or a cluster, as a user would type them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::Server;
use crate::support::{checkout, eventually, script, text, windlass};

/// What a job says that wants to steer a terminal: an escape, a C1 control, a mark of direction.
const HOSTILE: &str = "\\033]0;title\\007\\033[2J\\302\\2332J\\342\\200\\256end";

/// A program in an environment that names no place.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(checkout()).env("HOME", "/nonexistent").stdin(Stdio::null());
    for name in [
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "WINDLASS_SERVER",
        "WINDLASS_TOKEN",
        "XDG_DATA_HOME",
        "NO_COLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(name);
    }
    command
}

/// The same for this server.
fn told(server: &Server) -> Command {
    let mut command = bare(&windlass());
    command
        .env("WINDLASS_SERVER", format!("http://{}", server.client.address))
        .env("WINDLASS_TOKEN", &server.client.token);
    command
}

fn ask(server: &Server, arguments: &[&str]) -> Output {
    told(server).args(arguments).output().unwrap()
}

/// What a command prints that must do what it is asked.
fn printed(server: &Server, arguments: &[&str]) -> String {
    let output = ask(server, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A server with functions that are scripts in this directory.
fn server_of(here: &Path, scripts: &[(&str, &str)]) -> Server {
    for (name, body) in scripts {
        script(here, name, body, "retries: 0");
    }
    Server::start(&["--cpus", "2", "--functions", here.to_str().unwrap()])
}

#[test]
fn a_jobs_life_is_told_by_commands() {
    let server = Server::start(&["--cpus", "2"]);
    let input = r#"{"hello": "world"}"#;
    let options = ["--parallelism", "2", "--priority", "-5", "--ttl", "60", "--timeout", "9"];
    let submit = ["submit", "echo", "--input", input, "--name", "first", "--wait=60"];
    let name = printed(&server, &[&submit[..], &options].concat());
    assert_eq!(name, "first\n");

    let job: Value =
        serde_json::from_str(&printed(&server, &["get", "first", "-o", "json"])).unwrap();
    let spec = &job["spec"];
    assert_eq!((&spec["priority"], &spec["timeoutSeconds"]), (&json!(-5), &json!(9)));
    assert_eq!((&spec["ttlSecondsAfterFinished"], &spec["parallelism"]), (&json!(60), &json!(2)));
    assert_eq!(job["status"]["phase"], "Succeeded");
    // kubectl's name of the job is as good.
    let named = printed(&server, &["submit", "echo", "-o", "name", "--name", "second"]);
    assert_eq!(named, "computejob.windlass.dev/second\n");
    printed(&server, &["delete", named.trim()]);
    let yaml = printed(&server, &["get", "computejob.windlass.dev/first", "-o", "yaml"]);
    assert!(yaml.contains("kind: ComputeJob\n") && yaml.contains("phase: Succeeded"), "{yaml}");

    let result: Value = serde_json::from_str(&printed(&server, &["result", "first"])).unwrap();
    assert_eq!(result["input"]["hello"], "world");
    let called = printed(&server, &["call", "echo", "--input", input]);
    let called: Value = serde_json::from_str(&called).unwrap();
    assert_eq!(called["input"], result["input"]);
    let ran = ask(&server, &["run", "echo", "--input", input]);
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(value["input"], result["input"]);
    assert!(text(&ran.stderr).contains("Succeeded"), "{}", text(&ran.stderr));

    let table = printed(&server, &["list", "--function", "echo", "--phase", "succeeded"]);
    let heads: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["NAME", "FUNCTION", "PHASE", "CPUS", "PROGRESS", "AGE"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    let wide = printed(&server, &["list", "-o", "wide"]);
    for head in ["QUEUE", "ATTEMPT", "NODE", "ELAPSED"] {
        assert!(wide.lines().next().unwrap().contains(head), "{wide}");
    }
    let list = printed(&server, &["list", "-o", "json", "--queue", "default"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list["kind"], list["items"].as_array().unwrap().len()),
        (&json!("ComputeJobList"), 3)
    );
    let two = ask(&server, &["list", "-o", "name", "--limit", "2"]);
    assert_eq!(text(&two.stdout).lines().count(), 2);
    assert!(text(&two.stderr).contains("more than 2"), "{}", text(&two.stderr));
    let none = ask(&server, &["list", "--queue", "other"]);
    assert_eq!(text(&none.stdout).lines().count(), 1);

    let watched = printed(&server, &["get", "first", "--watch"]);
    assert!(watched.lines().last().unwrap().contains("Succeeded"), "{watched}");
    assert_eq!(ask(&server, &["watch", "first"]).status.code(), Some(0));
    let explained = printed(&server, &["explain", "first"]);
    assert!(explained.starts_with("Succeeded") && explained.contains("running"), "{explained}");
    assert_eq!(printed(&server, &["logs", "first"]), "");

    let functions = printed(&server, &["functions", "-o", "name"]);
    assert!(functions.contains("computefunction.windlass.dev/price\n"), "{functions}");
    let function = printed(&server, &["functions", "price", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&function).unwrap()["metadata"]["name"], "price");

    assert_eq!(printed(&server, &["delete", "first"]), "computejob.windlass.dev/first deleted\n");
    let gone = ask(&server, &["get", "first"]);
    assert_eq!(gone.status.code(), Some(2));
    let said = text(&gone.stderr);
    assert!(said.contains("\"first\" was not found") && said.contains("windlass list"), "{said}");
}

#[test]
fn a_manifest_is_submitted_as_kubectl_would_apply_it_and_a_result_goes_to_a_file() {
    let server = Server::start(&["--cpus", "2"]);
    let name = printed(&server, &["submit", "-f", "manifests/samples/echo.yaml", "--wait"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let arguments = ["result", name.trim(), "--output", file.to_str().unwrap()];
    assert_eq!(printed(&server, &arguments), "");
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(result["input"]["hello"], "world");
    // More than is kept in the job itself comes as a stream, and whole.
    let picture = directory.path().join("picture.png");
    let input = r#"{"width": 256, "height": 192, "samples": 1}"#;
    let scene: Value =
        serde_json::from_str(&fs::read_to_string(checkout().join("examples/scene.json")).unwrap())
            .unwrap();
    let mut scene = scene;
    for (field, value) in serde_json::from_str::<Value>(input).unwrap().as_object().unwrap() {
        scene[field] = value.clone();
    }
    let scene = scene.to_string();
    let arguments = ["call", "render", "--input", &scene, "-o", picture.to_str().unwrap()];
    printed(&server, &arguments);
    let bytes = fs::read(picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 32 * 1024, "{} bytes", bytes.len());
}

#[test]
fn exit_codes_tell_done_failed_misused_and_interrupted_apart() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(
        directory.path(),
        &[("crash", "echo the reason >&2; exit 3"), ("slow", "touch $HERE/slow; sleep 300")],
    );
    for command in ["run", "call"] {
        let output = ask(&server, &[command, "crash"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("Crashed") && said.contains("the reason"), "{said}");
        assert!(output.stdout.is_empty());
    }
    let waited = ask(&server, &["submit", "crash", "--wait", "--name", "crashed"]);
    assert_eq!(waited.status.code(), Some(1), "{}", text(&waited.stderr));
    assert_eq!(ask(&server, &["watch", "crashed"]).status.code(), Some(1));
    let none = ask(&server, &["result", "crashed"]);
    assert_eq!(none.status.code(), Some(1), "{}", text(&none.stderr));
    assert!(text(&none.stderr).contains("Failed and has no result"), "{}", text(&none.stderr));

    let table: &[(&[&str], &str)] = &[
        (&["call", "nothing"], "there is no function \"nothing\"; there are: crash, echo"),
        (&["functions", "nothing"], "there are: crash, echo"),
        (&["submit", "echo", "--parallelism", "65"], "/parallelism"),
        (&["submit", "echo", "--input", "[1]"], "must be a JSON object"),
        (&["call", "echo", "--input", "{\"a\": [18446744073709551616]}"], "/a/0: integers"),
        (&["submit", "echo", "-f", "x.yaml"], "cannot be used with"),
        (&["submit"], "required"),
        (&["get", "Nonsense"], "lower-case"),
        (&["get", "a", "b", "--watch"], "one job"),
        (&["list", "--phase", "Sleeping"], "there are: Queued"),
        (&["list", "-o", "xml"], "table, wide, json, yaml, name"),
        (&["run", "echo", "--cpus", "2"], "on this machine"),
        (&["queues", "nothing"], "\"nothing\" was not found"),
    ];
    for (arguments, expected) in table {
        let output = ask(&server, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }

    // An interrupt cancels what was called, and leaves what was submitted.
    let marker = directory.path().join("slow");
    for (arguments, phase) in [
        (&["call", "slow", "--name", "called"][..], "Cancelled"),
        (&["submit", "slow", "--name", "submitted", "--wait"], "Running"),
    ] {
        let child = told(&server)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        eventually("the function runs", Duration::from_secs(30), || fs::remove_file(&marker).ok());
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        let name = arguments[3];
        eventually("its phase is told", Duration::from_secs(30), || {
            printed(&server, &["get", name]).contains(phase).then_some(())
        });
    }
    let late = ask(&server, &["get", "submitted", "--wait=1"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("windlass watch submitted"), "{}", text(&late.stderr));
    printed(&server, &["cancel", "submitted", "--wait"]);
    assert!(printed(&server, &["get", "submitted"]).contains("Cancelled"));
}

#[test]
fn an_error_says_what_to_do_next() {
    let server = Server::start(&["--cpus", "1"]);
    let url = format!("http://{}", server.client.address);
    let data = server.data().to_str().unwrap();
    let run = |configure: &dyn Fn(&mut Command), arguments: &[&str]| {
        let mut command = bare(&windlass());
        configure(&mut command);
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    // The token of this machine's server is found, and given to nobody else.
    let (code, said) = run(&|_| {}, &["list", "--server", &url, "--data", data]);
    assert_eq!(code, Some(0), "{said}");
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("windlass")).unwrap();
    fs::write(home.path().join("windlass/token"), &server.client.token).unwrap();
    let at_home = |command: &mut Command| {
        command.env("XDG_DATA_HOME", home.path());
    };
    let (code, said) = run(&at_home, &["list", "--server", &url]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&at_home, &["list", "--server", "http://windlass.example"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("WINDLASS_TOKEN"), "{said}");

    let wrong = |command: &mut Command| {
        command.env("WINDLASS_TOKEN", "wrong");
    };
    let (code, said) = run(&wrong, &["list", "--server", &url]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("token") && said.contains("--data"), "{said}");
    for arguments in [&["list"][..], &["functions"], &["submit", "echo"]] {
        let arguments = [arguments, &["-n", "elsewhere", "--server", &url]].concat();
        let (code, said) = run(&at_home, &arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {said}");
        let first = "windlass: nothing was found in namespace \"elsewhere\", or you may not use it";
        assert_eq!(said.lines().next(), Some(first), "{arguments:?}");
        assert!(said.contains("only the namespace `default`"), "{said}");
    }
    let (code, said) = run(&wrong, &["list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("does not answer") && said.contains("--server"), "{said}");
    let (code, said) = run(&|_| {}, &["list", "--data", "/nowhere"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("windlass serve") && said.contains("/nowhere/token"), "{said}");

    let kubeconfig = home.path().join("kubeconfig");
    fs::write(&kubeconfig, kubeconfig_of("http://127.0.0.1:1")).unwrap();
    let named = |command: &mut Command| {
        command.env("KUBECONFIG", &kubeconfig);
    };
    let (code, said) = run(&named, &["list", "--context", "other"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no context \"other\"; there are: here"), "{said}");
    let (code, said) = run(&named, &["list"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("kubectl config current-context"), "{said}");
    let (code, said) = run(&|_| {}, &["list", "--kubeconfig", "/nowhere"]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn what_is_not_there_any_more_or_cannot_be_ended_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let body = "touch $HERE/slow; echo begun; sleep 300";
    let server = server_of(directory.path(), &[("slow", body)]);
    let marker = directory.path().join("slow");
    let runs = || {
        eventually("the function runs", Duration::from_secs(30), || fs::remove_file(&marker).ok())
    };
    let child = |command: &mut Command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // A log whose job is deleted has not ended as it should.
    printed(&server, &["submit", "slow", "--name", "deleted"]);
    runs();
    let mut follows = child(told(&server).args(["logs", "-f", "deleted"]));
    let mut begun = [0; 6];
    follows.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    printed(&server, &["delete", "deleted"]);
    let output = follows.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ended before its job") && said.contains("\"deleted\""), "{said}");

    // Who may not cancel what they have called is told how it goes on.
    let data = server.data().to_str().unwrap();
    let keys = ["keys", "create", "web", "--verbs", "create,get,watch", "--data", data];
    let key = printed(&server, &keys);
    let mut call = told(&server);
    call.env("WINDLASS_TOKEN", key.trim()).args(["call", "slow", "--name", "called"]);
    let called = child(&mut call);
    runs();
    Command::new("kill").args(["-INT", &called.id().to_string()]).status().unwrap();
    let output = called.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    for expected in ["job called goes on", "may not patch", "`windlass cancel called`"] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(printed(&server, &["get", "called"]).contains("Running"));
}

#[test]
fn what_a_job_says_steers_no_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let body = format!(
        "printf '{HOSTILE}\\n' >&2; printf '1 2 {HOSTILE}\\n' >> $WINDLASS_PROGRESS; sleep 1; \
         printf '{HOSTILE}' > $WINDLASS_OUTPUT; {{ [ \"$WINDLASS_JOB\" = good ] || exit 3; }}"
    );
    let server = server_of(directory.path(), &[("hostile", &body)]);
    let calm = |what: &str, bytes: &[u8]| {
        let said = std::str::from_utf8(bytes).unwrap();
        let steers = |c: char| (c.is_control() && !"\n\t".contains(c)) || c == '\u{202e}';
        assert!(!said.contains(steers), "{what}: {said:?}");
    };
    for (name, code) in [("good", 0), ("bad", 1)] {
        let output = ask(&server, &["submit", "hostile", "--name", name]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let output = ask(&server, &["watch", name]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        calm("watch", &output.stderr);
        for shape in ["table", "wide", "json", "yaml", "name"] {
            calm(shape, printed(&server, &["get", name, "-o", shape]).as_bytes());
        }
        let logs = printed(&server, &["logs", name, "--follow"]);
        calm("logs", logs.as_bytes());
        assert!(logs.contains("end"), "{logs}");
        calm("explain", printed(&server, &["explain", name]).as_bytes());
    }
    // For programs, the bytes are as they were.
    assert!(ask(&server, &["result", "good"]).stdout.starts_with(b"\x1b]0;title\x07"));
    assert!(ask(&server, &["logs", "good", "--raw"]).stdout.starts_with(b"\x1b]0;title\x07"));
    let here = directory.path().to_str().unwrap();
    for arguments in [
        &["result", "good"][..],
        &["result", "good", "--output", "/dev/stdout"],
        &["logs", "good", "--raw"],
        &["run", "hostile", "--functions", here, "--name", "good"],
    ] {
        // On an engine of its own.
        let here = [("WINDLASS_SERVER", "")];
        let variables = if arguments[0] == "run" { &here[..] } else { &[] };
        let shown = on_terminal(&server, variables, arguments);
        assert!(shown.contains("title"), "{arguments:?}: {shown:?}");
        // A bar has escapes of its own.
        for hostile in ["\u{1b}]", "\u{1b}[2J", "\u{7}", "\u{9b}", "\u{202e}"] {
            assert!(!shown.contains(hostile), "{arguments:?}: {shown:?}");
        }
    }
}

/// What a command writes to a terminal.
fn on_terminal(server: &Server, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let words: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("'{}' {}", windlass().display(), words.join(" "));
    let mut command = told(server);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
    // Where a log keeps colours, they are for every terminal.
    script.env_remove("CI");
    for (name, value) in command.env("TERM", "xterm").envs(variables.iter().copied()).get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let output = script.output().unwrap();
    assert!(output.status.success(), "{line}: {}", text(&output.stdout));
    text(&output.stdout)
}

#[test]
fn colours_and_bars_are_for_terminals_only() {
    let directory = tempfile::tempdir().unwrap();
    let body = "echo '1 2 half' >> $WINDLASS_PROGRESS; sleep 2; echo done > $WINDLASS_OUTPUT";
    let server = server_of(directory.path(), &[("half", body)]);
    let bar = on_terminal(&server, &[], &["run", "half"]);
    assert!(bar.contains("Running") && bar.contains("=>"), "{bar:?}");
    assert!(bar.contains("done"), "{bar:?}");
    let plain = ask(&server, &["run", "half"]);
    assert_eq!(text(&plain.stdout), "done\n");
    let said = text(&plain.stderr);
    assert!(!said.contains('\u{1b}') && !said.contains("=>"), "{said:?}");
    let quiet = ask(&server, &["call", "half"]);
    assert_eq!((text(&quiet.stdout).as_str(), text(&quiet.stderr).as_str()), ("done\n", ""));

    assert!(on_terminal(&server, &[], &["list"]).contains("\u{1b}[32mSucceeded"));
    for variables in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_terminal(&server, &[variables], &["list"]);
        assert!(!shown.contains('\u{1b}'), "{variables:?}: {shown:?}");
    }
    assert!(!printed(&server, &["list"]).contains('\u{1b}'));
}

#[test]
fn explain_tells_attempts_that_failed_from_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let body = "sleep 1; [ $WINDLASS_ATTEMPT = 2 ] || exit 3; echo > $WINDLASS_OUTPUT";
    script(directory.path(), "flaky", body, "retries: 1");
    let server = Server::start(&["--functions", directory.path().to_str().unwrap()]);
    printed(&server, &["submit", "flaky", "--name", "a", "--wait"]);
    let told = printed(&server, &["explain", "a", "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let parts = told["parts"].as_array().unwrap();
    let seconds = |part: &Value| part["seconds"].as_f64().unwrap();
    let earlier: Vec<_> = parts.iter().filter(|part| part["name"] == "earlier").collect();
    assert_eq!(earlier.len(), 1, "{told}");
    assert!(seconds(earlier[0]) >= 1.0, "{told}");
    let (sum, wall) = (parts.iter().map(seconds).sum::<f64>(), told["wallSeconds"].as_f64());
    assert!((sum - wall.unwrap()).abs() <= 0.01 * sum, "{told}");
}

fn kubeconfig_of(url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{name: here, cluster: {{server: '{url}'}}}}]\n\
         users: [{{name: me, user: {{}}}}]\n\
         contexts: [{{name: here, context: {{cluster: here, user: me, namespace: research}}}}]\n"
    )
}

#[test]
fn a_followed_log_ends_with_the_key_that_follows_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("slow", "echo begun; sleep 300")]);
    printed(&server, &["submit", "slow", "--name", "a"]);
    let data = server.data().to_str().unwrap();
    let key = printed(&server, &["keys", "create", "web", "--verbs", "get", "--data", data]);
    let mut follows = told(&server)
        .env("WINDLASS_TOKEN", key.trim())
        .args(["logs", "-f", "a"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 6];
    follows.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    printed(&server, &["keys", "revoke", "web", "--data", data]);
    let status =
        eventually("the log ends", Duration::from_secs(20), || follows.try_wait().unwrap());
    assert_eq!(status.code(), Some(3));
}

/// An API server that has one job; tells what it was asked for, request by request.
fn api_server() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = std::sync::mpsc::channel();
    let job = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
        "metadata": { "name": "far", "namespace": "research", "uid": "u", "resourceVersion": "1",
                      "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "function": "price", "input": {} },
        "status": { "phase": "Succeeded", "node": "node-7" },
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            let line = text(&head[..length]).lines().next().unwrap_or_default().to_owned();
            let (status, body) = match line.contains("/computejobs/far") {
                true => ("200 OK", job.clone()),
                false => (
                    "404 Not Found",
                    json!({
                        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                        "message": "the server could not find the requested resource",
                        "reason": "NotFound", "details": {}, "metadata": {},
                    }),
                ),
            };
            let body = body.to_string();
            asked.send(line).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, requests)
}

#[test]
fn kubectl_windlass_asks_the_cluster_of_the_kube_context() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-windlass");
    std::os::unix::fs::symlink(windlass(), &plugin).unwrap();
    let help = bare(&plugin).args(["list", "--help"]).output().unwrap();
    let help = text(&help.stdout);
    assert!(help.contains("Usage: kubectl windlass list"), "{help}");
    assert!(help.contains("--context") && !help.contains("--server"), "{help}");

    let (url, requests) = api_server();
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(&kubeconfig, kubeconfig_of(&url)).unwrap();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let asked = |arguments: &[&str]| {
        // A server in the environment is not what kubectl's user means.
        let output = bare(&plugin)
            .env("WINDLASS_SERVER", "http://127.0.0.1:1")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, shown, said) = asked(&["get", "far", "--kubeconfig", kubeconfig, "-o", "wide"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("node-7"), "{shown}");
    let prefix = "GET /apis/windlass.dev/v1alpha1/namespaces";
    let line = requests.recv().unwrap();
    assert!(line.starts_with(&format!("{prefix}/research/computejobs/far")), "{line}");
    let (code, _, said) =
        asked(&["get", "cjob/far", "-n", "other", "--kubeconfig", kubeconfig, "--context", "here"]);
    assert_eq!(code, Some(0), "{said}");
    let line = requests.recv().unwrap();
    assert!(line.starts_with(&format!("{prefix}/other/computejobs/far")), "{line}");

    let (code, _, said) = asked(&["list", "--kubeconfig", kubeconfig]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("helm install"), "{said}");
    let (code, _, said) = asked(&["list", "--server", &url]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("windlass --server"), "{said}");
    let (code, _, said) = asked(&["list"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("KUBECONFIG"), "{said}");
    // Without a server, the plain program asks the same cluster.
    let output =
        bare(&windlass()).env("KUBECONFIG", kubeconfig).args(["get", "far"]).output().unwrap();
    assert!(text(&output.stdout).contains("Succeeded"), "{}", text(&output.stderr));
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_with_what_to_do() {
    let certificates = checkout().join("crates/windlass-gateway/tests/certificates");
    let file = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("first.crt"), file("first.key"));
    let server = Server::start(&["--tls-cert", &cert, "--tls-key", &key]);
    let url = format!("https://{}", server.client.address);
    let ca = file("second.crt");
    let output = ask(&server, &["list", "--server", &url, "--ca", &ca]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("certificate") && said.contains("--ca FILE"), "{said}");
}

#[test]
fn shells_can_complete() {
    for (shell, expected) in
        [("bash", "complete -F"), ("zsh", "#compdef windlass"), ("fish", "complete -c windlass")]
    {
        let output = bare(&windlass()).args(["completion", shell]).output().unwrap();
        let script = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(script.contains(expected) && script.contains("idempotency-key"), "{shell}");
        assert!(!script.contains("Supervise one attempt"), "{shell} knows what nobody types");
    }
}
