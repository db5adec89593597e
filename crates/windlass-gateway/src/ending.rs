//! Knowing that the server is about to end.

use tokio::sync::watch;

/// Tells long answers that the server is about to end, so that they end first.
#[derive(Clone)]
pub(crate) struct Ending(Option<watch::Receiver<bool>>);

impl Ending {
    /// A server that never ends.
    pub(crate) fn never() -> Self {
        Self(None)
    }

    /// Ends when `true` is sent, or when the sender is gone.
    pub(crate) fn when(receiver: watch::Receiver<bool>) -> Self {
        Self(Some(receiver))
    }

    /// Whether it has begun.
    pub(crate) fn is_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|ending| *ending.borrow())
    }

    /// Returns once it has begun.
    pub(crate) async fn begun(self) {
        match self.0 {
            // A sender that is gone can only mean the end.
            Some(mut ending) => drop(ending.wait_for(|begun| *begun).await),
            None => std::future::pending().await,
        }
    }
}
