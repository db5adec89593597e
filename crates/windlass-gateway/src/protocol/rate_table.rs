//! What each key has still to pay off of what it was let through for.
//!
//! The generic cell rate algorithm: all that is kept of a key is the instant at which that is paid off. Time comes in as an
//! argument.
//!
//! Memory is bounded: at most [`MOST_KEYS`] keys have something to pay off. When there are more, the
//! keys without a slot share one allowance. (The libraries for this have no bound, or drop keys that
//! still owe something.)

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::ApiError;
use super::problem::ProblemKind;

/// Most keys that are remembered at a time.
pub(super) const MOST_KEYS: usize = 10_000;
/// The key that is shared by those without a slot.
const SHARED: u64 = 0;
/// Between two searches for keys that have paid off all.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What each key has to pay off.
pub(super) struct RateTable {
    /// Time that pays off one.
    interval: Duration,
    /// Most that may be owed, and the time that pays it off.
    burst: u32,
    burst_seconds: u32,
    owed: Mutex<Debts>,
}

#[derive(Default)]
struct Debts {
    /// When all is paid off.
    until: HashMap<u64, Instant>,
    searched: Option<Instant>,
}

impl RateTable {
    pub(super) fn new(per_second: u32, burst_seconds: u32) -> Self {
        let per_second = per_second.max(1);
        Self {
            interval: Duration::from_secs(1) / per_second,
            burst: per_second.saturating_mul(burst_seconds),
            burst_seconds,
            owed: Mutex::default(),
        }
    }

    pub(super) fn count(&self, key: u64, now: Instant) -> CountedRequest {
        let mut owed = self.owed();
        let key = owed.slot_of(key, now);
        let until = owed.until.get(&key).map_or(now, |until| (*until).max(now));
        let (after, most) = (until + self.interval - now, self.interval * self.burst);
        let is_allowed = after <= most;
        let debt = if is_allowed { after } else { until - now };
        if is_allowed {
            owed.until.insert(key, now + after);
        }
        let left = most.saturating_sub(debt);
        CountedRequest {
            is_allowed,
            policy: (self.burst, self.burst_seconds),
            remaining: (left.as_nanos() / self.interval.as_nanos().max(1)) as u32,
            reset: debt,
            wait: after.saturating_sub(most),
        }
    }

    /// How long until one more is allowed, unless it is now.
    pub(super) fn wait_of(&self, key: u64, now: Instant) -> Option<Duration> {
        let mut owed = self.owed();
        let key = owed.slot_of(key, now);
        let until = *owed.until.get(&key)?;
        let after = until.checked_duration_since(now)? + self.interval;
        after.checked_sub(self.interval * self.burst).filter(|wait| !wait.is_zero())
    }

    fn owed(&self) -> MutexGuard<'_, Debts> {
        // A map is whole after any panic.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debts {
    /// The key itself when it has or gets a slot, else the shared one.
    fn slot_of(&mut self, key: u64, now: Instant) -> u64 {
        if self.until.len() < MOST_KEYS || self.until.contains_key(&key) {
            return key;
        }
        if self.searched.is_none_or(|searched| now - searched >= SEARCH_PAUSE) {
            self.searched = Some(now);
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < MOST_KEYS { key } else { SHARED }
    }
}

/// A request that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountedRequest {
    is_allowed: bool,
    /// So many in so many seconds.
    policy: (u32, u32),
    remaining: u32,
    /// Until all is paid off.
    reset: Duration,
    /// Until one is allowed; zero when it was.
    wait: Duration,
}

impl CountedRequest {
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        self.check_of("a caller")
    }

    pub(super) fn check_of(&self, who: &str) -> Result<(), ApiError> {
        if self.is_allowed {
            return Ok(());
        }
        let (requests, seconds) = self.policy;
        let detail = format!("{who} may send {requests} requests in {seconds} s");
        Err(ApiError::retry_later(ProblemKind::Rate, detail, self.wait))
    }

    /// Tells the caller what is left.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        let (requests, seconds) = self.policy;
        let policy = format!("\"caller\";q={requests};w={seconds}");
        // Rounded up, so that what is promised for that second is there.
        let reset = self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0);
        let limit = format!("\"caller\";r={};t={reset}", self.remaining);
        for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let (table, start) = (RateTable::new(10, 2), Instant::now());
        for n in 0..20 {
            let taken = table.count(1, start);
            assert!(taken.check().is_ok(), "{n}");
            assert_eq!(taken.remaining, 19 - n);
        }
        let refused = table.count(1, start);
        assert_eq!((refused.remaining, refused.wait), (0, Duration::from_millis(100)));
        let response = refused.check().unwrap_err().into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "1");
        // Another caller has an allowance of its own.
        assert!(table.count(2, start).check().is_ok());
        // For ten seconds as many as there are tenths of one, whether refused ones are sent or not.
        let let_through = (1..=1000)
            .filter(|n| table.count(1, start + Duration::from_millis(10) * *n).is_allowed)
            .count();
        assert_eq!(let_through, 100);
    }

    #[test]
    fn what_is_left_is_told() {
        let (table, mut headers) = (RateTable::new(10, 2), HeaderMap::new());
        table.count(1, Instant::now()).write_headers(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"caller\";q=20;w=2");
        assert_eq!(headers["ratelimit"], "\"caller\";r=19;t=1");
    }

    #[test]
    fn a_flood_of_callers_takes_a_bounded_place_and_gets_a_bounded_share() {
        let (table, start) = (RateTable::new(10, 2), Instant::now());
        let flood = |start: Instant| {
            let is_allowed = |n: u64| table.count(n + 1, start).is_allowed;
            (0..3 * MOST_KEYS as u64).filter(|n| is_allowed(*n)).count()
        };
        // One request for each key that got a slot, and one burst for all others.
        assert_eq!(flood(start), MOST_KEYS + 20);
        assert!(table.owed().until.len() <= MOST_KEYS + 1);
        // What is paid off makes room.
        assert!(table.count(u64::MAX, start + Duration::from_secs(10)).is_allowed);
        assert_eq!(table.owed().until.len(), 1);
    }
}
