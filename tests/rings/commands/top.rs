//! `windlass top` on a terminal: what it shows, what its keys do, and how it leaves.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{key_of, run_windlass, server_of, stdout_of, windlass_with};
use crate::support::server::Server;
use crate::support::{eventually, text, windlass};

const LIMIT: Duration = Duration::from_secs(60);

/// Draws all anew.
const REDRAW: &str = "\u{c}";

/// `windlass top` in a terminal of its own.
struct Top {
    child: Child,
    keys: ChildStdin,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Top {
    fn start(server: &Server, variables: &[(&str, &str)]) -> Self {
        // What the terminal is like is told before and after.
        let line = format!(
            "stty rows 30 cols 120; echo tty:$(tty); echo before:$(stty -g); \
             sh -c 'echo pid:$$; exec {} top'; echo code:$?; echo after:$(stty -g)",
            windlass().display()
        );
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        let mut command = windlass_with(server);
        for (name, value) in command.env("TERM", "xterm").envs(variables.iter().copied()).get_envs()
        {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                into.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self { child, keys, written }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn written(&self) -> String {
        text(&self.written.lock().unwrap())
    }

    /// What follows this mark in what it has written, up to the end of the line.
    fn told(&self, mark: &str) -> String {
        eventually(mark, LIMIT, || {
            let written = self.written();
            let (_, rest) = written.split_once(mark)?;
            Some(rest.split_once("\r\n")?.0.to_owned())
        })
    }

    /// Waits until all of these words are on the screen.
    fn shows(&mut self, words: &[&str]) -> String {
        let mut shown = String::new();
        eventually(&format!("it shows {words:?}"), LIMIT, || {
            let from = self.written().len();
            self.press(REDRAW);
            shown = eventually("it is drawn", LIMIT, || {
                let written = self.written();
                // All is cleared, then drawn, and then the cursor is hidden.
                let (_, anew) = written.get(from..)?.split_once("\u{1b}[2J")?;
                Some(without_escapes(anew.split_once("\u{1b}[?25l")?.0))
            });
            words.iter().all(|word| shown.contains(word)).then_some(())
        });
        shown
    }

    /// Waits for its end. Its exit code, and whether the terminal is as it was.
    fn ends(mut self) -> (String, bool) {
        self.child.wait().unwrap();
        let same = self.told("before:") == self.told("after:");
        let written = self.written();
        // The main screen and the cursor are back.
        let is_back = written.contains("\u{1b}[?1049l") && written.contains("\u{1b}[?25h");
        (self.told("code:"), same && is_back)
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // The end of its terminal ends the program.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// The text of what was written to a terminal. Where the cursor was moved, there is a space.
fn without_escapes(written: &str) -> String {
    let mut shown = String::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        let end = after.find(|c: char| c.is_ascii_alphabetic()).map_or(after.len(), |at| at + 1);
        let space = if after[..end].ends_with('H') { " " } else { "" };
        write!(shown, "{before}{space}").unwrap();
        rest = &after[end..];
    }
    shown + rest
}

const HOSTILE: &str = "\\033]0;title\\007\\302\\2332J\\342\\200\\256end";

#[test]
fn jobs_come_change_and_go_on_the_terminal_and_keys_act_on_them() {
    let directory = tempfile::tempdir().unwrap();
    let slow = format!(
        "printf '{HOSTILE}\\n' >&2; printf '1 2 half {HOSTILE}\\n' >> $WINDLASS_PROGRESS; sleep 300"
    );
    let server = server_of(directory.path(), &[("slow", &slow), ("crash", "exit 65")]);
    let mut top = Top::start(&server, &[]);
    top.shows(&["default", "live", "There are no jobs yet", "0 of 2 CPUs granted"]);
    stdout_of(&server, &["submit", "slow", "--name", "at-work"]);
    top.shows(&["at-work", "Running", "50%", "half", "1 of 2 CPUs granted"]);
    stdout_of(&server, &["submit", "crash", "--name", "bad"]);
    top.shows(&["bad", "Failed", "BadInput"]);
    // The cursor is on the newest.
    top.press("\r");
    top.shows(&["function crash", "failed: attempt 1: BadInput"]);
    top.press("q/at-work\r");
    let shown = top.shows(&["at-work"]);
    assert!(!shown.contains("BadInput"), "{shown:?}");
    top.press("\r");
    top.shows(&["function slow", "1 CPUs granted", "2Jend"]);
    top.press("c");
    top.shows(&["Cancel at-work?"]);
    top.press("n");
    top.shows(&["Running"]);
    top.press("cy");
    // The word is in the counts as well, from the beginning.
    eventually("it is cancelled", LIMIT, || {
        let ended = stdout_of(&server, &["list", "--phase", "Cancelled", "-o", "name"]);
        ended.contains("at-work").then_some(())
    });
    top.shows(&["Cancelled"]);
    // Held down it submits nothing.
    top.press("rrrr");
    top.press("r");
    top.shows(&["Submit at-work again?"]);
    top.press("y");
    top.shows(&["was submitted again as slow-"]);
    assert_eq!(stdout_of(&server, &["list", "-o", "name"]).lines().count(), 3);
    top.press("qo");
    top.shows(&["Failures", "crash: BadInput, latest bad", "What waits"]);
    let tty = top.told("tty:");
    assert!(
        Command::new("stty")
            .args(["-F", &tty, "rows", "12", "cols", "60"])
            .status()
            .unwrap()
            .success()
    );
    top.press("\t");
    let narrow = top.shows(&["NAME", "Cancelled"]);
    assert!(!narrow.contains("WHAT"), "{narrow:?}");
    let written = top.written();
    for hostile in ["\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}"] {
        assert!(!written.contains(hostile), "{hostile:?}");
    }
    assert!(written.contains("\u{1b}[38;"), "colors");
    top.press("q");
    assert_eq!(top.ends(), ("0".into(), true));
}

#[test]
fn a_job_that_was_made_again_under_its_name_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("slow", "sleep 300")]);
    stdout_of(&server, &["submit", "slow", "--name", "same"]);
    let mut top = Top::start(&server, &[]);
    top.shows(&["same", "Running"]);
    top.press("c");
    top.shows(&["Cancel same?"]);
    stdout_of(&server, &["delete", "same"]);
    stdout_of(&server, &["submit", "slow", "--name", "same"]);
    top.press("y");
    top.shows(&["\"same\" was deleted and made again: nothing was done", "Running"]);
}

#[test]
fn who_may_list_and_neither_get_nor_watch_is_shown_the_jobs_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("slow", "sleep 300")]);
    stdout_of(&server, &["submit", "slow", "--name", "first"]);
    let key = key_of(&server, "list");
    let mut top = Top::start(&server, &[("WINDLASS_TOKEN", &key)]);
    top.shows(&["first", "Running", "asked every 5 s"]);
    stdout_of(&server, &["submit", "slow", "--name", "second"]);
    top.shows(&["first", "second"]);
}

#[test]
fn the_terminal_is_given_back_on_sigterm_and_there_is_no_color_where_nobody_wants_any() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = server_of(directory.path(), &[("crash", "exit 65")]);
    run_windlass(&server, &["submit", "crash", "--name", "bad", "--wait"]);
    let mut top = Top::start(&server, &[("NO_COLOR", "1")]);
    top.shows(&["bad", "Failed", "live"]);
    server.stop();
    top.shows(&["bad", "lost, trying again"]);
    let pid = top.told("pid:");
    let written = top.written();
    assert!(!written.contains("\u{1b}[38;"), "no color");
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(top.ends(), ("0".into(), true));
}

#[test]
fn elsewhere_than_on_a_terminal_it_says_what_to_use() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[]);
    let refused = run_windlass(&server, &["top"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("windlass list --watch"), "{}", text(&refused.stderr));
}
