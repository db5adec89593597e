//! Which watches have listed everything that was there when they began.

use tokio::sync::watch;
use windlass_core::Error;

/// One flag for each watch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// ComputeJobs.
    pub(crate) jobs: bool,
    /// ComputeFunctions.
    pub(crate) functions: bool,
    /// ComputeQueues.
    pub(crate) queues: bool,
    /// Batch Jobs.
    pub(crate) batch_jobs: bool,
    /// Pods.
    pub(crate) pods: bool,
}

impl Flags {
    fn all(self) -> bool {
        self.jobs && self.functions && self.queues && self.batch_jobs && self.pods
    }
}

/// Whether the caches are complete. Before that, what is not in a cache may exist all the same.
#[derive(Default)]
pub(crate) struct Synced(watch::Sender<Flags>);

impl Synced {
    /// A watch has listed everything.
    pub(crate) fn mark(&self, set: impl FnOnce(&mut Flags)) {
        self.0.send_modify(set);
    }

    /// Whether all caches are complete.
    pub(crate) fn has_synced(&self) -> bool {
        self.0.borrow().all()
    }

    /// Returns when all caches are complete.
    pub(crate) async fn wait(&self) -> Result<(), Error> {
        let mut flags = self.0.subscribe();
        let all = flags.wait_for(|flags| flags.all()).await;
        all.map(drop).map_err(|_| Error::unavailable("the watches have ended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caches_are_complete_when_every_watch_has_listed() {
        let synced = Synced::default();
        synced.mark(|flags| (flags.jobs, flags.functions, flags.queues) = (true, true, true));
        synced.mark(|flags| flags.batch_jobs = true);
        assert!(!synced.has_synced(), "pods are not listed yet");
        synced.mark(|flags| flags.pods = true);
        assert!(synced.has_synced());
        synced.wait().await.unwrap();
    }
}
