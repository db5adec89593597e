//! An attempt to start, and one that runs.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use windlass_core::assignment::{ASSIGNMENT, Assignment, ReportTo, read_termination_message};
use windlass_core::report::{Ending, Event, Report};
use windlass_core::status::{FailureReason, JobResult};
use windlass_core::{Outcome, contract};

/// Longest time that any test waits for anything.
const BOUND: Duration = Duration::from_secs(30);

/// An attempt that can be started.
pub(crate) struct Attempt {
    pub(crate) directory: TempDir,
    pub(crate) assignment: Assignment,
    pub(crate) command: Vec<String>,
    pub(crate) grace_seconds: &'static str,
    pub(crate) stderr: Option<Stdio>,
}

/// An attempt of this shell script, with one CPU and a minute. It reports over a socket.
pub(crate) fn script(script: &str) -> Attempt {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    fs::create_dir(path("work")).unwrap();
    fs::write(path("input"), b"{\"n\":1}").unwrap();
    let assignment = Assignment {
        job: "job".into(),
        job_uid: "uid".into(),
        attempt: 2,
        parallelism: 3,
        timeout_seconds: 60,
        max_result_bytes: 1 << 30,
        content_type: "text/plain".into(),
        input: path("input"),
        work: path("work"),
        report: ReportTo::Socket,
        results: None,
        termination_message: Some(path("message")),
    };
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Attempt { directory, assignment, command, grace_seconds: "0.3", stderr: None }
}

/// A worker that runs.
pub(crate) struct Running {
    pub(crate) directory: TempDir,
    pub(crate) child: Child,
    pub(crate) server: Option<BufReader<UnixStream>>,
}

/// A worker that has ended.
pub(crate) struct Ended {
    pub(crate) directory: TempDir,
    pub(crate) code: Option<i32>,
    pub(crate) reports: Vec<Report>,
    /// Stdout and stderr of worker and function.
    pub(crate) log: String,
}

impl Attempt {
    pub(crate) fn start(self) -> Running {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(BOUND)).unwrap();
        let log = File::create(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(worker());
        command
            .arg("worker")
            .arg("--")
            .args(&self.command)
            .env(ASSIGNMENT, serde_json::to_string(&self.assignment).unwrap())
            .env("WINDLASS_GRACE_SECONDS", self.grace_seconds)
            .current_dir(self.directory.path())
            .stdin(OwnedFd::from(theirs))
            .stdout(log.try_clone().unwrap())
            .stderr(self.stderr.unwrap_or_else(|| log.into()));
        let child = command.spawn().unwrap();
        // The command holds the worker's end of the socket.
        drop(command);
        Running { directory: self.directory, child, server: Some(BufReader::new(ours)) }
    }

    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}

impl Running {
    /// The next report, or nothing when the worker has closed its socket.
    pub(crate) fn report(&mut self) -> Option<Report> {
        let mut line = String::new();
        self.server.as_mut()?.read_line(&mut line).expect("a report in time");
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Reads all reports and waits for the exit.
    pub(crate) fn wait(mut self) -> Ended {
        let reports = std::iter::from_fn(|| self.report()).collect();
        let status = eventually("the worker exits", || self.child.try_wait().unwrap());
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap();
        Ended { directory: self.directory, code: status.code(), reports, log }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Process ids that the function has written to the file `pids` in the test's directory.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let path = self.directory.path().join("pids");
        let text = eventually("the function tells its pids", || {
            fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
        });
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Ended {
    /// The ending that was reported last, which must be the only one.
    pub(crate) fn ending(&self) -> &Ending {
        let mut endings = self.reports.iter().filter_map(|report| match &report.event {
            Event::Finished(ending) => Some(ending),
            _ => None,
        });
        let ending = endings.next().unwrap_or_else(|| panic!("no ending: {}", self.log));
        assert!(endings.next().is_none(), "two endings");
        ending
    }

    pub(crate) fn result(&self) -> &JobResult {
        match &self.ending().outcome {
            Outcome::Succeeded(result) => result,
            failed @ Outcome::Failed { .. } => panic!("{failed:?}"),
        }
    }

    pub(crate) fn failure(&self) -> (FailureReason, &str) {
        match &self.ending().outcome {
            Outcome::Failed { reason, message, .. } => (*reason, message),
            Outcome::Succeeded(result) => panic!("{result:?}"),
        }
    }

    /// What the termination message says.
    pub(crate) fn message(&self) -> Option<Ending> {
        let text = fs::read_to_string(self.directory.path().join("message")).ok()?;
        assert!(text.len() <= 4096);
        Some(read_termination_message(&text).expect("a readable termination message"))
    }
}

/// A script's line that appends its own pid and that of its last child to `pids`.
pub(crate) const TELL_PIDS: &str = "echo $$ $! > pids.new; mv pids.new pids;";

/// A script's line that writes this text as the result.
pub(crate) fn output(text: &str) -> String {
    format!("printf '{text}' > \"${}\";", contract::OUTPUT)
}

/// Waits until there is something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process runs. One that only waits to be reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the name, which is in parentheses and may itself hold some.
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

/// The example beside this test's program.
pub(crate) fn worker() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let worker = test.ancestors().nth(2).map(|path| path.join("examples/worker")).unwrap();
    assert!(Path::new(&worker).exists(), "{} is not built", worker.display());
    worker
}
