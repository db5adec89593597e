//! What happens to the jobs of the back end, as a test tells it.

use async_trait::async_trait;
use futures::channel::mpsc;
use windlass_core::Error;
use windlass_core::changes::{ChangeStream, Changes};

use super::FakeBackend;

#[async_trait]
impl Changes for FakeBackend {
    async fn changes(&self, _: &str) -> Result<ChangeStream, Error> {
        self.meet_fault().await?;
        let (sender, changes) = mpsc::unbounded();
        *self.changes.lock().unwrap() = Some(sender);
        Ok(Box::pin(changes))
    }
}
