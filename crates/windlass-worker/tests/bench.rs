//! One attempt in its own directory: what the worker is given, and what it tells.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use windlass_core::assignment::{
    ASSIGNMENT, InputDigest, Instruction, Order, ReportTo, STANDBY, StandbyOrder,
    read_termination_message,
};
use windlass_core::report::{Ending, Event};
use windlass_core::status::{FailureReason, JobResult};
use windlass_core::{Assignment, Outcome, Report};

use crate::processes::{PATIENCE, eventually};

/// An attempt that can be started. Scripts find its directory in `$DIR`.
pub struct Bench {
    pub assignment: Assignment,
    pub grace: u64,
    directory: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("work")).unwrap();
        std::fs::write(path("input.json"), r#"{"n":7}"#).unwrap();
        let assignment = Assignment {
            version: 1,
            job: "job".into(),
            job_uid: "uid".into(),
            attempt: 3,
            parallelism: 2,
            timeout_seconds: 600,
            max_result_bytes: 1 << 20,
            content_type: "text/plain".into(),
            input: path("input.json"),
            input_digest: Some(InputDigest::of_bytes(br#"{"n":7}"#)),
            inputs: None,
            work: path("work"),
            report: ReportTo::Socket,
            results: None,
            log: None,
            keep_log_bytes: None,
            confinement: None,
            disk_bytes: None,
            termination_message: Some(path("termination")),
            on_standby: false,
        };
        Self { assignment, grace: 1, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until a script has written a whole line into this file of `$DIR`.
    pub fn line_of(&self, name: &str) -> String {
        eventually(name, || {
            let text = std::fs::read_to_string(self.path(name)).ok()?;
            Some(text.strip_suffix('\n')?.to_owned())
        })
    }

    pub fn pid_of(&self, name: &str) -> i32 {
        self.line_of(name).parse().unwrap()
    }

    /// What the worker left for a kubelet.
    pub fn left_word(&self) -> Option<Ending> {
        read_termination_message(&std::fs::read_to_string(self.path("termination")).ok()?)
    }

    /// Starts a worker with a shell script as its function.
    pub fn sh(&self, script: &str) -> Worker {
        self.start(&["sh", "-c", script])
    }

    pub fn start(&self, command: &[&str]) -> Worker {
        self.start_with(command, &serde_json::to_string(&self.assignment).unwrap())
    }

    pub fn start_with(&self, command: &[&str], assignment: &str) -> Worker {
        self.start_to(command, assignment, File::create(self.path("stderr")).unwrap().into())
    }

    /// Starts a worker whose own stderr goes there.
    pub fn start_to(&self, command: &[&str], assignment: &str, stderr: Stdio) -> Worker {
        self.start_by(Command::new(worker()), command, assignment, stderr)
    }

    /// Starts a worker that waits until its pod is an attempt.
    pub fn start_standby(&self, command: &[&str]) -> Worker {
        let Assignment { report, input, work, keep_log_bytes, .. } = self.assignment.clone();
        let order = serde_json::to_string(&StandbyOrder {
            version: 1,
            report,
            input,
            work,
            keep_log_bytes,
        })
        .unwrap();
        let mut program = Command::new(worker());
        program.arg("--standby").env(STANDBY, order);
        let stderr = File::create(self.path("stderr")).unwrap().into();
        self.start_by(program, command, "", stderr)
    }

    /// Starts a script as a user who may have so many processes and threads.
    pub fn sh_as_another_user(&self, processes: u32, script: &str) -> Worker {
        for path in [self.directory.path().to_owned(), self.path("work")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut limited = Command::new("setpriv");
        limited.args(["--reuid", "54321", "--clear-groups", "prlimit"]);
        limited.arg(format!("--nproc={processes}")).arg(worker());
        let assignment = serde_json::to_string(&self.assignment).unwrap();
        let stderr = File::create(self.path("stderr")).unwrap().into();
        self.start_by(limited, &["sh", "-c", script], &assignment, stderr)
    }

    fn start_by(
        &self,
        mut program: Command,
        command: &[&str],
        assignment: &str,
        stderr: Stdio,
    ) -> Worker {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = program
            .arg("--")
            .args(command)
            .env(ASSIGNMENT, assignment)
            .env("WINDLASS_GRACE_SECONDS", self.grace.to_string())
            .env("DIR", self.directory.path())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(File::create(self.path("stdout")).unwrap())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stderr = self.path("stderr");
        let who = (self.assignment.job_uid.clone(), self.assignment.attempt);
        Worker { child, who, socket: Some(BufReader::new(ours)), reports: Vec::new(), stderr }
    }
}

/// A worker that runs.
pub struct Worker {
    child: Child,
    /// UID of the job and number of the attempt that it was given.
    who: (String, u32),
    /// The server's end.
    socket: Option<BufReader<UnixStream>>,
    reports: Vec<Report>,
    stderr: PathBuf,
}

/// A worker that has exited.
#[derive(Debug)]
pub struct Exited {
    pub code: i32,
    pub events: Vec<Event>,
    pub stderr: String,
}

impl Worker {
    /// The next report; none once the worker has closed the socket.
    pub fn next_report(&mut self) -> Option<Event> {
        let mut line = String::new();
        let socket = self.socket.as_mut().expect("a socket");
        socket.read_line(&mut line).expect("a report within the patience");
        if line.is_empty() {
            return None;
        }
        let report: Report = serde_json::from_str(&line).expect(&line);
        assert_eq!((&report.job_uid, report.attempt), (&self.who.0, self.who.1));
        self.reports.push(report.clone());
        Some(report.event)
    }

    /// The function's process group, as soon as it is told.
    pub fn group(&mut self) -> i32 {
        match self.next_report() {
            Some(Event::Running { process_group: Some(group), .. }) => group.cast_signed(),
            other => panic!("the first report is {other:?}"),
        }
    }

    /// How many children it has, those that have ended and were not reaped too.
    pub fn children(&self) -> usize {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children.unwrap().split_whitespace().count()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Gives a worker its order that was started without a command.
    pub fn order(&mut self, order: &Order) {
        self.instruct(&Instruction::Run(order.clone()));
    }

    /// Tells a worker that was started without a command what to do.
    pub fn instruct(&mut self, instruction: &Instruction) {
        let mut line = serde_json::to_vec(instruction).unwrap();
        line.push(b'\n');
        self.socket.as_ref().expect("a socket").get_ref().write_all(&line).unwrap();
    }

    /// Closes the server's end of the socket.
    pub fn hang_up(&mut self) {
        self.socket = None;
    }

    /// Reads to the last report and waits for the exit.
    pub fn exited(mut self) -> Exited {
        while self.socket.is_some() && self.next_report().is_some() {}
        let status = eventually("the worker exits", || self.child.try_wait().unwrap());
        Exited {
            code: status.code().unwrap_or_else(|| -status.signal().unwrap()),
            events: self.reports.drain(..).map(|report| report.event).collect(),
            stderr: std::fs::read_to_string(&self.stderr).unwrap_or_default(),
        }
    }

    /// Waits for the worker's last word.
    pub fn ending(self) -> (i32, Ending) {
        let mut exited = self.exited();
        match exited.events.pop() {
            Some(Event::Finished(ending)) => (exited.code, ending),
            other => panic!("the last report is {other:?} of {exited:#?}"),
        }
    }

    /// Waits for a success.
    pub fn result(self) -> JobResult {
        match self.ending() {
            (0, Ending { outcome: Outcome::Succeeded(result), .. }) => result,
            other => panic!("no success: {other:#?}"),
        }
    }

    /// Waits for a failure: why, and in which words.
    pub fn failure(self) -> (FailureReason, String) {
        match self.ending() {
            (1, Ending { outcome: Outcome::Failed { reason, message, .. }, .. }) => {
                (reason, message)
            }
            other => panic!("no failure: {other:#?}"),
        }
    }

    /// Waits for a failure that is a timeout: in which words.
    pub fn timeout(self) -> String {
        let (reason, message) = self.failure();
        assert_eq!(reason, FailureReason::Timeout);
        message
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stderr = std::fs::read_to_string(&self.stderr).unwrap_or_default();
            eprintln!("told: {:#?}\nstderr of the worker:\n{stderr}", self.reports);
        }
        // Has it exited, this does nothing.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The program that this crate builds.
pub fn worker() -> &'static str {
    env!("CARGO_BIN_EXE_windlass-worker")
}
