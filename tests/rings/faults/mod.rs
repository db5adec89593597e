//! What may go wrong on one machine: each fault with its stated outcome, and nothing lost that was
//! acknowledged.

mod bounds;
mod containers;
mod disks;
mod fence;
mod functions;
mod stops;
mod strangers;

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::http::Client;

/// Longest wait for what must happen.
const BOUND: Duration = Duration::from_secs(60);

fn here() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn status(client: &Client, name: &str) -> Value {
    client.get(&client.jobs(&format!("/{name}"))).json()["status"].clone()
}

fn phase(client: &Client, name: &str, phase: &str) -> Value {
    eventually(&format!("{name} is {phase}"), BOUND, || {
        Some(status(client, name)).filter(|status| status["phase"] == phase)
    })
}
