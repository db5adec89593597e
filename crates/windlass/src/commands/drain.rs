//! `windlass drain`: a server takes nothing new, and ends once nothing runs.

use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

use windlass_core::jobs::Draining;

use crate::backend::resolve::Backend;
use crate::output::log;
use crate::process::{self, INTERRUPTED};

/// How often a server is asked whether it is still there.
const INTERVAL: Duration = Duration::from_millis(500);

/// Have a server take nothing new, let run what runs, and end; for an upgrade.
///
/// Jobs that wait are started by the next server on the same data directory. The command waits for the server's end. An
/// interrupt ends the command, not the drain.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Do not wait for the server's end
    #[arg(long)]
    pub(crate) no_wait: bool,
}

pub(crate) async fn drain(backend: &Backend, args: &Drain) -> anyhow::Result<ExitCode> {
    let Draining { running, waiting } = backend.drain().await?;
    log::print_line(&format!(
        "windlass: the server takes nothing new and ends when nothing runs: {running} run, {waiting} wait for the next \
         server"
    ));
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        ended = until_it_is_gone(backend) => ended?,
        () = process::stopped() => return Ok(ExitCode::from(INTERRUPTED)),
    }
    log::print_line("windlass: the server has ended");
    Ok(ExitCode::SUCCESS)
}

/// Asks until nobody answers, or the next server does: that one is ready, and is not drained.
async fn until_it_is_gone(backend: &Backend) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if !backend.is_draining().await? {
            return Ok(());
        }
    }
}
