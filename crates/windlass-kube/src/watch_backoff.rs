//! The pause after a watch that has failed.
//!
//! Each is taken at random from its upper half: the gateways and controllers that lost an API server together do not
//! all come back to it at once.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use uuid::Uuid;

/// The first pause; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);

/// The longest pause. An API server that is back is noticed within this time, and few processes watch it.
const LONGEST: Duration = Duration::from_secs(2);

/// "410 Gone".
const GONE: u16 = 410;

/// The same events, with a pause after each error.
pub(crate) fn with_pauses<K: Send>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send {
    let backoff = WatchBackoff::default();
    let last = Arc::clone(&backoff.last);
    events.inspect(move |event| last.note(event)).backoff(backoff)
}

/// What the last event was: a strategy for pauses hears only whether it was an error.
#[derive(Default)]
struct LastEvent {
    /// The HTTP status of an error; 0 where the API server was not reached.
    code: AtomicU16,
    /// A list is about to be asked for, which says nothing about whether it will come.
    is_begin: AtomicBool,
}

impl LastEvent {
    fn note<K>(&self, event: &watcher::Result<watcher::Event<K>>) {
        self.is_begin.store(matches!(event, Ok(watcher::Event::Init)), Ordering::Relaxed);
        if let Err(error) = event {
            self.code.store(code(error), Ordering::Relaxed);
        }
    }
}

/// The HTTP status that the API server has answered, or 0 where it was not reached.
pub(crate) fn code(error: &watcher::Error) -> u16 {
    match error {
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        _ => 0,
    }
}

/// Pauses that double until the watch works again. They begin anew when an API server that was away answers (most often
/// 429, as it is not ready), and when it then says that the version asked for is gone (410): neither is a reason to wait
/// as long as for one that is away. Each does so once until the watch works.
#[derive(Default)]
struct WatchBackoff {
    /// The pause before, unless there was none.
    before: Option<Duration>,
    last: Arc<LastEvent>,
    was_away: bool,
    has_answered: bool,
    has_expired: bool,
}

impl WatchBackoff {
    fn begins_anew(&mut self, code: u16) -> bool {
        match code {
            0 => {
                self.was_away = true;
                false
            }
            GONE => !mem::replace(&mut self.has_expired, true),
            _ => self.was_away && !mem::replace(&mut self.has_answered, true),
        }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let code = self.last.code.load(Ordering::Relaxed);
        if self.begins_anew(code) {
            self.before = None;
        }
        let pause = self.before.map_or(FIRST, |before| (before * 2).min(LONGEST));
        self.before = Some(pause);
        let half = pause / 2;
        let random = Uuid::new_v4().as_u128() % (half.as_millis() + 1);
        Some(half + Duration::from_millis(u64::try_from(random).unwrap_or_default()))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        if !self.last.is_begin.load(Ordering::Relaxed) {
            *self = Self { last: Arc::clone(&self.last), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use kube::core::Status;

    use super::*;

    fn fails(error: watcher::Error) -> watcher::Result<watcher::Event<()>> {
        Err(error)
    }

    fn away() -> watcher::Result<watcher::Event<()>> {
        fails(watcher::Error::NoResourceVersion)
    }

    fn answers(code: u16) -> watcher::Result<watcher::Event<()>> {
        let status = Box::new(Status { code, ..Status::default() });
        fails(watcher::Error::WatchStartFailed(kube::Error::Api(status)))
    }

    fn expires() -> watcher::Result<watcher::Event<()>> {
        fails(watcher::Error::WatchError(Box::new(Status { code: GONE, ..Status::default() })))
    }

    /// The longest pauses of a new watch after each of these events that is an error, in milliseconds.
    fn assert_pauses(events: &[(watcher::Result<watcher::Event<()>>, u128)]) {
        let mut backoff = WatchBackoff::default();
        for (event, longest) in events {
            // As kube's stream does.
            backoff.last.note(event);
            if event.is_ok() {
                backoff.reset();
                continue;
            }
            let pause = backoff.next().unwrap().as_millis();
            assert!(
                (longest / 2..=*longest).contains(&pause),
                "{pause} of {longest} ms: {event:?}"
            );
        }
    }

    #[test]
    fn no_pause_is_long_and_success_makes_them_short_again() {
        let works = Ok(watcher::Event::InitDone);
        assert_pauses(&[
            (away(), 500),
            (away(), 1_000),
            (away(), 2_000),
            (away(), 2_000),
            (works, 0),
            (away(), 500),
        ]);
    }

    #[test]
    fn those_that_lost_their_watches_together_do_not_come_back_together() {
        let first: HashSet<_> = (0..20).map(|_| WatchBackoff::default().next()).collect();
        assert!(first.len() > 5, "{first:?}");
    }

    #[test]
    fn an_api_server_that_is_back_is_soon_asked_again_and_one_that_refuses_is_not() {
        assert_pauses(&[
            (away(), 500),
            (away(), 1_000),
            (away(), 2_000),
            (answers(429), 500),
            (expires(), 500),
            (answers(403), 1_000),
            (away(), 2_000),
            (answers(429), 2_000),
            (expires(), 2_000),
        ]);
    }

    #[test]
    fn a_list_that_is_asked_for_is_not_yet_one_that_works() {
        let begins = || Ok(watcher::Event::Init);
        assert_pauses(&[
            (begins(), 0),
            (answers(429), 500),
            (begins(), 0),
            (answers(429), 1_000),
            (begins(), 0),
            (answers(429), 2_000),
        ]);
    }
}
