//! Which batch Jobs this controller manages itself: those that it creates with `spec.managedBy`. The cluster's Job
//! controller, which makes 20 requests a second unless it is told otherwise, leaves them alone.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use tracing::info;
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

/// Whether new batch Jobs are managed.
pub(crate) struct JobsToManage {
    mode: ManageJobs,
    known: Mutex<Option<(Instant, bool)>>,
}

impl JobsToManage {
    /// As the command line says.
    pub(crate) fn new(mode: ManageJobs) -> Self {
        Self { mode, known: Mutex::new(None) }
    }

    /// Whether a batch Job that is created now is to be managed. Asks the API server for its version now and then.
    pub(crate) async fn manages_new(&self, client: &Client) -> Result<bool, Error> {
        match self.mode {
            ManageJobs::Always => return Ok(true),
            ManageJobs::Never => return Ok(false),
            ManageJobs::Auto => {}
        }
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, manages)) = known
            && since.elapsed() < MAX_AGE
        {
            return Ok(manages);
        }
        let version = call(client.apiserver_version()).await?;
        let manages = is_new_enough(&version.major, &version.minor);
        if known.is_none_or(|(_, before)| before != manages) {
            info!(api_server = version.git_version, manages, "whether batch Jobs are managed here");
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), manages));
        Ok(manages)
    }
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
