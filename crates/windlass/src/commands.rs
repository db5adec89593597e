//! One file a command.

mod controller;
mod explain;
mod gateway;
mod keys;
mod print;
mod run;
mod serve;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::{BadUsage, Command};

/// Bad usage or input, as clap exits for what it refuses itself.
const BAD_USAGE: u8 = 2;

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => block_on(run::run(args)),
        Command::Serve(args) => block_on(serve::serve(args)),
        Command::Gateway(args) => block_on(gateway::gateway(args)),
        Command::Controller(args) => block_on(controller::controller(args)),
        Command::Explain(args) => block_on(explain::explain(args)),
        Command::Keys(what) => keys::keys(what),
        Command::Print(what) => print::print(what),
        Command::Worker(args) => Ok(windlass_worker::main(args.command)),
        Command::Function(args) => Ok(windlass_functions::run(&args.name)),
    }
}

/// 2 for what the caller can mend, 1 for everything else.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let refused = error.downcast_ref::<windlass_core::Error>().is_some_and(|error| {
        use windlass_core::Error;
        matches!(error, Error::Invalid(_) | Error::NotFound { .. })
    });
    if refused || error.is::<BadUsage>() { BAD_USAGE } else { 1 }
}

/// One thread: everything that costs CPU runs in processes of its own.
fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot start")?;
    runtime.block_on(command)
}

/// Resolves when the process is asked to stop, by Ctrl-C or SIGTERM.
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
    }
}
