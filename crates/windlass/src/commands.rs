//! One file a command.

mod call;
mod cancel;
mod completion;
mod controller;
mod delete;
mod explain;
mod functions;
mod gateway;
mod get;
mod keys;
mod list;
mod logs;
mod print;
mod queues;
mod result;
mod run;
mod serve;
mod submit;
mod watch;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::{BadUsage, Command, Started, Where};
use crate::place::{Advised, Place};

/// Bad usage or input, as clap exits for what it refuses itself.
const BAD_USAGE: u8 = 2;

/// Who was asked says no or does not answer: the job, if there is one, may be well.
const REFUSED: u8 = 3;

/// How a shell reports a command that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => block_on(run::run(args)),
        Command::Call(args) => at(&args.place, async |place| call::call(place, &args).await),
        Command::Submit(args) => at(&args.place, async |place| submit::submit(place, &args).await),
        Command::Get(args) => at(&args.place, async |place| get::get(place, &args).await),
        Command::List(args) => at(&args.place, async |place| list::list(place, &args).await),
        Command::Watch(args) => at(&args.place, async |place| watch::watch(place, &args).await),
        Command::Cancel(args) => at(&args.place, async |place| cancel::cancel(place, &args).await),
        Command::Delete(args) => at(&args.place, async |place| delete::delete(place, &args).await),
        Command::Result(args) => at(&args.place, async |place| result::result(place, &args).await),
        Command::Logs(args) => at(&args.place, async |place| logs::logs(place, &args).await),
        Command::Explain(args) => {
            at(&args.place, async |place| explain::explain(place, &args).await)
        }
        Command::Functions(args) => {
            at(&args.place, async |place| functions::functions(place, &args).await)
        }
        Command::Queues(args) => at(&args.place, async |place| queues::queues(place, &args).await),
        Command::Serve(args) => block_on(serve::serve(args)),
        Command::Gateway(args) => block_on(gateway::gateway(args)),
        Command::Controller(args) => block_on(controller::controller(args)),
        Command::Keys(what) => keys::keys(what),
        Command::Print(what) => print::print(what),
        Command::Completion(args) => completion::completion(args.shell),
    }
}

/// What Windlass itself starts.
pub(crate) fn start(started: Started) -> ExitCode {
    match started {
        Started::Worker(args) => windlass_worker::main(args.command),
        Started::Function(args) => windlass_functions::run(&args.name),
    }
}

/// 2 for what the caller can mend, 3 where nobody lets them or answers, 1 for everything else.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    use windlass_core::Error;
    if let Some(advised) = error.downcast_ref::<Advised>() {
        return exit_code(&advised.error);
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Invalid(_) | Error::NotFound { .. }) => BAD_USAGE,
        Some(Error::Denied(_) | Error::Busy { .. } | Error::Unavailable { .. }) => REFUSED,
        Some(Error::Conflict(_) | Error::Bug(_)) => 1,
        None if error.is::<BadUsage>() => BAD_USAGE,
        None => 1,
    }
}

/// A command about the jobs of a place, with advice where it fails.
fn at(
    named: &Where,
    command: impl AsyncFnOnce(&Place) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    block_on(async {
        let place = Place::find(named).await?;
        place.run(command).await
    })
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
