//! Opens the socket on which a server listens.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait until they are accepted.
const BACKLOG: u32 = 1024;

/// Listens on this address. `[::]` is all addresses of both families, also where the kernel has IPv4 alone.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() != Ipv6Addr::UNSPECIFIED {
        return TcpListener::bind(address).await;
    }
    match of_both_families(address) {
        Err(error) if lacks_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        listener => listener,
    }
}

fn of_both_families(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    // Whatever net.ipv6.bindv6only says.
    set_ipv6_v6only(&socket, false)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What a kernel without IPv6 answers.
fn lacks_ipv6(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, TcpStream};

    #[tokio::test]
    async fn all_addresses_are_those_of_both_families() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        match TcpStream::connect((Ipv6Addr::LOCALHOST, port)) {
            Ok(_) => {}
            Err(error) if lacks_ipv6(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error() {
        for address in [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::LOCALHOST.into()] {
            let first = listen((address, 0).into()).await.unwrap();
            let again = listen(first.local_addr().unwrap()).await.unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
            assert!(!lacks_ipv6(&again));
        }
    }

    #[test]
    fn a_kernel_without_ipv6_is_told_from_other_errors() {
        let of = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(lacks_ipv6(&of(Errno::AFNOSUPPORT)) && lacks_ipv6(&of(Errno::ADDRNOTAVAIL)));
        assert!(!lacks_ipv6(&of(Errno::ACCESS)) && !lacks_ipv6(&of(Errno::MFILE)));
    }
}
