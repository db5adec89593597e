//! How often the server's log says that a function's process is replaced.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// One line of a function in so long: a function may have each of its processes replaced by each job.
const PAUSE: Duration = Duration::from_secs(60);

/// The longest reason.
const WHY_CHARACTERS: usize = 500;

/// When each function was told of last, and how many replacements were not told since.
#[derive(Default)]
pub(super) struct Replacements(HashMap<String, (Instant, u64)>);

impl Replacements {
    /// One more of a function. How many others there were since the last that was told, if this one is to be told.
    pub(super) fn note(&mut self, function: &str, now: Instant) -> Option<u64> {
        match self.0.get_mut(function) {
            Some((told, untold)) if now.duration_since(*told) < PAUSE => {
                *untold += 1;
                None
            }
            Some((told, untold)) => {
                *told = now;
                Some(std::mem::take(untold))
            }
            None => {
                self.0.insert(function.to_owned(), (now, 0));
                Some(0)
            }
        }
    }
}

/// Why, which a function may have said: one line, and no long one.
pub(super) fn one_line(why: &str) -> String {
    why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WHY_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_told_of_at_once_and_then_once_in_a_while_with_how_many_were_not() {
        let (mut replacements, now) = (Replacements::default(), Instant::now());
        assert_eq!(replacements.note("a", now), Some(0));
        assert_eq!(replacements.note("a", now + PAUSE / 2), None);
        assert_eq!(replacements.note("b", now + PAUSE / 2), Some(0));
        assert_eq!(replacements.note("a", now + PAUSE / 2), None);
        assert_eq!(replacements.note("a", now + PAUSE), Some(2));
        assert_eq!(replacements.note("a", now + 3 * PAUSE), Some(0));
    }

    #[test]
    fn what_a_function_says_is_one_line_of_the_log() {
        let said = "left open /tmp/a\n2026-01-01 INFO all is well\u{1b}[2J";
        assert_eq!(one_line(said), "left open /tmp/a 2026-01-01 INFO all is well [2J");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), WHY_CHARACTERS);
    }
}
