//! `windlass explain`: where a job's time went, and what it waits for now.

use crate::flags::names::job_name;
use crate::flags::output_form::OutputForm;
use clap::Args;
use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::explain::{Explanation, PartName, explain as explained};
use windlass_core::status::Earlier;

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
        OutputForm::Table | OutputForm::Wide => table(&explanation, &job.status.timeline.earlier),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn table(explanation: &Explanation, earlier: &[Earlier]) -> String {
    let Explanation { phase, wall_seconds, parts, waits_for, attempts, failure } = explanation;
    let phase = phase.map_or("new", windlass_core::Phase::as_str);
    let mut text = format!("{phase}, {wall_seconds:.3} s, attempts: {attempts}\n");
    let mut earlier = earlier_attempts(earlier);
    for part in parts {
        let share = if *wall_seconds > 0.0 { part.seconds / wall_seconds } else { 0.0 };
        let bar = "#".repeat((share * BAR).round() as usize);
        let meaning = match part.name {
            PartName::Earlier => earlier.next(),
            _ => None,
        };
        let meaning = meaning.unwrap_or_else(|| part.name.meaning().to_owned());
        let (name, seconds) = (part.name.as_str(), part.seconds);
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
    text
}

/// What each part is that tells of earlier attempts. Of many, the oldest are one part, with the pauses between them.
fn earlier_attempts(earlier: &[Earlier]) -> impl Iterator<Item = String> {
    let firsts = std::iter::once(1).chain(earlier.iter().map(|attempt| attempt.attempt + 1));
    earlier.iter().zip(firsts).map(|(Earlier { attempt, .. }, first)| match first < *attempt {
        true => format!("attempts {first} to {attempt}, which failed, and the pauses between"),
        false => format!("attempt {attempt}, which failed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_are_told_as_one_are_said_to_be_many() {
        let now = Timestamp::UNIX_EPOCH;
        let tried = |attempt| Earlier { attempt, admitted: now, ended: now };
        let said = |attempts: &[u32]| {
            let all: Vec<_> = attempts.iter().copied().map(tried).collect();
            earlier_attempts(&all).collect::<Vec<_>>()
        };
        assert_eq!(said(&[1, 2]), ["attempt 1, which failed", "attempt 2, which failed"]);
        let many = "attempts 1 to 13, which failed, and the pauses between";
        assert_eq!(said(&[13, 14]), [many, "attempt 14, which failed"]);
    }
}
