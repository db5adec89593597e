//! How far a job is, for people: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use windlass_core::Job;
use windlass_core::status::Progress as Told;
use windlass_core::{JobStatus, Phase};

use crate::output::log;
use crate::output::terminal::line;

/// Between two plain lines, at least this much more is done.
const LINE_STEP: f64 = 0.1;

/// Shows one job's way.
pub(crate) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere: the phase and fraction of the last line.
    Lines(Option<Phase>, f64),
    /// Where nobody looks.
    Silent,
}

impl Progress {
    pub(crate) fn start() -> Self {
        if !stderr().is_terminal() {
            return Self::Lines(None, 0.0);
        }
        let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
        let template = "{prefix:>9} [{bar:32}] {percent:>3}% {msg}";
        bar.set_style(
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        Self::Bar(bar)
    }

    /// A bar on a terminal, nothing elsewhere.
    pub(crate) fn bar_only() -> Self {
        if stderr().is_terminal() { Self::start() } else { Self::Silent }
    }

    pub(crate) fn show(&mut self, job: &Job) {
        let JobStatus { phase, progress, .. } = &job.status;
        let Some(phase) = phase else { return };
        match self {
            Self::Bar(bar) => {
                bar.set_prefix(phase.as_str());
                if let Some(told) = progress {
                    bar.set_position((told.fraction * 1000.0) as u64);
                    bar.set_message(words(told));
                }
            }
            Self::Lines(last, fraction) => {
                let now = progress.as_ref().map_or(0.0, |told| told.fraction);
                if *last != Some(*phase) || now >= *fraction + LINE_STEP {
                    (*last, *fraction) = (Some(*phase), now);
                    let told =
                        progress.as_ref().map(|told| format!(" {} {}", told.percent, words(told)));
                    let line = format!("{}{}", phase.as_str(), told.unwrap_or_default());
                    log::print_line(line.trim_end());
                }
            }
            Self::Silent => {}
        }
    }

    pub(crate) fn finish(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn words(told: &Told) -> String {
    let remaining = told.estimated_remaining_seconds.map(|seconds| {
        let remaining = indicatif::HumanDuration(Duration::from_secs(seconds));
        format!("{remaining} left")
    });
    let message = line(&told.message);
    [remaining.unwrap_or_default(), message].join(" ").trim().to_owned()
}
