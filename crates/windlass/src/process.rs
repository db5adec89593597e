//! This process: when it is asked to stop, and the code with which it exits.

use windlass_worker::stop_signals::ignores_hangup;

/// How a shell reports a command that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Resolves when the process is asked to stop, by Ctrl-C, SIGTERM or a terminal that closes.
pub(crate) async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(error) => {
            tracing::error!(%error, "signals cannot be received; only SIGKILL ends this process");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()), if !ignores_hangup() => {}
    }
}
