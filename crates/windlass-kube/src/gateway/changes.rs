//! What happens to the jobs of a namespace, from one Kubernetes watch.

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;
use windlass_core::Error;
use windlass_core::changes::{Change, ChangeStream, Changes};
use windlass_core::live::Shown;

use super::jobs::Cluster;
use crate::cache::watch::{self, handle_changes, watch_config, watch_events};
use crate::crd::ComputeJob;

#[async_trait]
impl Changes for Cluster {
    async fn changes(&self, namespace: &str) -> Result<ChangeStream, Error> {
        // What cannot be read is logged by the watch. It is no job, so that nobody is told of it.
        let (unreadable, _) = mpsc::unbounded_channel();
        let events = watch_events::<ComputeJob>(
            vec![self.api(namespace)],
            watch_config(None),
            unreadable,
            |_| {},
        );
        let mut changes = Box::pin(handle_changes(events, Some));
        // What was there before is listed by the caller.
        loop {
            match changes.next().await {
                Some(watch::Change::Listed) => break,
                Some(watch::Change::Failed) => return Err(failed()),
                Some(watch::Change::Applied(_) | watch::Change::Deleted(_)) => {}
                None => return Err(ended()),
            }
        }
        let told = changes.filter_map(async |change| match change {
            watch::Change::Applied(job) => {
                Some(Ok(Change::Stored(Shown::new(job.to_core().into(), None))))
            }
            watch::Change::Deleted(gone) => {
                Some(Ok(Change::Deleted { name: gone.name, uid: gone.uid }))
            }
            // It begins again, and then shows all that has changed meanwhile.
            watch::Change::Listed | watch::Change::Failed => None,
        });
        Ok(Box::pin(told.chain(stream::once(async { Err(ended()) }))))
    }
}

fn failed() -> Error {
    Error::unavailable("the jobs of the namespace cannot be watched now")
}

fn ended() -> Error {
    Error::unavailable("the watch has ended")
}
