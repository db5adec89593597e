//! `windlass serve` on a free port with a directory of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::http::Client;

pub(crate) struct Server {
    pub(crate) client: Client,
    /// Removed at the end, when it is the server's own.
    _own: Option<tempfile::TempDir>,
    data: PathBuf,
    child: Child,
    has_ended: bool,
    /// What it said until it served, and that it does.
    before: String,
    /// What it says.
    log: Receiver<Value>,
}

impl Server {
    /// Starts a server with these further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut server = Self::start_at(own.path(), arguments);
        server._own = Some(own);
        server
    }

    /// Starts a server on this data directory.
    pub(crate) fn start_at(data: &Path, arguments: &[&str]) -> Self {
        Self::start_by(Command::new(super::windlass()), data, arguments)
    }

    /// Starts a server with the functions of this directory, whose data is in it as well.
    pub(crate) fn beside(here: &Path, arguments: &[&str]) -> Self {
        let functions = ["--functions", here.to_str().unwrap()];
        Self::start_at(&here.join("data"), &[arguments, &functions].concat())
    }

    /// Starts a server by a command that ends with the program, such as `taskset -c 0 windlass`.
    pub(crate) fn start_by(command: Command, data: &Path, arguments: &[&str]) -> Self {
        match Self::try_start(command, data, arguments) {
            Ok(server) => server,
            Err((status, log)) => panic!("the server does not start: {status}\n{log}"),
        }
    }

    /// Starts a server that may refuse to; then its exit and what it said.
    pub(crate) fn try_start(
        mut command: Command,
        data: &Path,
        arguments: &[&str],
    ) -> Result<Self, (ExitStatus, String)> {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .current_dir(super::checkout())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, log) = channel();
        // The log is read to its end, so that the server never blocks on it.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                said.send(event).unwrap_or_default();
            }
        });
        let mut before = String::new();
        loop {
            match log.recv_timeout(Duration::from_secs(60)) {
                Ok(event) if event["address"].is_string() => {
                    before += &format!("{event}\n");
                    let address = event["address"].as_str().unwrap().to_owned();
                    let token = std::fs::read_to_string(data.join("token")).unwrap();
                    let client = Client { address, token, namespace: "default".into() };
                    let data = data.to_owned();
                    let has_ended = false;
                    return Ok(Self { client, _own: None, data, child, has_ended, before, log });
                }
                Ok(event) => before += &format!("{event}\n"),
                Err(_) => {
                    child.kill().unwrap_or_default();
                    return Err((child.wait().unwrap(), before));
                }
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What it said until it served, and that it does.
    pub(crate) fn before(&self) -> &str {
        &self.before
    }

    /// What it has said since the last call. Of one that has ended it is all: its last words are read after its end. Only
    /// what it has left behind could still say something.
    pub(crate) fn said(&self) -> String {
        let mut events: Vec<_> = self.log.try_iter().collect();
        if self.has_ended {
            let rest = std::iter::from_fn(|| self.log.recv_timeout(Duration::from_secs(1)).ok());
            events.extend(rest);
        }
        events.iter().map(|event| format!("{event}\n")).collect()
    }

    /// Asks the server to stop and waits for its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.has_ended = true;
        self.child.wait().unwrap()
    }

    /// Sends a signal to the server and everything that it has started, which `mark` tells, as a service
    /// manager does: to the server first.
    pub(crate) fn signal_all(&self, mark: &Path, signal: &str) {
        let all = super::processes_of(mark.to_str().unwrap());
        let others = all.iter().filter_map(|line| line.split(':').next()?.parse::<u32>().ok());
        let others = others.filter(|pid| *pid != self.pid());
        let pids = std::iter::once(self.pid()).chain(others).map(|pid| pid.to_string());
        // One that waits for an order may have gone with the first.
        Command::new("kill").arg(format!("-{signal}")).args(pids).output().unwrap();
    }

    /// Ends the server as the kernel would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = super::eventually("the server ends", Duration::from_secs(60), || {
            self.child.try_wait().unwrap()
        });
        self.has_ended = true;
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.stop();
        }
    }
}
