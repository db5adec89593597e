//! How many requests a caller may send, and how many bad tokens an address.
//!
//! How, [`rate_table`](super::rate_table) says.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Instant;

use super::address::PeerAddress;
use super::address_rates::AddressRates;
use super::bad_tokens::BadTokens;
use super::error::ApiError;
use super::limits::RequestRates;
use super::rate_table::{CountedRequest, RateTable};

/// A caller's burst, in seconds of its rate.
const BURST_SECONDS: u32 = 2;

/// All that is counted.
pub(crate) struct RateLimits {
    callers: Option<RateTable>,
    bad_tokens: Option<BadTokens>,
    workers: Option<RateTable>,
    worker_addresses: Option<AddressRates>,
    hasher: RandomState,
}

impl RateLimits {
    pub(crate) fn new(rates: &RequestRates) -> Self {
        let table = |rate: Option<u32>, seconds| rate.map(|rate| RateTable::new(rate, seconds));
        Self {
            callers: table(rates.caller_requests, BURST_SECONDS),
            bad_tokens: rates.bad_tokens.map(BadTokens::new),
            workers: table(rates.worker_requests, BURST_SECONDS),
            worker_addresses: rates
                .worker_address_requests
                .map(|rate| AddressRates::new(rate, BURST_SECONDS)),
            hasher: RandomState::new(),
        }
    }

    /// Counts a request of this caller. `None` where callers are not counted.
    pub(crate) fn count_request(&self, caller: &str, now: Instant) -> Option<CountedRequest> {
        let table = self.callers.as_ref()?;
        Some(table.count(self.hasher.hash_one(caller), now))
    }

    /// Counts a request of a worker before anybody knows whether its token is good: for its address, and for
    /// its pod, which has a token of its own.
    pub(crate) fn count_worker_request(
        &self,
        peer: Option<PeerAddress>,
        token: &str,
        now: Instant,
    ) -> Result<(), ApiError> {
        if let (Some(rates), Some(peer)) = (&self.worker_addresses, peer) {
            rates.count(peer, now)?;
        }
        let Some(table) = &self.workers else { return Ok(()) };
        table.count(self.hasher.hash_one(token), now).check_of("a worker")
    }

    /// Refuses a token of an address that has shown too many bad ones.
    pub(crate) fn check_address(
        &self,
        peer: Option<PeerAddress>,
        token: &str,
        now: Instant,
    ) -> Result<(), ApiError> {
        let (Some(bad_tokens), Some(peer)) = (&self.bad_tokens, peer) else { return Ok(()) };
        bad_tokens.check(peer, token, now)
    }

    /// Remembers whether a token was good.
    pub(crate) fn record_token(
        &self,
        peer: Option<PeerAddress>,
        token: &str,
        was_good: bool,
        now: Instant,
    ) {
        if let (Some(bad_tokens), Some(peer)) = (&self.bad_tokens, peer) {
            bad_tokens.record(peer, token, was_good, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_counted_by_address_and_by_pod() {
        let rates = RateLimits::new(&RequestRates {
            worker_requests: Some(1),
            worker_address_requests: Some(2),
            ..RequestRates::default()
        });
        let now = Instant::now();
        let peer = |address: &str| Some(PeerAddress(address.parse().unwrap()));
        let let_through = |address: &str, token: &str| {
            (0..10)
                .filter(|_| rates.count_worker_request(peer(address), token, now).is_ok())
                .count()
        };
        assert_eq!(let_through("192.0.2.1", "a"), 2);
        // The first ten used up what the address may send.
        assert_eq!(let_through("192.0.2.1", "b"), 0);
        assert_eq!(let_through("192.0.2.2", "b"), 2);
        assert_eq!(let_through("127.0.0.1", "b"), 0);
        assert_eq!(let_through("127.0.0.1", "c"), 2);
    }
}
