//! This process: when it is asked to stop, and the code with which it exits.

use std::io;

use futures::future::OptionFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};
use windlass_worker::stop_signals::ignores_hangup;

/// How a shell reports a command that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Resolves when the process is asked to stop, by Ctrl-C, SIGTERM or a terminal that closes: from the call of this function
/// on, not only while somebody waits for it.
pub(crate) fn stopped() -> impl Future<Output = ()> {
    let [interrupt, terminate] =
        [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| received(signal(kind)));
    let hangup = (!ignores_hangup()).then(|| received(signal(SignalKind::hangup())));
    async move {
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
            Some(()) = OptionFuture::from(hangup) => {}
        }
    }
}

async fn received(signal: io::Result<Signal>) {
    match signal {
        Ok(mut signal) => drop(signal.recv().await),
        Err(error) => {
            tracing::error!(%error, "signals cannot be received; only SIGKILL ends this process");
            std::future::pending::<()>().await;
        }
    }
}
