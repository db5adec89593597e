//! `windlass functions`: what may run.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::backend::named_functions::named_functions;
use crate::backend::resolve::Backend;
use crate::commands::check_functions::Check;
use crate::flags::backend::OnBackend;
use crate::flags::objects::ObjectsFlags;
use crate::output::objects;

/// Show what may run, and what a manifest means.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Functions {
    #[command(subcommand)]
    pub(crate) command: Option<FunctionsCommand>,
    #[command(flatten)]
    pub(crate) shown: OnBackend<ObjectsFlags>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FunctionsCommand {
    /// Say what manifests, or functions that are there, mean on one machine and on a cluster
    Check(Check),
}

pub(crate) async fn functions(backend: &Backend, args: &ObjectsFlags) -> anyhow::Result<ExitCode> {
    if args.names.is_empty() {
        let all = backend.jobs.functions(&backend.namespace).await?;
        objects::many(&all, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    match named_functions(backend, &args.names).await?.as_slice() {
        [function] => objects::one(function, args.output)?,
        functions => objects::many(functions, args.output)?,
    }
    Ok(ExitCode::SUCCESS)
}
