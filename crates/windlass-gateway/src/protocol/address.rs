//! The address that a request came from, as far as it tells one host from another.

use std::net::{IpAddr, Ipv6Addr};

/// The address that a request came from.
#[derive(Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// The address, or of IPv6 its network: a host has a whole /64 to choose from.
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}
