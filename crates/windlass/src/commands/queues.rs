//! `windlass queues`: quotas of CPUs, how much of them is in use, and whether they are on hold.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use windlass_core::estimate::Estimate;
use windlass_core::jobs::MachineCapacity;
use windlass_core::{Error, Queue, SharedCpus};

use crate::backend::resolve::Backend;
use crate::commands::each_name::each_name;
use crate::commands::waiting::estimates;
use crate::flags::backend::OnBackend;
use crate::flags::names::name;
use crate::flags::objects::ObjectsFlags;
use crate::flags::output_form::OutputForm;
use crate::output::log;
use crate::output::objects;

/// Most waiting jobs in the table.
const MAX_SHOWN: usize = 50;

/// Show quotas of CPUs, hold and resume them.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Queues {
    #[command(subcommand)]
    pub(crate) command: Option<QueuesCommand>,
    #[command(flatten)]
    pub(crate) shown: OnBackend<ObjectsFlags>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueuesCommand {
    /// Start nothing new in these queues; what runs goes on
    Hold(OnBackend<QueueNames>),
    /// Start the jobs of these queues again
    Resume(OnBackend<QueueNames>),
}

#[derive(Debug, Args)]
pub(crate) struct QueueNames {
    /// Names of queues
    #[arg(required = true, value_name = "NAME", value_parser = name)]
    names: Vec<String>,
}

pub(crate) async fn hold(backend: &Backend, args: &QueueNames) -> anyhow::Result<ExitCode> {
    set_hold(backend, args, true).await
}

pub(crate) async fn resume(backend: &Backend, args: &QueueNames) -> anyhow::Result<ExitCode> {
    set_hold(backend, args, false).await
}

async fn set_hold(backend: &Backend, args: &QueueNames, hold: bool) -> anyhow::Result<ExitCode> {
    let set = async |name: &str| backend.jobs.hold_queue(&backend.key(name), hold).await;
    let (queues, missing) = each_name(&args.names, set).await?;
    objects::many(&queues, OutputForm::Name)?;
    match missing {
        Some(missing) => Err(missing.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

pub(crate) async fn queues(backend: &Backend, args: &ObjectsFlags) -> anyhow::Result<ExitCode> {
    let (jobs, namespace) = (&backend.jobs, &backend.namespace);
    let mut found = Vec::new();
    for name in &args.names {
        let missing = || Error::NotFound { kind: Queue::KIND, name: name.clone() };
        found.push(jobs.queue(namespace, name).await?.ok_or_else(missing)?);
    }
    if let [queue] = found.as_slice() {
        objects::one(queue, args.output)?;
        waiting(backend, args, &found).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.names.is_empty() {
        found = jobs.queues(namespace).await?;
    }
    objects::many(&found, args.output)?;
    waiting(backend, args, &found).await?;
    // An earlier server does not tell it.
    if let Ok(MachineCapacity { shared: Some(shared), .. }) = jobs.capacity(namespace).await {
        let SharedCpus { name, cpus, granted, waiting, hold } = shared;
        let hold = if hold { "; it is on hold" } else { "" };
        log::print_line(&format!(
            "windlass: namespace {namespace:?} shares the {cpus} CPUs of ClusterComputeQueue {name:?} with others: \
             {granted} granted, {waiting} waiting{hold}"
        ));
        if found.is_empty() {
            log::print_line("windlass: there are no queues: nothing starts until there is one");
        }
    } else if found.is_empty() {
        log::print_line(&format!(
            "windlass: there are no queues in namespace {namespace:?}, and so no quota"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Who waits in these queues; in all, where none is named.
async fn waiting(backend: &Backend, args: &ObjectsFlags, queues: &[Queue]) -> anyhow::Result<()> {
    let mut told = estimates(backend, args.output).await;
    let is_shown = |queue: &str| {
        args.names.is_empty() || queues.iter().any(|known| known.metadata.name == queue)
    };
    told.retain(|told| told.queue.as_deref().is_some_and(is_shown));
    if told.is_empty() {
        return Ok(());
    }
    told.sort_by(|a, b| (&a.queue, a.position).cmp(&(&b.queue, b.position)));
    let more = told.len().saturating_sub(MAX_SHOWN);
    told.truncate(MAX_SHOWN);
    objects::print("\n")?;
    objects::many::<Estimate>(&told, args.output)?;
    if more > 0 {
        log::print_line(&format!("windlass: {more} more wait"));
    }
    Ok(())
}
