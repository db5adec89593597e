//! `windlass explain`: where a job's time went, and what it waits for now.

use crate::flags::names::job_name;
use crate::flags::output_form::OutputForm;
use clap::Args;
use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::estimate::Estimate;
use windlass_core::explain::{Explanation, Part, explain as explained};

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
    let now = Timestamp::now();
    let mut explanation = explained(&job, now);
    if !job.status.is_finished() {
        // A server of an earlier version estimates nothing, and a cluster without a gateway neither.
        explanation.estimate = backend.jobs.estimate(&backend.key(&args.job)).await.ok().flatten();
    }
    objects::print(&match args.output {
        OutputForm::Json => objects::json(&explanation)?,
        OutputForm::Yaml => objects::yaml(&explanation)?,
        OutputForm::Name => objects::full_name(&job) + "\n",
        OutputForm::Table | OutputForm::Wide => table(&explanation, now),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where it is in the line, and when it starts and ends, as far as that is told.
fn estimate_lines(estimate: &Estimate, now: Timestamp) -> Vec<(&'static str, String)> {
    let Estimate { position, estimated_start_time: start, not_told, .. } = estimate;
    let when = |middle: &Option<Timestamp>, early: &Option<Timestamp>, late: &Option<Timestamp>| {
        let seconds = |time: &Timestamp| time.duration_since(now).as_secs().max(0);
        let (middle, early, late) = (middle.as_ref()?, early.as_ref()?, late.as_ref()?);
        let (in_, from, to) = (seconds(middle), seconds(early), seconds(late));
        Some(format!("in about {in_} s, likely in {from} to {to} s"))
    };
    let starts = when(start, &estimate.earliest_start_time, &estimate.latest_start_time);
    let ends = when(
        &estimate.estimated_completion_time,
        &estimate.earliest_completion_time,
        &estimate.latest_completion_time,
    );
    let all = [
        ("position in the line", position.map(|position| position.to_string())),
        ("starts", starts),
        ("ends", ends),
        ("not estimated", not_told.clone()),
    ];
    all.into_iter().filter_map(|(what, said)| Some((what, said?))).collect()
}

/// What a part is, in some words, and how it ended where it is an attempt that failed.
fn meaning(part: &Part) -> String {
    let mut said = part.name.meaning().to_owned();
    if let Some(attempt) = part.attempt {
        said += &format!(": {attempt}");
    }
    if let Some(reason) = part.reason {
        said += &format!(", {}", reason.as_str());
    }
    if let Some(code) = part.exit_code {
        said += &format!(", exit code {code}");
    }
    said
}

fn table(explanation: &Explanation, now: Timestamp) -> String {
    let Explanation { phase, wall_seconds, parts, waits_for, attempts, failure, advice, estimate } =
        explanation;
    let phase = phase.map_or("new", windlass_core::Phase::as_str);
    let mut text = format!("{phase}, {wall_seconds:.3} s, attempts: {attempts}\n");
    for part in parts {
        let share = if *wall_seconds > 0.0 { part.seconds / wall_seconds } else { 0.0 };
        let bar = "#".repeat((share * BAR).round() as usize);
        let (name, seconds, meaning) = (part.name.as_str(), part.seconds, meaning(part));
        let percent = share * 100.0;
        text += &format!("  {name:<10}{seconds:>12.3} s {percent:>5.1} %  {bar:<40}  {meaning}\n");
    }
    let mut line = |what: &str, said: &str| {
        text += &format!("{what}: {}\n", terminal::printable(said));
    };
    waits_for.iter().for_each(|said| line("waits for", said));
    let estimated = estimate.iter().flat_map(|estimate| estimate_lines(estimate, now));
    estimated.for_each(|(what, said)| line(what, &said));
    failure.iter().for_each(|said| line("last failure", said));
    advice.iter().for_each(|said| line("what helps", said));
    text
}
