//! `windlass explain`: where a job's time went, and what it waits for now.

use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::explain::{Explanation, explain as explained};

use crate::cli::{Explain, Shape};
use crate::place::Place;
use crate::{show, terminal};

/// Widest bar, in characters.
const BAR: f64 = 40.0;

pub(crate) async fn explain(place: &Place, args: &Explain) -> anyhow::Result<ExitCode> {
    let job = place.jobs.get(&place.key(&args.job)).await?;
    let explanation = explained(&job, Timestamp::now());
    show::print(&match args.output {
        Shape::Json => show::json(&explanation)?,
        Shape::Yaml => show::yaml(&explanation)?,
        Shape::Name => show::full_name(&job) + "\n",
        Shape::Table | Shape::Wide => table(&explanation),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn table(explanation: &Explanation) -> String {
    let Explanation { phase, wall_seconds, parts, waits_for, attempts, failure } = explanation;
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
    text
}
