//! Colors, unless nobody wants them.

use ratatui::style::{Color, Modifier, Style};
use windlass_core::Phase;

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(in crate::top) struct Theme {
    has_colors: bool,
}

impl Theme {
    /// Without colors where `NO_COLOR` is set and not empty.
    pub(in crate::top) fn of_environment() -> Self {
        Self::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    pub(super) fn new(has_colors: bool) -> Self {
        Self { has_colors }
    }

    fn in_color(self, color: Color) -> Style {
        if self.has_colors { Style::new().fg(color) } else { Style::new() }
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.in_color(Color::Green)
    }

    pub(super) fn warning(self) -> Style {
        self.in_color(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.in_color(Color::Red)
    }

    /// Where the cursor is.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The same colors as in the tables of the command line.
    pub(super) fn phase(self, phase: Option<Phase>) -> Style {
        match phase {
            Some(Phase::Succeeded) => self.good(),
            Some(Phase::Failed) => self.bad(),
            Some(Phase::Cancelled) => self.warning(),
            Some(Phase::Running | Phase::Starting) => self.in_color(Color::Cyan),
            Some(Phase::Queued) | None => Style::new(),
        }
    }
}
