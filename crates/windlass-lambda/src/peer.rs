//! Who may use the runtime API: the program and what it has started, nobody else on the machine.

use std::fs;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use windlass_worker::descendants;

use crate::tell;

/// A port of loopback that drops the connections of others.
pub(crate) struct OwnListener(pub(crate) TcpListener);

impl Listener for OwnListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.0).await;
            match is_ours(peer) {
                Ok(true) => {
                    // Every answer is waited for.
                    stream.set_nodelay(true).unwrap_or_default();
                    return (stream, peer);
                }
                Ok(false) => tell("a process that is not the function's asked for events"),
                Err(error) => tell(&format!("cannot see who asks for events: {error}")),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Whether the other end of a connection is a socket of a process below this one.
fn is_ours(peer: SocketAddr) -> io::Result<bool> {
    let SocketAddr::V4(peer) = peer else { return Ok(false) };
    let table = fs::read_to_string("/proc/self/net/tcp")?;
    let Some(inode) = table.lines().find_map(|line| inode(line, peer)) else { return Ok(false) };
    let link = format!("socket:[{inode}]");
    let has_it = |process: &rustix::process::Pid| {
        let files = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero()));
        let mut files = files.into_iter().flatten().flatten();
        files
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == &*link))
    };
    Ok(descendants().iter().any(has_it))
}

/// The socket that this line of the table is about, if its own address is this one.
fn inode(line: &str, own: SocketAddrV4) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    // The address is a number as the processor has it in memory.
    let number = u32::from_ne_bytes(own.ip().octets());
    let address = format!("{number:08X}:{:04X}", own.port());
    (words.nth(1)? == address).then(|| words.nth(7))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_tells_the_socket_of_an_address() {
        let line = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1";
        assert_eq!(inode(line, "127.0.0.1:8080".parse().unwrap()), Some("4242"));
        assert_eq!(inode(line, "127.0.0.1:50000".parse().unwrap()), None);
        assert_eq!(inode("", "127.0.0.1:8080".parse().unwrap()), None);
    }

    #[tokio::test]
    async fn this_process_is_not_below_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!is_ours(stream.local_addr().unwrap()).unwrap());
    }
}
