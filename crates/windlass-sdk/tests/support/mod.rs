//! What both programs of tests need: a command line like libtest's, and waiting.

use std::fs;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

/// The part of libtest's command line that people and nextest use: filters, --exact, --list and --format.
pub(crate) fn run_tests(tests: &[(&str, fn())], arguments: &[String]) -> ExitCode {
    let list = arguments.iter().any(|argument| argument == "--list");
    let exact = arguments.iter().any(|argument| argument == "--exact");
    if arguments.iter().any(|argument| argument == "--ignored") {
        return ExitCode::SUCCESS;
    }
    let mut filters = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            // Its value is no filter: nextest would find no tests.
            "--format" => drop(rest.next()),
            other if other.starts_with('-') => {}
            _ => filters.push(argument),
        }
    }
    for (name, test) in tests {
        let wanted = |filter: &&String| {
            if exact { *name == filter.as_str() } else { name.contains(filter.as_str()) }
        };
        if !filters.is_empty() && !filters.iter().any(wanted) {
            continue;
        }
        if list {
            println!("{name}: test");
        } else {
            test();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// Threads of this process.
pub(crate) fn thread_count() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
    line.trim().parse().unwrap()
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

pub(crate) fn exit_within(child: &mut Child, bound: Duration) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > bound {
            child.kill().unwrap();
            panic!("still running after {bound:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
