//! How often something may come from one address.
//!
//! A host with IPv6 has a whole /64 to choose from, and so that network has a bound, too. But the pods of a node usually
//! share one: the bound of a network is that of many addresses, so that one pod cannot use up what the others may send.
//! Loopback belongs to this machine alone and has no bound.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::address::{PeerAddress, network_of};
use super::error::ApiError;
use super::rate_table::RateTable;

/// A network may send as much as so many addresses.
const ADDRESSES_OF_NETWORK: u32 = 16;

pub(super) struct AddressRates {
    addresses: RateTable,
    networks: RateTable,
    hasher: RandomState,
}

impl AddressRates {
    /// So many from an address in a second, and those of so many seconds in a burst.
    pub(super) fn new(per_second: u32, burst_seconds: u32) -> Self {
        let of_network = per_second.saturating_mul(ADDRESSES_OF_NETWORK);
        Self {
            addresses: RateTable::new(per_second, burst_seconds),
            networks: RateTable::new(of_network, burst_seconds),
            hasher: RandomState::new(),
        }
    }

    /// Counts one more, unless that is too many.
    pub(super) fn count(&self, peer: PeerAddress, now: Instant) -> Result<(), ApiError> {
        // What the address may not send counts for no neighbour.
        self.counted(peer).try_for_each(|(table, key)| table.count(key, now).check_of("an address"))
    }

    /// How long until one more is allowed, unless it is now.
    pub(super) fn wait_of(&self, peer: PeerAddress, now: Instant) -> Option<Duration> {
        self.counted(peer).filter_map(|(table, key)| table.wait_of(key, now)).max()
    }

    /// Whether this address is counted.
    pub(super) fn counts(&self, peer: PeerAddress) -> bool {
        self.counted(peer).next().is_some()
    }

    /// The address, and of IPv6 its network.
    fn counted(&self, peer: PeerAddress) -> impl Iterator<Item = (&RateTable, u64)> {
        let address = peer.0.to_canonical();
        let network = Some(network_of(address)).filter(|network| *network != address);
        let address = Some(address).filter(|address: &IpAddr| !address.is_loopback());
        [(&self.addresses, address), (&self.networks, network)]
            .into_iter()
            .filter_map(|(table, address)| Some((table, self.hasher.hash_one(address?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> PeerAddress {
        PeerAddress(address.parse().unwrap())
    }

    /// How many of so many are let through.
    fn let_through(rates: &AddressRates, from: &str, sent: usize, now: Instant) -> usize {
        (0..sent).filter(|_| rates.count(peer(from), now).is_ok()).count()
    }

    /// The pods of a node usually share a /64.
    #[test]
    fn one_address_of_a_network_does_not_use_up_what_its_neighbours_may_send() {
        let (rates, now) = (AddressRates::new(1, 10), Instant::now());
        assert_eq!(let_through(&rates, "2001:db8::1", 1000, now), 10);
        assert_eq!(rates.wait_of(peer("2001:db8::2"), now), None);
        // But a host may have all of them.
        let from = |n: usize| let_through(&rates, &format!("2001:db8::{n:x}"), 1, now);
        assert_eq!((3..1000).map(from).sum::<usize>(), 150);
        assert!(rates.wait_of(peer("2001:db8::2"), now).is_some());
        assert_eq!(rates.wait_of(peer("2001:db8:0:1::2"), now), None);
    }

    #[test]
    fn loopback_may_send_as_much_as_it_likes() {
        for address in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            let (rates, now) = (AddressRates::new(1, 10), Instant::now());
            assert_eq!(let_through(&rates, address, 1000, now), 1000, "{address}");
            assert!(!rates.counts(peer(address)), "{address}");
        }
    }
}
