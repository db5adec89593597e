//! The list of jobs.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::Span;
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};
use windlass_core::explain::explain;
use windlass_core::{Job, Phase};

use super::theme::Theme;
use super::words;
use crate::output::age::age;
use crate::top::screen::Screen;
use crate::top::table::Row;

/// The columns, how wide they are, and from which width of the terminal on they are there.
const COLUMNS: [(&str, Constraint, u16); 8] = [
    ("NAME", Constraint::Fill(2), 0),
    ("PHASE", Constraint::Length(10), 0),
    ("FUNCTION", Constraint::Fill(1), 70),
    ("QUEUE", Constraint::Length(10), 110),
    ("CPUS", Constraint::Length(4), 50),
    ("WHAT", Constraint::Fill(4), 90),
    ("TIME", Constraint::Length(6), 50),
    ("AGE", Constraint::Length(6), 60),
];

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &Screen,
    theme: Theme,
    now: Timestamp,
) {
    let wanted = screen.wanted();
    if wanted.is_empty() {
        let text = match (screen.is_listed, screen.search.is_empty()) {
            (false, _) => "The jobs are being listed.",
            (true, true) => {
                "There are no jobs yet: windlass submit echo --input '{\"hello\": \"world\"}'"
            }
            (true, false) => "No job is like this. Esc shows all.",
        };
        return frame.render_widget(Paragraph::new(text), area);
    }
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let at = screen.cursor().unwrap_or(0);
    // The cursor is in the middle, but for the beginning and the end of the list.
    let first = at.saturating_sub(room / 2).min(wanted.len().saturating_sub(room));
    let is_there = |column: &&(&str, Constraint, u16)| column.2 <= area.width;
    let columns: Vec<_> = COLUMNS.iter().filter(is_there).collect();
    let rows = wanted.iter().enumerate().skip(first).take(room).map(|(index, row)| {
        let cells = columns.iter().map(|(head, ..)| cell(head, row, theme, now));
        let style = if index == at { theme.chosen() } else { Style::new() };
        TableRow::new(cells).style(style)
    });
    let heads = TableRow::new(columns.iter().map(|(head, ..)| *head)).style(theme.title());
    let widths = columns.iter().map(|(_, width, _)| *width);
    frame.render_widget(Table::new(rows, widths).header(heads), area);
}

fn cell(head: &str, row: &Row, theme: Theme, now: Timestamp) -> Cell<'static> {
    let job = &row.job;
    Cell::from(match head {
        "NAME" => Span::raw(words(row.name())),
        "PHASE" => phase(job, theme),
        "FUNCTION" => Span::raw(words(&job.spec.function)),
        "QUEUE" => Span::raw(words(job.spec.queue())),
        "CPUS" => {
            let cpus = job.status.parallelism.or(job.spec.parallelism);
            Span::raw(cpus.map(|cpus| cpus.to_string()).unwrap_or_default())
        }
        "WHAT" => what(job, theme, now),
        "TIME" => Span::raw(time(job, now)),
        _ => Span::raw(age_of(job, now)),
    })
}

/// How long ago it was created.
pub(super) fn age_of(job: &Job, now: Timestamp) -> String {
    let created = job.metadata.creation_timestamp;
    created.map(|created| age(created, now)).unwrap_or_default()
}

/// The phase of a job, and whether it is asked to end.
pub(super) fn phase(job: &Job, theme: Theme) -> Span<'static> {
    let phase = job.status.phase;
    let word = match phase {
        _ if job.spec.cancel && !job.status.is_finished() => "Cancelling",
        None => "New",
        Some(phase) => phase.as_str(),
    };
    Span::styled(word, theme.phase(phase))
}

/// How far it is, why it waits, or why it failed.
pub(super) fn what(job: &Job, theme: Theme, now: Timestamp) -> Span<'static> {
    let status = &job.status;
    match (status.phase, &status.progress, &status.failure) {
        (Some(Phase::Running), Some(progress), _) => {
            let left = progress.estimated_remaining_seconds;
            let left = left.map(|left| format!(", about {left}s left")).unwrap_or_default();
            Span::raw(format!("{}{left} {}", progress.percent, words(&progress.message)))
        }
        (Some(Phase::Failed), _, Some(failure)) => {
            let text = format!("{}: {}", failure.reason.as_str(), words(&failure.message));
            Span::styled(text, theme.bad())
        }
        (Some(Phase::Succeeded | Phase::Cancelled), ..) => {
            let labels = job.metadata.labels.iter().map(|(key, value)| format!("{key}={value}"));
            Span::styled(words(&labels.collect::<Vec<_>>().join(" ")), theme.quiet())
        }
        _ => Span::raw(words(&explain(job, now).waits_for.unwrap_or_default())),
    }
}

/// How long it has run, or has waited.
fn time(job: &Job, now: Timestamp) -> String {
    let timeline = &job.status.timeline;
    let waits = matches!(job.status.phase, None | Some(Phase::Queued));
    let from = timeline.admitted.filter(|_| !waits).or(job.metadata.creation_timestamp);
    let to = timeline.finished.filter(|_| job.status.is_finished()).unwrap_or(now);
    from.map(|from| age(from, to)).unwrap_or_default()
}
