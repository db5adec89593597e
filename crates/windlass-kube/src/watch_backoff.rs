//! The pause after a watch that has failed.
//!
//! Each is taken at random from its upper half: the gateways and controllers that lost an API server together do not
//! all come back to it at once.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use uuid::Uuid;

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
        let half = pause / 2;
        let random = Uuid::new_v4().as_u128() % (half.as_millis() + 1);
        Some(half + Duration::from_millis(u64::try_from(random).unwrap_or_default()))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_pause_is_long_and_success_makes_them_short_again() {
        let mut pauses = WatchBackoff::default();
        for longest in [500, 1_000, 2_000, 3_000, 3_000, 3_000] {
            let pause = pauses.next().unwrap().as_millis();
            assert!((longest / 2..=longest).contains(&pause), "{pause} of {longest} ms");
        }
        pauses.reset();
        assert!(pauses.next().unwrap() <= FIRST);
    }

    #[test]
    fn those_that_lost_their_watches_together_do_not_come_back_together() {
        let first: HashSet<_> = (0..20).map(|_| WatchBackoff::default().next()).collect();
        assert!(first.len() > 5, "{first:?}");
    }
}
