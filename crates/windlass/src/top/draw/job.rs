//! One job: where its time went, and what it says.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use windlass_core::explain::explain;

use super::jobs::{age_of, phase, what};
use super::theme::Theme;
use super::{lines_in, words};
use crate::output::terminal;
use crate::top::screen::JobView;

/// Most lines of why it waits or failed.
const WHY_LINES: u16 = 6;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &JobView,
    theme: Theme,
    now: Timestamp,
) {
    let facts = facts(view, theme, now);
    let why = why(view, theme, now);
    let height = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    // A line may need several rows.
    let width = usize::from(area.width).max(1);
    let rows: usize = why.iter().map(|line| line.width() / width + 1).sum();
    let parts = [height(facts.len()), height(rows.min(WHY_LINES.into())), Constraint::Min(1)];
    let [above, middle, below] = Layout::vertical(parts).areas(area);
    lines_in(frame, above, facts);
    frame.render_widget(Paragraph::new(why).wrap(Wrap { trim: false }), middle);
    lines_in(frame, below, log(view, below, theme));
}

fn facts(view: &JobView, theme: Theme, now: Timestamp) -> Vec<Line<'static>> {
    let job = &view.job;
    let mut title = vec![
        Span::styled(words(&job.metadata.name), theme.title()),
        Span::raw("  "),
        phase(job, theme),
    ];
    if view.is_gone {
        title.push(Span::styled("  it was deleted", theme.bad()));
    }
    let cpus = match (job.status.parallelism, job.spec.parallelism) {
        (Some(cpus), _) => format!("{cpus} CPUs granted"),
        (None, Some(cpus)) => format!("{cpus} CPUs wanted"),
        (None, None) => "the function's CPUs wanted".to_owned(),
    };
    let about = format!(
        "function {}  queue {}  {cpus}  attempt {}  created {} ago",
        words(&job.spec.function),
        words(job.spec.queue()),
        job.status.attempt.unwrap_or(0),
        age_of(job, now),
    );
    let explanation = explain(job, now);
    let parts = explanation.parts.iter().filter(|part| part.seconds > 0.0);
    let parts = parts.map(|part| format!("{} {:.1} s", part.name.as_str(), part.seconds));
    let sum = parts.collect::<Vec<_>>().join(" + ");
    let time = format!("time: {sum} = {:.1} s", explanation.wall_seconds);
    let mut lines = vec![Line::from(title), Line::from(about), Line::from(time)];
    if job.status.progress.is_some() && !job.status.is_finished() {
        lines.push(Line::from(what(job, theme, now)));
    }
    lines
}

fn why(view: &JobView, theme: Theme, now: Timestamp) -> Vec<Line<'static>> {
    let explanation = explain(&view.job, now);
    let line =
        |what: &str, said: String, style| Line::styled(format!("{what}: {}", words(&said)), style);
    let waits = explanation.waits_for.map(|said| line("waits for", said, theme.warning()));
    let failed = explanation.failure.map(|said| line("failed", said, theme.bad()));
    waits.into_iter().chain(failed).collect()
}

/// The end of its log, or what is before it.
fn log(view: &JobView, area: Rect, theme: Theme) -> Vec<Line<'static>> {
    let text = String::from_utf8_lossy(&view.log);
    let lines: Vec<_> = text.lines().collect();
    let room = usize::from(area.height.saturating_sub(1));
    let end = lines.len().saturating_sub(view.scrolled).max(room.min(lines.len()));
    let shown = &lines[end.saturating_sub(room)..end];
    let title = match (lines.is_empty(), end < lines.len()) {
        (true, _) => "log: it has said nothing",
        (false, true) => "log: down shows what follows",
        (false, false) => "log",
    };
    let said = shown.iter().map(|line| Line::from(terminal::printable(line).replace('\t', "    ")));
    std::iter::once(Line::styled(title, theme.title())).chain(said).collect()
}
