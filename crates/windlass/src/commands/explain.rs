//! `windlass explain`: where a job's time went, and what it waits for now.

use crate::flags::names::job_name;
use crate::flags::output_form::OutputForm;
use clap::Args;
use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::explain::{Explanation, explain as explained};

use crate::backend::resolve::Backend;
use crate::output::objects;
use crate::output::terminal;

/// Widest bar, in characters.
const BAR: f64 = 40.0;

/// Tell where a job's time went, and what it waits for now.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: OutputForm,
}

pub(crate) async fn explain(backend: &Backend, args: &Explain) -> anyhow::Result<ExitCode> {
    let job = backend.jobs.get(&backend.key(&args.job)).await?;
    let explanation = explained(&job, Timestamp::now());
    objects::print(&match args.output {
        OutputForm::Json => objects::json(&explanation)?,
        OutputForm::Yaml => objects::yaml(&explanation)?,
        OutputForm::Name => objects::full_name(&job) + "\n",
        OutputForm::Table | OutputForm::Wide => table(&explanation),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn table(explanation: &Explanation) -> String {
    let Explanation { phase, wall_seconds, parts, waits_for, attempts, failure, advice } =
        explanation;
    let phase = phase.map_or("new", windlass_core::Phase::as_str);
    let mut text = format!("{phase}, {wall_seconds:.3} s, attempts: {attempts}\n");
    for part in parts {
        let share = if *wall_seconds > 0.0 { part.seconds / wall_seconds } else { 0.0 };
        let bar = "#".repeat((share * BAR).round() as usize);
        let (name, seconds, meaning) = (part.name.as_str(), part.seconds, part.name.meaning());
        let percent = share * 100.0;
        text += &format!("  {name:<10}{seconds:>12.3} s {percent:>5.1} %  {bar:<40}  {meaning}\n");
    }
    let mut line = |what: &str, said: &Option<String>| {
        if let Some(said) = said {
            text += &format!("{what}: {}\n", terminal::printable(said));
        }
    };
    line("waits for", waits_for);
    line("last failure", failure);
    line("what helps", advice);
    text
}
