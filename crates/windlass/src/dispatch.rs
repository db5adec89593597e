//! From the command line to the command that it names, and from its end to an exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::backend::advice::Advised;
use crate::backend::resolve::Backend;
use crate::cli::{self, Command, Started};
use crate::commands::blobs::Blobs;
use crate::commands::functions::{Functions, FunctionsCommand};
use crate::commands::queues::{Queues, QueuesCommand};
use crate::commands::{
    backup, blobs, call, cancel, check_functions, completion, config, controller, dashboard,
    delete, drain, explain, function, functions, gateway, get, keys, lambda, list, logs, man,
    print, queues, result, retry, run as run_command, serve, submit, top, watch, worker,
};
use crate::flags::backend::OnBackend;
use crate::flags::bad_usage::BadUsage;
use crate::flags::kubectl_plugin::is_kubectl_plugin;
use crate::server::first_process;

/// Bad usage or input, as clap exits for what it refuses itself.
const BAD_USAGE: u8 = 2;

/// Who was asked says no or does not answer: the job, if there is one, may be well.
const REFUSED: u8 = 3;

/// Runs a command.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => block_on(run_command::run(args)),
        Command::Call(args) => on_backend(args, call::call),
        Command::Submit(args) => on_backend(args, submit::submit),
        Command::Get(args) => on_backend(args, get::get),
        Command::List(args) => on_backend(args, list::list),
        Command::Watch(args) => on_backend(args, watch::watch),
        Command::Cancel(args) => on_backend(args, cancel::cancel),
        Command::Delete(args) => on_backend(args, delete::delete),
        Command::Retry(args) => on_backend(args, retry::retry),
        Command::Result(args) => on_backend(args, result::result),
        Command::Logs(args) => on_backend(args, logs::logs),
        Command::Explain(args) => on_backend(args, explain::explain),
        Command::Dashboard(args) => on_backend(args, dashboard::dashboard),
        Command::Top(args) => on_backend(args, top::top),
        Command::Blobs(Blobs::Put(args)) => on_backend(args, blobs::put),
        Command::Functions(Functions { command: Some(FunctionsCommand::Check(args)), .. }) => {
            block_on(check_functions::check(args))
        }
        Command::Functions(args) => on_backend(args.shown, functions::functions),
        Command::Queues(Queues { command: Some(command), .. }) => match command {
            QueuesCommand::Hold(args) => on_backend(args, queues::hold),
            QueuesCommand::Resume(args) => on_backend(args, queues::resume),
        },
        Command::Queues(args) => on_backend(args.shown, queues::queues),
        Command::Drain(args) => on_backend(args, drain::drain),
        Command::Serve(_) if first_process::is_this() => block_on(first_process::stand_in()),
        Command::Serve(args) => block_on(serve::serve(args)),
        Command::Config(what) => config::config(what),
        Command::Gateway(args) => block_on(gateway::gateway(args)),
        Command::Controller(args) => block_on(controller::controller(args)),
        Command::Keys(what) => keys::keys(what),
        Command::Backup(args) => backup::backup(args),
        Command::Restore(args) => backup::restore(args),
        Command::Print(what) => print::print(what),
        Command::Completion(args) => {
            completion::completion(&args, cli::command(is_kubectl_plugin()))
        }
        Command::Man(args) => man::man(&args, cli::command(false)),
    }
}

/// What Windlass itself starts.
pub(crate) fn start(started: Started) -> ExitCode {
    match started {
        Started::Worker(args) => worker::worker(args),
        Started::Function(args) => function::function(&args),
        Started::Lambda(args) => lambda::lambda(&args),
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
        Some(
            Error::Refused(_) | Error::Denied(_) | Error::Busy { .. } | Error::Unavailable { .. },
        ) => REFUSED,
        Some(Error::Gone(_) | Error::Conflict(_) | Error::Bug(_)) => 1,
        None if error.is::<BadUsage>() => BAD_USAGE,
        None => 1,
    }
}

/// A command about the jobs of a back end, with advice where it fails.
fn on_backend<A: Args>(
    flags: OnBackend<A>,
    command: impl AsyncFnOnce(&Backend, &A) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    block_on(async {
        let backend = Backend::find(&flags.backend).await?;
        backend.run(async |backend| command(backend, &flags.command).await).await
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
