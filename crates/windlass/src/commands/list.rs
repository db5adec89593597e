//! `windlass list`: jobs, filtered.

use crate::flags::names::{name, phase};
use crate::flags::output_form::OutputForm;
use clap::Args;
use std::process::ExitCode;
use windlass_core::Phase;

use windlass_core::Job;
use windlass_core::jobs::Filter;

use crate::backend::resolve::Backend;
use crate::output::log;
use crate::output::objects;

/// List jobs, in the order of their names.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this function
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) function: Option<String>,
    /// Only in this phase: Queued, Starting, Running, Succeeded, Failed or Cancelled
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    pub(crate) phase: Option<Phase>,
    /// Only of this queue
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) queue: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: OutputForm,
}

pub(crate) async fn list(backend: &Backend, args: &List) -> anyhow::Result<ExitCode> {
    let mut filter = Filter {
        function: args.function.clone(),
        queue: args.queue.clone(),
        phase: args.phase,
        ..Filter::default()
    };
    let most = args.limit as usize;
    let mut jobs: Vec<Job> = Vec::new();
    let is_whole = loop {
        // One more than is shown tells whether there are more.
        let left = most - jobs.len() + 1;
        filter.limit = u32::try_from(left).unwrap_or(u32::MAX);
        let page = backend.jobs.list(&backend.namespace, &filter).await?;
        jobs.extend(page.items);
        if jobs.len() > most {
            jobs.truncate(most);
            break false;
        }
        match page.continue_from {
            Some(token) => filter.continue_from = Some(token),
            None => break true,
        }
    };
    objects::many(&jobs, args.output)?;
    if !is_whole {
        log::tell(&format!(
            "windlass: there are more than {most} jobs; --limit N shows more, --function, --phase and \
             --queue fewer"
        ));
    } else if jobs.is_empty() {
        log::tell(&format!(
            "windlass: there are no such jobs in namespace {:?}",
            backend.namespace
        ));
    }
    Ok(ExitCode::SUCCESS)
}
