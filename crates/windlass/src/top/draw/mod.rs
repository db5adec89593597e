//! Draws the screen. Every text of a job goes through [`words`], so that none can steer the terminal.

mod job;
mod jobs;
mod overview;
mod theme;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use windlass_core::Phase;

use super::feed::Connection;
use super::screen::{Action, Asked, Mode, Screen, View};
use super::summary;
use crate::output::terminal;

pub(super) use theme::Theme;

/// Most queues that are above the list of jobs.
const QUEUES_ABOVE: usize = 3;

/// Draws all of it, as it is now.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, theme: Theme) {
    draw_at(frame, screen, theme, Timestamp::now());
}

fn draw_at(frame: &mut Frame<'_>, screen: &Screen, theme: Theme, now: Timestamp) {
    let head = head(screen, theme);
    let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let rows = [Constraint::Length(height), Constraint::Min(0), Constraint::Length(1)];
    let [top, middle, bottom] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    match &screen.view {
        View::Jobs => jobs::draw(frame, middle, screen, theme, now),
        View::Overview => overview::draw(frame, middle, screen, theme, now),
        View::Job(view) => job::draw(frame, middle, view, theme, now),
        View::Help => frame.render_widget(Paragraph::new(HELP).wrap(Wrap { trim: false }), middle),
    }
    frame.render_widget(foot(screen, theme), bottom);
}

const HELP: &str = "
  up, down, j, k     to the job before, after       Enter      show the job and its log
  PgUp, PgDn, space  a page                         c          cancel it
  Home, End, g, G    the first, the last            r          submit it again
  /                  search: words of a name,       d          delete it
                     function, phase, queue, label  o, Tab     the overview
  Esc                show all again, or go back     q          back, and leave
  Ctrl-L             draw all anew                  ?, h, F1   this page
";

/// A text of a job, on one line.
fn words(text: &str) -> String {
    terminal::line(text)
}

fn head(screen: &Screen, theme: Theme) -> Vec<Line<'static>> {
    let (state, style) = match &screen.connection {
        Connection::Connecting => ("connecting".to_owned(), theme.quiet()),
        Connection::Live => ("live".to_owned(), theme.good()),
        Connection::Polling(why) => (format!("asked every 5 s: {}", words(why)), theme.warning()),
        Connection::Lost(why) => (format!("lost, trying again: {}", words(why)), theme.bad()),
    };
    let mut first = vec![
        Span::styled("windlass", theme.title()),
        Span::raw(format!("  {}  ", words(&screen.namespace))),
        Span::styled(state, style),
    ];
    if screen.table.is_cut {
        first.push(Span::styled("  only the newest jobs are shown", theme.warning()));
    }
    let mut counts = Vec::new();
    for (phase, count) in Phase::ALL.into_iter().zip(summary::by_phase(&screen.table)) {
        counts.push(Span::styled(format!("{count} "), theme.title()));
        counts.push(Span::styled(format!("{}  ", phase.as_str()), theme.phase(Some(phase))));
    }
    let of = screen.capacity.cpus.map(|cpus| format!(" of {cpus}")).unwrap_or_default();
    counts.push(Span::raw(format!("{}{of} CPUs granted", summary::granted(&screen.table))));
    let mut lines = vec![Line::from(first), Line::from(counts)];
    if !matches!(screen.view, View::Overview) {
        lines.extend(overview::queue_lines(screen, QUEUES_ABOVE, theme));
    }
    lines.push(Line::default());
    lines
}

/// What the keys do, what is asked, or what came of it.
fn foot(screen: &Screen, theme: Theme) -> Line<'static> {
    match (&screen.mode, &screen.message) {
        (Mode::Search, _) => Line::from(format!("/{}_", words(&screen.search))),
        (Mode::Confirm(Asked { action, name, .. }), _) => {
            let question = match action {
                Action::Cancel => format!("Cancel {}?", words(name)),
                Action::Retry => format!("Submit {} again?", words(name)),
                Action::Delete => format!("Delete {}, with its result and log?", words(name)),
            };
            Line::styled(format!("{question}  y: yes, any other key: no"), theme.warning())
        }
        (Mode::Browse, Some(message)) => {
            let style = if message.is_bad { theme.bad() } else { theme.good() };
            Line::styled(words(&message.text), style)
        }
        (Mode::Browse, None) => Line::styled(keys(&screen.view), theme.quiet()),
    }
}

fn keys(view: &View) -> &'static str {
    match view {
        View::Jobs => {
            "Enter show  / search  c cancel  r retry  d delete  o overview  ? help  q leave"
        }
        View::Job(_) => "up, down scroll  c cancel  r retry  d delete  q back",
        View::Overview | View::Help => "q back",
    }
}

/// Of these lines, as many as there is room for.
fn lines_in(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>) {
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests;
