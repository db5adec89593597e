//! `windlass serve` on a free port with a directory of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::http::Client;

pub(crate) struct Server {
    pub(crate) client: Client,
    /// Removed at the end.
    _data: tempfile::TempDir,
    child: Child,
}

impl Server {
    /// Starts a server with these further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(super::windlass())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .args(arguments)
            .current_dir(super::checkout())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (said, hear) = std::sync::mpsc::channel();
        // The log is read to its end, so that the server never blocks on it.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = event["address"].as_str() {
                    said.send(address.to_owned()).unwrap_or_default();
                }
            }
        });
        let address =
            hear.recv_timeout(Duration::from_secs(20)).expect("the server does not start");
        let token = std::fs::read_to_string(data.path().join("token")).unwrap();
        let client = Client { host: address.clone(), address, token, namespace: "default".into() };
        Self { client, _data: data, child }
    }

    /// Asks the server to stop and waits for its end.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.stop();
        }
    }
}
