//! `windlass run`: one job, on an engine in this process or at the place that is named.

use crate::flags::backend::BackendFlags;
use crate::flags::job::NewJobFlags;
use crate::flags::machine::{Landlock, MachineFlags};
use clap::Args;
use std::io::{IsTerminal as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use windlass_core::queue::DEFAULT_QUEUE;
use windlass_core::{Jobs as _, Phase};
use windlass_local::{Config, Engine, Library, Logs, NAMESPACE};

use crate::backend::follow;
use crate::backend::resolve::Backend;
use crate::backend::submission::{self, NewJob};
use crate::commands::call;
use crate::flags::bad_usage::BadUsage;
use crate::output::log;
use crate::output::progress::Progress;
use crate::output::result_file::ResultFile;
use crate::output::terminal::Calmed;
use crate::process::{self, INTERRUPTED};
use crate::server::{descriptors, engine_config};

/// Run one job and print its result.
///
/// Without a server or a context it runs here, on an engine in this process that ends with it.
/// Otherwise it is submitted there and followed; an interrupt cancels it.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 the job failed, 2 bad usage or input, 3 refused (token, rights,
certificate, full) or no answer, 130 interrupted.

Examples:
  windlass run price --input @examples/longstaff-schwartz.json --parallelism 2
  windlass run render --input @examples/scene.json --output picture.png
  windlass run -f job.yaml")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) request: NewJobFlags,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineFlags,
    #[command(flatten)]
    pub(crate) backend: BackendFlags,
}

pub(crate) async fn run(args: Run) -> anyhow::Result<ExitCode> {
    if Backend::is_elsewhere(&args.backend) { elsewhere(args).await } else { here(args).await }
}

/// At the place that is named.
async fn elsewhere(args: Run) -> anyhow::Result<ExitCode> {
    // --pass-env goes with --function.
    let MachineFlags { define, pass_env: _, functions, cpus, landlock, function_user } =
        &args.machine;
    let is_told = cpus.is_some() || *landlock != Landlock::default() || function_user.is_some();
    if !define.is_empty() || !functions.is_empty() || is_told {
        let why = "--function, --functions, --cpus, --landlock and --function-user are for a run on this \
                   machine, and a server or a cluster is named";
        return Err(BadUsage(why.into()).into());
    }
    let backend = Backend::find(&args.backend).await?;
    backend
        .run(async |backend| {
            let new = submission::submission(&args.request, &backend.namespace, backend.is_named)?;
            let output = args.output.as_deref();
            call::carry_out(backend, new, None, output, Progress::start()).await
        })
        .await
}

/// On an engine in this process.
async fn here(mut args: Run) -> anyhow::Result<ExitCode> {
    descriptors::keep_from_functions();
    log::start("warn");
    let mut functions = engine_config::functions(&args.machine)?;
    if let Some(file) = args.request.file.as_ref().filter(|file| file.as_os_str() != "-") {
        functions.load(file).map_err(|error| BadUsage(error.to_string()))?;
    }
    let mut new = submission::submission(&args.request, NAMESPACE, false)?;
    // An engine has one namespace, whatever a manifest names.
    new.submission.namespace = NAMESPACE.into();
    let function = &new.submission.spec.function;
    if functions.get(function).is_none() {
        let known = functions.all().map(|known| known.metadata.name.as_str()).collect();
        let why = submission::unknown_function(function, known);
        return Err(BadUsage(format!("{why}. --functions and --function add more")).into());
    }
    let queue = new.submission.spec.queue();
    if queue != DEFAULT_QUEUE && functions.queue(queue).is_none() {
        let why = format!(
            "there is no queue {queue:?}: the job would wait for ever. --functions adds one"
        );
        return Err(BadUsage(why).into());
    }
    // Before the work, so that none is done for a result that cannot be kept.
    let output = ResultFile::open(args.output.as_deref())?;
    let data = tempfile::Builder::new().prefix("windlass-run-").tempdir()?;
    // It holds nothing of anybody else, and nobody uses this directory after the run.
    if args.machine.landlock == Landlock::Auto {
        args.machine.landlock = Landlock::Off;
    }
    let mut config = engine_config::config(&args.machine, Library::fixed(functions), data.path())?;
    let mut said = None;
    if stderr().is_terminal() {
        let (calmed, pipe) = Calmed::stderr().context("a pipe to standard error")?;
        config.worker.logs = Logs::Pipe(Arc::new(pipe));
        said = Some(calmed);
    }
    let code = carry_out(config, new, output).await?;
    // The engine is gone, and its end of the pipe with it.
    said.into_iter().for_each(Calmed::finish);
    Ok(code)
}

/// Runs a job on an engine that ends with it.
async fn carry_out(
    config: Config,
    NewJob { submission, files }: NewJob,
    output: ResultFile,
) -> anyhow::Result<ExitCode> {
    let engine = Engine::start(config).context("the engine cannot start")?;
    for file in &files {
        file.send(engine.as_ref(), NAMESPACE).await?;
    }
    let job = engine.submit(submission).await?;
    let key = job.key();
    let mut changes = engine.watch(&key).await?;
    let interrupted = process::stopped();
    let end = tokio::select! {
        end = follow::to_end(changes.as_mut(), Progress::start()) => Some(end?),
        () = interrupted => None,
    };
    let Some(job) = end else {
        let grace = windlass_core::contract::STOP_GRACE_SECONDS;
        log::print_line(&format!(
            "windlass: interrupted; the job is cancelled and has {grace} s to stop (again: kill it)"
        ));
        tokio::select! {
            () = engine.shutdown() => {}
            // The workers are killed with this process's runtime, their functions with them.
            () = process::stopped() => {}
        }
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if job.status.phase == Some(Phase::Succeeded) {
        let result = engine.result(&key, false).await?;
        let whole = 0..result.bytes;
        output.write(result.read(whole).await?).await?;
    }
    let code = follow::verdict(&job);
    engine.shutdown().await;
    Ok(code)
}
