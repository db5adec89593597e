//! This process: when it is asked to stop, and the code with which it exits.

use windlass_worker::stop_signals::StopSignals;

/// How a shell reports a command that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Resolves when the process is asked to stop, by Ctrl-C, SIGTERM or a terminal that closes.
pub(crate) async fn stopped() {
    match StopSignals::listen() {
        Ok(mut signals) => signals.recv().await,
        Err(error) => {
            tracing::error!(%error, "signals cannot be received; only SIGKILL ends this process");
            std::future::pending().await
        }
    }
}
