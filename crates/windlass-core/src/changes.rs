//! What happens to the jobs of a namespace, for whoever shows many of them.

use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;

use crate::Error;
use crate::live::Shown;

/// A world that tells what happens to its jobs.
#[async_trait]
pub trait Changes: Send + Sync + 'static {
    /// What happens to the jobs of this namespace from now on. Whoever lists them after this has returned, and then reads
    /// the changes, has missed nothing.
    async fn changes(&self, namespace: &str) -> Result<ChangeStream, Error>;
}

/// States in between may be skipped, the last one is not. An error is the last item: some changes were missed, or
/// cannot be followed any more.
pub type ChangeStream = Pin<Box<dyn Stream<Item = Result<Change, Error>> + Send>>;

/// What happened to one job.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It is new, or another than before.
    Stored(Shown),
    /// It is gone.
    Deleted {
        /// Its name.
        name: String,
        /// Its UID: the name may be another job's by now.
        uid: String,
    },
}
