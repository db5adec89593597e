//! Which batch Jobs this controller manages itself: those that it creates with `spec.managedBy`. The cluster's Job
//! controller, which makes 20 requests a second unless it is told otherwise, leaves them alone.

use kube::Client;

use super::cluster_version::{NowAndThen, Version, api_server_version};

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
const FIRST: Version = (1, 33);

/// Whether new batch Jobs are managed.
pub(crate) struct JobsToManage {
    mode: ManageJobs,
    /// What the API server's version says.
    known: NowAndThen<bool>,
}

impl JobsToManage {
    /// As the command line says.
    pub(crate) fn new(mode: ManageJobs) -> Self {
        Self { mode, known: NowAndThen::default() }
    }

    /// Whether a batch Job that is created now is to be managed. Until the API server has told its version, the
    /// cluster's Job controller makes the pods.
    pub(crate) async fn manages_new(&self, client: &Client) -> bool {
        match self.mode {
            ManageJobs::Always => true,
            ManageJobs::Never => false,
            ManageJobs::Auto => {
                let ask = async { Ok(api_server_version(client).await? >= FIRST) };
                let manages = self.known.get("whether batch Jobs are managed here", ask).await;
                manages.unwrap_or(false)
            }
        }
    }
}
