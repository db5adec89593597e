//! Who may use the runtime API: the program and what it has started, nobody else on the machine.

use std::fs;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use windlass_worker::descendants;

use crate::print_line;

/// A port of loopback that drops the connections of others.
pub(crate) struct OwnListener(pub(crate) TcpListener);

impl Listener for OwnListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.0).await;
            match stream.local_addr().and_then(|own| is_ours(peer, own)) {
                Ok(true) => {
                    // Every answer is waited for.
                    stream.set_nodelay(true).unwrap_or_default();
                    return (stream, peer);
                }
                Ok(false) => print_line("a process that is not the function's asked for events"),
                Err(error) => print_line(&format!("cannot see who asks for events: {error}")),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Whether `peer`, which has connected to `own`, is a socket of a process below this one.
fn is_ours(peer: SocketAddr, own: SocketAddr) -> io::Result<bool> {
    Ok(socket_of(peer, own)?.is_some_and(|inode| is_below_this_process(&inode)))
}

/// How often the table is read for a connection that it must list. It is read in parts, and the kernel passes over some
/// lines when others go between two of them.
const READS: usize = 5;

/// The number of the socket at `near` that is connected to `far`.
fn socket_of(near: SocketAddr, far: SocketAddr) -> io::Result<Option<String>> {
    let (SocketAddr::V4(near), SocketAddr::V4(far)) = (near, far) else { return Ok(None) };
    for _ in 0..READS {
        let table = fs::read_to_string("/proc/self/net/tcp")?;
        if let Some(inode) = table.lines().find_map(|line| inode(line, near, far)) {
            return Ok(Some(inode.to_owned()));
        }
    }
    Ok(None)
}

fn is_below_this_process(inode: &str) -> bool {
    let link = format!("socket:[{inode}]");
    let has_it = |process: &rustix::process::Pid| {
        let files = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero()));
        let mut files = files.into_iter().flatten().flatten();
        files
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == &*link))
    };
    descendants().iter().any(has_it)
}

/// The socket that this line of the table is about, if it is the one of `near` that is connected to `far`. Both count:
/// a port is given again for another server while the old connection still has its line, with socket 0.
fn inode(line: &str, near: SocketAddrV4, far: SocketAddrV4) -> Option<&str> {
    let mut words = line.split_ascii_whitespace().skip(1);
    // An address is a number as the processor has it in memory.
    let word = |address: SocketAddrV4| {
        format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
    };
    (words.next()? == word(near) && words.next()? == word(far)).then(|| words.nth(6))?
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpSocket;

    use super::*;

    fn loopback(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([127, 0, 0, 1].into(), port)
    }

    #[test]
    fn a_line_of_the_table_tells_the_socket_of_a_connection() {
        let line = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1";
        assert_eq!(inode(line, loopback(8080), loopback(50000)), Some("4242"));
        assert_eq!(inode(line, loopback(50000), loopback(8080)), None);
        assert_eq!(inode(line, loopback(8080), loopback(50001)), None);
        assert_eq!(inode("", loopback(8080), loopback(50000)), None);
    }

    #[tokio::test]
    async fn a_port_that_was_used_for_other_servers_tells_the_socket_of_now() {
        // A connection that the client has closed keeps its line for a minute.
        let mut near = "127.0.0.1:0".parse().unwrap();
        for _ in 0..8 {
            let (listener, stream) = connect(near).await;
            near = stream.local_addr().unwrap();
            let (mut accepted, _) = listener.accept().await.unwrap();
            drop(stream);
            assert_eq!(accepted.read(&mut [0]).await.unwrap(), 0);
        }
        let (listener, stream) = connect(near).await;
        let own = fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
        let told = socket_of(near, listener.local_addr().unwrap()).unwrap();
        assert_eq!(own.to_str(), told.map(|inode| format!("socket:[{inode}]")).as_deref());
    }

    /// A new server with a connection to it.
    async fn connect(near: SocketAddr) -> (TcpListener, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(near).unwrap();
        let stream = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        (listener, stream)
    }

    #[tokio::test]
    async fn this_process_is_not_below_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!is_ours(stream.local_addr().unwrap(), stream.peer_addr().unwrap()).unwrap());
    }
}
