//! What is told of changes that cannot be stored: each reason at once, and again while it stays.

use std::time::{Duration, Instant};

/// How often it is told at most, while the reason stays the same.
const INTERVAL: Duration = Duration::from_mins(1);

/// What was told last.
#[derive(Default)]
pub(super) struct RepeatedErrors {
    last: Option<(&'static str, Instant)>,
}

impl RepeatedErrors {
    /// Whether the reason is to be told now. Then it counts as told.
    pub(super) fn is_due(&mut self, why: &'static str, now: Instant) -> bool {
        let is_told = self.last.is_some_and(|(last, at)| last == why && now < at + INTERVAL);
        if !is_told {
            self.last = Some((why, now));
        }
        !is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_when_it_is_new_and_once_a_minute() {
        let (mut errors, begin) = (RepeatedErrors::default(), Instant::now());
        let after = |millis| begin + Duration::from_millis(millis);
        assert!(errors.is_due("full", begin));
        assert!((1..300).all(|tries| !errors.is_due("full", after(200 * tries))));
        assert!(errors.is_due("full", after(60_000)));
        assert!(errors.is_due("held", after(60_200)));
        assert!(errors.is_due("full", after(60_400)));
    }
}
