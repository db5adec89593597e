//! The hosts that a server on one machine answers for, port and all: the first half of the rule
//! against web pages that reach it by a name of their own (DNS rebinding).

use std::net::SocketAddr;

use crate::flags::bad_usage::BadUsage;

/// Longest name of a host (RFC 1035), and a port.
const MAX_BYTES: usize = 253 + 6;

/// What is wrong with the names that were given, for this address.
pub(crate) fn check(listen: SocketAddr, names: &[String]) -> Result<(), BadUsage> {
    if listen.ip().is_unspecified() && names.is_empty() {
        let why = format!("{listen} is every address: say by --host which name callers use");
        return Err(BadUsage(why));
    }
    match names.iter().find(|name| !is_host(name)) {
        Some(name) => Err(BadUsage(format!("--host: {name:?} is no NAME or NAME:PORT"))),
        None => Ok(()),
    }
}

fn is_host(name: &str) -> bool {
    let known =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-[]:".contains(&byte);
    !name.is_empty() && name.len() <= MAX_BYTES && name.bytes().all(known)
}

/// The values of `Host` that are answered by a server at this address.
pub(crate) fn allowed(address: SocketAddr, names: &[String], is_tls: bool) -> Vec<String> {
    let port = address.port();
    let localhost = address.ip().is_loopback().then(|| format!("localhost:{port}"));
    let named = names.iter().map(|name| match has_port(name) {
        true => name.clone(),
        false => format!("{name}:{port}"),
    });
    // Clients leave out the port that goes without saying.
    let unsaid = if is_tls { ":443" } else { ":80" };
    let mut hosts = Vec::new();
    for host in [address.to_string()].into_iter().chain(localhost).chain(named) {
        hosts.extend(host.strip_suffix(unsaid).map(str::to_owned));
        hosts.push(host);
    }
    hosts
}

/// Whether a name ends with a port; an IPv6 address has its own colons in brackets.
fn has_port(name: &str) -> bool {
    name.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str, names: &[&str], is_tls: bool) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let address = address.parse().unwrap();
        check(address, &names).unwrap();
        allowed(address, &names, is_tls)
    }

    #[test]
    fn a_server_answers_for_its_address_and_the_names_it_was_given() {
        assert_eq!(hosts("127.0.0.1:7070", &[], false), ["127.0.0.1:7070", "localhost:7070"]);
        assert_eq!(hosts("[::1]:7070", &[], false), ["[::1]:7070", "localhost:7070"]);
        let named = hosts("0.0.0.0:7070", &["compute.example", "other.example:8443"], true);
        assert_eq!(named, ["0.0.0.0:7070", "compute.example:7070", "other.example:8443"]);
        let usual = hosts("192.0.2.1:443", &["compute.example"], true);
        let expected = ["192.0.2.1", "192.0.2.1:443", "compute.example", "compute.example:443"];
        assert_eq!(usual, expected);
        let mapped = hosts("0.0.0.0:7070", &["compute.example:443"], true);
        assert_eq!(mapped, ["0.0.0.0:7070", "compute.example", "compute.example:443"]);
    }

    #[test]
    fn every_address_needs_a_name_and_a_name_is_a_name() {
        assert!(check("0.0.0.0:1".parse().unwrap(), &[]).is_err());
        assert!(check("[::]:1".parse().unwrap(), &[]).is_err());
        for bad in ["", "a b", "https://a", "a/b", "A", "*", "a\r\n"] {
            let names = [bad.to_owned()];
            assert!(check("127.0.0.1:1".parse().unwrap(), &names).is_err(), "{bad:?}");
        }
    }
}
