//! What is for terminals only, and what no terminal may be sent.

use std::process::{Command, Stdio};

use super::{run_windlass, server_of, stdout_of, windlass_with};
use crate::support::server::Server;
use crate::support::{text, windlass};

/// What a job says that wants to steer a terminal: an escape, a C1 control, a mark of direction.
const HOSTILE: &str = "\\033]0;title\\007\\033[2J\\302\\2332J\\342\\200\\256end";

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
        let output = run_windlass(&server, &["submit", "hostile", "--name", name]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let output = run_windlass(&server, &["watch", name]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        calm("watch", &output.stderr);
        for shape in ["table", "wide", "json", "yaml", "name"] {
            calm(shape, stdout_of(&server, &["get", name, "-o", shape]).as_bytes());
        }
        let logs = stdout_of(&server, &["logs", name, "--follow"]);
        calm("logs", logs.as_bytes());
        assert!(logs.contains("end"), "{logs}");
        calm("explain", stdout_of(&server, &["explain", name]).as_bytes());
    }
    let here = directory.path().to_str().unwrap();
    // Errors have words of jobs, of the server and of files.
    let nowhere = here.replace('/', "/\u{202e}\u{1b}[2J/");
    for arguments in [
        &["result", "bad"][..],
        &["call", "hostile", "{}"],
        &["backup", "--data", &nowhere, &nowhere],
    ] {
        let output = run_windlass(&server, arguments);
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
        calm("an error", &output.stderr);
    }
    // For programs, the bytes are as they were.
    assert!(run_windlass(&server, &["result", "good"]).stdout.starts_with(b"\x1b]0;title\x07"));
    assert!(
        run_windlass(&server, &["logs", "good", "--raw"]).stdout.starts_with(b"\x1b]0;title\x07")
    );
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
    let mut command = windlass_with(server);
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
    let plain = run_windlass(&server, &["run", "half"]);
    assert_eq!(text(&plain.stdout), "done\n");
    let said = text(&plain.stderr);
    assert!(!said.contains('\u{1b}') && !said.contains("=>"), "{said:?}");
    let quiet = run_windlass(&server, &["call", "half"]);
    assert_eq!((text(&quiet.stdout).as_str(), text(&quiet.stderr).as_str()), ("done\n", ""));

    assert!(on_terminal(&server, &[], &["list"]).contains("\u{1b}[32mSucceeded"));
    for variables in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_terminal(&server, &[variables], &["list"]);
        assert!(!shown.contains('\u{1b}'), "{variables:?}: {shown:?}");
    }
    assert!(!stdout_of(&server, &["list"]).contains('\u{1b}'));
}
