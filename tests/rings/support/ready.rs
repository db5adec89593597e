//! A controller that says whether it is ready.

use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_tests::Controller;

use super::http::Client;
use super::outage::{MINUTE, TestBed};

/// Whether this process of ours says that it is ready.
pub(crate) fn is_ready(client: &Client) -> bool {
    client.try_send("GET", "/readyz", &[], b"").is_ok_and(|answer| answer.status == 200)
}

impl TestBed {
    /// A controller whose watches have brought everything, and whom to ask whether it is ready.
    pub(crate) async fn ready_controller(
        &self,
        name: &str,
    ) -> anyhow::Result<(Controller, Client)> {
        let controller = self.controller_with(name, &["--operations", "127.0.0.1:0"])?;
        let deadline = Instant::now() + MINUTE;
        loop {
            let said = std::fs::read_to_string(self.log(name))?;
            let address = said.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                Some(line["address"].as_str()?.to_owned())
            });
            if let Some(address) = address {
                let (token, namespace) = (String::new(), self.namespace.clone());
                let client = Client { address, token, namespace };
                if is_ready(&client) {
                    return Ok((controller, client));
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "not ready: {said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
