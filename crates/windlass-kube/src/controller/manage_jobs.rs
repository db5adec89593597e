//! Which batch Jobs this controller manages itself: those that it creates with `spec.managedBy`. The cluster's Job
//! controller, which makes 20 requests a second unless it is told otherwise, leaves them alone.

use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};
use windlass_core::Error;

use crate::error::call;

/// Whether to manage them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManageJobs {
    /// Where both the API server and the cluster's Job controller know of it.
    Auto,
    /// Wherever the API server keeps the field.
    Always,
    /// Never. Those that there are already are managed to their ends.
    #[default]
    Never,
}

/// The API server of a cluster whose Job controller leaves such batch Jobs alone, be it a version behind, as it may
/// be while a cluster is upgraded: from 1.32 on a Job controller knows of the field.
const FIRST_MINOR: u32 = 33;

/// The version is asked again after this time: a cluster is upgraded under a controller that runs.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Longest wait for the version: jobs wait to start meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// When the version is asked again after it was not told.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Whether new batch Jobs are managed.
pub(crate) struct JobsToManage {
    mode: ManageJobs,
    /// Whoever asks holds it, and the others wait for the answer.
    known: Mutex<Known>,
}

/// What was found out.
#[derive(Default)]
struct Known {
    /// What the version says; `None` until the API server has told it.
    manages: Option<bool>,
    ask_at: Option<Instant>,
}

impl JobsToManage {
    /// As the command line says.
    pub(crate) fn new(mode: ManageJobs) -> Self {
        Self { mode, known: Mutex::default() }
    }

    /// Whether a batch Job that is created now is to be managed. Asks the API server for its version now and then. While
    /// that is not told, what was told last holds. Before that, the cluster's Job controller makes the pods.
    pub(crate) async fn manages_new(&self, client: &Client) -> bool {
        match self.mode {
            ManageJobs::Always => return true,
            ManageJobs::Never => return false,
            ManageJobs::Auto => {}
        }
        let mut known = self.known.lock().await;
        if known.ask_at.is_none_or(|at| at <= Instant::now()) {
            let pause = match ask(client).await {
                Ok((version, manages)) => {
                    if known.manages != Some(manages) {
                        info!(api_server = version, manages, "whether batch Jobs are managed here");
                    }
                    known.manages = Some(manages);
                    MAX_AGE
                }
                Err(error) => {
                    warn!(%error, "the API server does not tell its version");
                    ASK_AGAIN
                }
            };
            known.ask_at = Some(Instant::now() + pause);
        }
        known.manages.unwrap_or(false)
    }
}

/// The API server's version, and whether batch Jobs are managed with it.
async fn ask(client: &Client) -> Result<(String, bool), Error> {
    let asked = timeout(PATIENCE, call(client.apiserver_version())).await;
    let version = asked.map_err(|_| Error::unavailable("it does not answer"))??;
    let manages = is_new_enough(&version.major, &version.minor);
    Ok((version.git_version, manages))
}

/// Some add a sign: `33+`.
fn is_new_enough(major: &str, minor: &str) -> bool {
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>();
    match (number(major), number(minor)) {
        (Ok(1), Ok(minor)) => minor >= FIRST_MINOR,
        (Ok(major), _) => major > 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_controller_that_is_a_version_behind_must_know_of_it() {
        let table = [
            ("1", "31", false),
            ("1", "32", false),
            ("1", "33", true),
            ("1", "33+", true),
            ("2", "0", true),
            ("", "", false),
        ];
        for (major, minor, expected) in table {
            assert_eq!(is_new_enough(major, minor), expected, "{major}.{minor}");
        }
    }
}
