//! The release on a cluster with other values for a while. Alone on its cluster: every test depends on it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::cluster::{RELEASE, get};
use crate::support::{checkout, eventually, text};

/// Other tests have scaled what Helm owns.
pub(crate) const APPLIED: [&str; 3] = ["--force-conflicts", "--wait", "--timeout=2m"];

/// Runs a program to its good end.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(checkout()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
}

/// The release with other values, until it is dropped.
pub(crate) struct Upgraded {
    /// The revision that it had.
    before: u64,
}

impl Upgraded {
    /// `a.b=c,d=e`.
    pub(crate) fn to(values: &str) -> Self {
        let upgrade = ["upgrade", RELEASE, "charts/windlass", "-n", RELEASE, "--reuse-values"];
        let upgraded = Self { before: revision() };
        run("helm", &[&upgrade[..], &["--set", values], &APPLIED].concat());
        the_controller_before_is_gone();
        upgraded
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        let before = self.before.to_string();
        run("helm", &[&["rollback", RELEASE, &before, "-n", RELEASE][..], &APPLIED].concat());
        the_controller_before_is_gone();
    }
}

fn revision() -> u64 {
    let told = ["get", "metadata", RELEASE, "-n", RELEASE, "--output=json"];
    let output = Command::new("helm").args(told).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["revision"].as_u64().unwrap()
}

/// Until then it acts as it was told.
fn the_controller_before_is_gone() {
    let selector = "app.kubernetes.io/component=controller";
    eventually("one controller is left", Duration::from_secs(60), || {
        let pods = get(&["pods", "-n", RELEASE, "-l", selector]);
        (pods["items"].as_array()?.len() == 1).then_some(())
    });
}
