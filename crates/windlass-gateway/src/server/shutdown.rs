//! The signal that the server is about to end.

use tokio::sync::watch;

/// Signals to long answers that the server is about to end, so that they end first.
#[derive(Clone)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Starts when `true` is sent, or when the sender is gone.
    pub(crate) fn signalled_by(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    /// Whether it has started.
    pub(crate) fn has_started(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it has started.
    pub(crate) async fn started(mut self) {
        // A sender that is gone can only mean the end.
        drop(self.0.wait_for(|started| *started).await);
    }
}
