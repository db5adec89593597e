//! What happens to the jobs of this machine.

use async_trait::async_trait;
use futures::stream;
use tokio::sync::broadcast::error::RecvError;
use windlass_core::Error;
use windlass_core::changes::{ChangeStream, Changes};

use crate::config::NAMESPACE;
use crate::engine::Engine;
use crate::store::stopped;

#[async_trait]
impl Changes for Engine {
    async fn changes(&self, namespace: &str) -> Result<ChangeStream, Error> {
        if namespace != NAMESPACE {
            return Ok(Box::pin(stream::pending()));
        }
        let changes = self.ctx.store.changes();
        Ok(Box::pin(stream::unfold(Some(changes), async |changes| {
            let mut changes = changes?;
            match changes.recv().await {
                Ok(change) => Some((Ok(change), Some(changes))),
                Err(RecvError::Lagged(_)) => {
                    let why = "there were more changes than could be told";
                    Some((Err(Error::unavailable(why)), None))
                }
                Err(RecvError::Closed) => Some((Err(stopped()), None)),
            }
        })))
    }
}
