//! How often the server's log says that a function's process is replaced.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// One line of a function in so long: a function may have each of its processes replaced by each job.
const PAUSE: Duration = Duration::from_secs(60);

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
}
