//! The pause after a watch that has failed.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The first pause; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);

/// The longest pause. An API server that is back is noticed within this time, and few processes watch it.
const LONGEST: Duration = Duration::from_secs(3);

/// Pauses that double until the watch works again.
pub(crate) struct WatchBackoff {
    next: Duration,
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        Some(pause)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pause_is_long_and_success_makes_them_short_again() {
        let mut pauses = WatchBackoff::default();
        let first: Vec<_> = pauses.by_ref().take(6).map(|pause| pause.as_millis()).collect();
        assert_eq!(first, [500, 1_000, 2_000, 3_000, 3_000, 3_000]);
        pauses.reset();
        assert_eq!(pauses.next(), Some(FIRST));
    }
}
