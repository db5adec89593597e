//! Which watches have listed everything that was there when they began.

use std::collections::BTreeSet;

use tokio::sync::watch;
use windlass_core::Error;

/// A watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watched {
    /// ComputeJobs.
    Jobs,
    /// ComputeFunctions.
    Functions,
    /// ClusterComputeFunctions.
    ClusterFunctions,
    /// ComputeQueues.
    Queues,
    /// ClusterComputeQueues.
    ClusterQueues,
    /// Namespaces.
    Namespaces,
    /// Batch Jobs.
    BatchJobs,
    /// Pods.
    Pods,
}

impl Watched {
    /// What the API server calls these objects.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Jobs => "computejobs",
            Self::Functions => "computefunctions",
            Self::ClusterFunctions => "clustercomputefunctions",
            Self::Queues => "computequeues",
            Self::ClusterQueues => "clustercomputequeues",
            Self::Namespaces => "namespaces",
            Self::BatchJobs => "jobs",
            Self::Pods => "pods",
        }
    }
}

/// So many watches there are.
const WATCHES: usize = 8;

/// Whether the caches are complete. Before that, what is not in a cache may exist all the same.
#[derive(Default)]
pub(crate) struct Synced(watch::Sender<BTreeSet<Watched>>);

impl Synced {
    /// A watch has listed everything.
    pub(crate) fn mark(&self, watch: Watched) {
        self.0.send_modify(|listed| {
            listed.insert(watch);
        });
    }

    /// Whether all caches are complete.
    pub(crate) fn has_synced(&self) -> bool {
        self.0.borrow().len() == WATCHES
    }

    /// Returns when all caches are complete.
    pub(crate) async fn wait(&self) -> Result<(), Error> {
        let mut listed = self.0.subscribe();
        let all = listed.wait_for(|listed| listed.len() == WATCHES).await;
        all.map(drop).map_err(|_| Error::unavailable("the watches have ended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caches_are_complete_when_every_watch_has_listed() {
        let synced = Synced::default();
        let but_pods = [
            Watched::Jobs,
            Watched::Functions,
            Watched::ClusterFunctions,
            Watched::Queues,
            Watched::ClusterQueues,
            Watched::Namespaces,
            Watched::BatchJobs,
        ];
        but_pods.into_iter().for_each(|watch| synced.mark(watch));
        synced.mark(Watched::Jobs);
        assert!(!synced.has_synced(), "pods are not listed yet");
        synced.mark(Watched::Pods);
        assert!(synced.has_synced());
        synced.wait().await.unwrap();
    }
}
