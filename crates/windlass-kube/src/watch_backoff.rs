//! The pause after a watch that has failed.
//!
//! Each is taken at random from its upper half: the gateways and controllers that lost an API server together do not
//! all come back to it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures::{Stream, TryStreamExt as _};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use uuid::Uuid;

/// The first pause; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);

/// The longest pause. An API server that is back is noticed within this time, and few processes watch it.
const LONGEST: Duration = Duration::from_secs(3);

/// The same events, with a pause after each error.
pub(crate) fn with_pauses<E>(
    events: impl Stream<Item = watcher::Result<E>> + Send,
) -> impl Stream<Item = watcher::Result<E>> + Send {
    let backoff = WatchBackoff::default();
    let answer = Arc::clone(&backoff.answer);
    events.inspect_err(move |error| answer.store(code(error), Ordering::Relaxed)).backoff(backoff)
}

/// The HTTP status that the API server has answered, or 0 where it was not reached.
fn code(error: &watcher::Error) -> u16 {
    match error {
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        _ => 0,
    }
}

/// Pauses that double until the watch works again, or fails in another way: an API server that is back says first that
/// it is not ready (429), and then that the version asked for is gone (410), and neither is a reason to wait as long as
/// for one that is away.
struct WatchBackoff {
    next: Duration,
    /// What the error said for which the next pause is, by [`code`].
    answer: Arc<AtomicU16>,
    /// The same of the pause before.
    answered: u16,
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST, answer: Arc::default(), answered: 0 }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let answer = self.answer.load(Ordering::Relaxed);
        if answer != self.answered {
            self.answered = answer;
            self.reset();
        }
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

    use kube::core::Status;

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

    #[test]
    fn an_api_server_that_is_back_is_soon_asked_again_and_one_that_refuses_is_not() {
        let away = || watcher::Error::NoResourceVersion;
        let answer = |code| Box::new(Status { code, ..Status::default() });
        let answers = |code| watcher::Error::WatchStartFailed(kube::Error::Api(answer(code)));
        let mut backoff = WatchBackoff::default();
        for (error, longest) in [
            (away(), 500),
            (away(), 1_000),
            (away(), 2_000),
            (away(), 3_000),
            (answers(429), 500),
            (watcher::Error::WatchError(answer(410)), 500),
            (answers(403), 500),
            (answers(403), 1_000),
            (answers(403), 2_000),
        ] {
            backoff.answer.store(code(&error), Ordering::Relaxed);
            let pause = backoff.next().unwrap().as_millis();
            assert!((longest / 2..=longest).contains(&pause), "{pause} of {longest} ms: {error}");
        }
    }
}
