//! Looking at processes from outside, and waiting for what they do. Shared with windlass-local.

use std::time::{Duration, Instant};

/// Longest wait for anything. Far longer than it takes: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until there is something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Processes that are alive: number, group and command line.
fn alive() -> impl Iterator<Item = (i32, i32, String)> {
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        // The name of the program, in parentheses, may contain anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, group) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        let command = std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        // A zombie is dead; somebody else has to reap it.
        (!matches!(state, "Z" | "X")).then(|| (pid, group, command.replace('\0', " ")))
    })
}

/// Who is alive of a process group.
pub fn members(group: i32) -> Vec<String> {
    alive().filter(|(_, g, _)| *g == group).map(|(pid, _, text)| format!("{pid} {text}")).collect()
}

/// Whether one process is alive.
pub fn is_alive(wanted: i32) -> bool {
    alive().any(|(pid, ..)| pid == wanted)
}

/// Asserts that nobody of a group is alive.
pub fn assert_gone(group: i32) {
    let left = members(group);
    assert!(left.is_empty(), "alive: {left:#?}");
}
