//! How many bad tokens an address may show.
//!
//! Each bad token costs a request to the API server of a cluster. So an address that sends too many
//! of them is refused before that request. Tokens that were good lately are still let through to the
//! guard, because many callers may be behind one proxy.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::PeerAddress;
use super::address_rates::AddressRates;
use super::error::ApiError;
use super::problem::ProblemKind;
use super::rate_table::MOST_KEYS;

/// A burst of bad tokens, in seconds of their rate.
const BURST_SECONDS: u32 = 10;
/// How long a token that was good is let through from an address that shows many bad ones.
const GOOD_FOR: Duration = Duration::from_secs(300);

pub(super) struct BadTokens {
    rates: AddressRates,
    /// Until when tokens that were good are good, by hash.
    good: Mutex<HashMap<u64, Instant>>,
    hasher: RandomState,
}

impl BadTokens {
    /// So many of an address in a second.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            rates: AddressRates::new(per_second, BURST_SECONDS),
            good: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Refuses a token of an address that has shown too many bad ones.
    pub(super) fn check(
        &self,
        peer: PeerAddress,
        token: &str,
        now: Instant,
    ) -> Result<(), ApiError> {
        let Some(wait) = self.rates.wait_of(peer, now) else { return Ok(()) };
        let token = self.hasher.hash_one(token);
        if self.good().get(&token).is_some_and(|until| *until > now) {
            return Ok(());
        }
        Err(ApiError::retry_later(
            ProblemKind::Rate,
            "too many bad tokens came from this address",
            wait,
        ))
    }

    /// Remembers whether a token was good.
    pub(super) fn record(&self, peer: PeerAddress, token: &str, was_good: bool, now: Instant) {
        if !self.rates.counts(peer) {
            return;
        }
        if !was_good {
            // It was asked about already.
            self.rates.count(peer, now).unwrap_or_default();
            return;
        }
        let mut good = self.good();
        if good.len() >= MOST_KEYS {
            good.retain(|_, until| *until > now);
        }
        if good.len() < MOST_KEYS {
            good.insert(self.hasher.hash_one(token), now + GOOD_FOR);
        }
    }

    fn good(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        // A map is whole after any panic.
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> PeerAddress {
        PeerAddress(address.parse().unwrap())
    }

    /// Shows so many bad tokens; how many of them were let through.
    fn show_bad(tokens: &BadTokens, from: &str, count: usize, now: Instant) -> usize {
        let is_let_through = |_: &usize| {
            let is_ok = tokens.check(peer(from), "any", now).is_ok();
            if is_ok {
                tokens.record(peer(from), "any", false, now);
            }
            is_ok
        };
        (0..count).filter(is_let_through).count()
    }

    #[test]
    fn an_address_of_many_bad_tokens_is_asked_for_good_ones_only() {
        for (bad, other) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:1::2")] {
            let (tokens, now) = (BadTokens::new(1), Instant::now());
            tokens.record(peer(bad), "good", true, now);
            assert_eq!(show_bad(&tokens, bad, 20, now), 10);
            let check = |from: &str, token: &str, after: Duration| {
                tokens.check(peer(from), token, now + after).is_ok()
            };
            assert!(!check(bad, "any", Duration::ZERO));
            assert!(check(other, "any", Duration::ZERO));
            assert!(check(bad, "good", Duration::ZERO));
            assert!(check(bad, "good", GOOD_FOR), "the address has paid off");
            assert!(check(bad, "any", Duration::from_secs(2)));
        }
    }
}
