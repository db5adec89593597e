//! Queues, who holds CPUs, what waits and what fails.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use windlass_core::history::Slot;
use windlass_core::{Cpus, QueueStatus};

use super::jobs::{age_of, what};
use super::theme::Theme;
use super::{lines_in, words};
use crate::top::screen::Screen;
use crate::top::summary::{self, Estimates};
use crate::top::table::Row;

/// Width of a meter, in characters.
const METER: usize = 24;

/// Most failures, and most queues.
const SHOWN: usize = 8;

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &Screen,
    theme: Theme,
    now: Timestamp,
) {
    let title = |text: &'static str| Line::styled(text, theme.title());
    let mut lines = vec![title("Queues")];
    match &screen.queues {
        Err(why) => lines.push(Line::styled(words(why), theme.bad())),
        Ok(queues) if queues.is_empty() => lines.push(match screen.capacity.shared {
            Some(_) => "There are no queues: nothing starts until there is one.".into(),
            None => "There are no queues, and so no quota.".into(),
        }),
        Ok(_) => {}
    }
    lines.extend(queue_lines(screen, SHOWN, theme));
    if let Some(history) = &screen.history {
        lines.extend([Line::default(), title("What has ended")]);
        lines.push(window_line("Last hour", &history.hour.all, theme));
        lines.push(window_line("Last day", &history.day.all, theme));
    }
    lines.extend([Line::default(), title("Failures")]);
    let failures = summary::failures(&screen.table);
    if failures.is_empty() {
        lines.push("No job that is kept has failed.".into());
    }
    lines.extend(failures.iter().take(SHOWN).map(|group| {
        let (function, latest) = (words(group.function), words(group.latest));
        let text = format!("{:>6}  {function}: {}, latest {latest}", group.count, group.reason);
        Line::styled(text, theme.bad())
    }));
    lines.push(Line::default());
    let height = Constraint::Length(u16::try_from(lines.len()).unwrap_or(u16::MAX));
    let [above, below] = Layout::vertical([height, Constraint::Min(0)]).areas(area);
    lines_in(frame, above, lines);
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2);
    let [left, right] = halves.areas(below);
    let holders = summary::holders(&screen.table);
    lines_in(frame, left, jobs("Who holds the CPUs", &holders, left, theme, now));
    let waiting = summary::waiting(&screen.table, &screen.estimates);
    let shown = jobs("What waits", &waiting, right, theme, now);
    lines_in(frame, right, with_estimates(shown, &waiting, &screen.estimates, now));
}

fn jobs(
    title: &'static str,
    rows: &[&Row],
    area: Rect,
    theme: Theme,
    now: Timestamp,
) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(title, theme.title())];
    if rows.is_empty() {
        lines.push("none".into());
    }
    lines.extend(rows.iter().take(area.height.into()).map(|row| {
        let status = &row.job.status;
        let cpus = status.parallelism.or(row.job.spec.parallelism).unwrap_or(1);
        let head = format!("{cpus:>4} {}  {}  ", words(row.name()), age_of(&row.job, now));
        Line::from(vec![Span::raw(head), what(&row.job, theme, now)])
    }));
    lines
}

/// The same with what is estimated of each job, behind its name and before why it waits.
fn with_estimates(
    mut lines: Vec<Line<'static>>,
    rows: &[&Row],
    estimates: &Estimates,
    now: Timestamp,
) -> Vec<Line<'static>> {
    for (line, row) in lines.iter_mut().skip(1).zip(rows) {
        let Some(told) = estimates.get(row.name()) else { continue };
        let mut text = told.position.map_or_else(String::new, |at| format!("position {at}, "));
        if let Some(start) = told.estimated_start_time {
            text += &format!("starts in {} s, ", start.duration_since(now).as_secs().max(0));
        }
        line.spans.insert(1, Span::raw(text));
    }
    lines
}

/// How many jobs have ended, why they failed and how long they had waited.
fn window_line(name: &str, all: &Slot, theme: Theme) -> Line<'static> {
    let mut line = vec![Span::raw(format!("{name:<10} {:>6} succeeded", all.succeeded))];
    if all.failed > 0 {
        let mut reasons: Vec<_> = all.failures.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons = reasons.iter().map(|(reason, count)| format!("{} {count}", words(reason)));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        line.push(Span::styled(format!(", {} failed ({reasons})", all.failed), theme.bad()));
    }
    if all.cancelled > 0 {
        line.push(Span::raw(format!(", {} cancelled", all.cancelled)));
    }
    if let (Some(half), Some(most)) = (all.wait_p50_seconds, all.wait_p95_seconds) {
        let waits = format!("; half waited at most {half:.1} s, 95 % at most {most:.1} s");
        line.push(Span::raw(waits));
    }
    Line::from(line)
}

/// The CPUs that all queues share with those of other namespaces, and the first of the queues.
pub(super) fn queue_lines(screen: &Screen, most: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(shared) = &screen.capacity.shared {
        let mut line =
            meter_line(&shared.name, (shared.granted, shared.cpus), shared.waiting, theme);
        line.push_span(Span::styled(", shared with other namespaces", theme.quiet()));
        lines.push(on_hold(line, shared.hold, theme));
    }
    let queues = screen.queues.as_deref().unwrap_or_default();
    lines.extend(queues.iter().take(most).map(|queue| {
        let QueueStatus { granted, waiting } = queue.status.unwrap_or_default();
        let line = meter_line(&queue.metadata.name, (granted, queue.spec.cpus), waiting, theme);
        on_hold(line, queue.spec.hold, theme)
    }));
    lines
}

/// CPUs that are granted of so many, as a meter.
fn meter_line(
    name: &str,
    (granted, cpus): (Cpus, Cpus),
    waiting: u32,
    theme: Theme,
) -> Line<'static> {
    let part = f64::from(granted) / f64::from(cpus.max(1));
    let full = ((part * METER as f64).round() as usize).min(METER);
    Line::from(vec![
        Span::raw(format!("{:<16} [", words(name))),
        Span::styled("|".repeat(full), theme.good()),
        Span::raw(format!("{}] ", " ".repeat(METER - full))),
        Span::raw(format!("{granted} of {cpus} CPUs, {waiting} waiting")),
    ])
}

fn on_hold(mut line: Line<'static>, is_held: bool, theme: Theme) -> Line<'static> {
    if is_held {
        line.push_span(Span::styled(", on hold", theme.bad()));
    }
    line
}
