//! The socket to the server on this machine: this process's standard input.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::Interest;
use tokio::net::UnixStream;

/// The socket for waiting, and the same for writing.
pub(crate) fn inherited() -> io::Result<(UnixStream, StdUnixStream)> {
    let socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let writer = socket.try_clone()?;
    Ok((UnixStream::from_std(socket)?, writer))
}

/// Resolves when the server has closed its end, or says what it says while an attempt runs: that it is cancelled.
pub(super) async fn server_says(socket: &UnixStream) -> ServerSays {
    loop {
        if socket.ready(Interest::READABLE).await.is_err() {
            return ServerSays::Closed;
        }
        match socket.try_read(&mut [0; 64]) {
            Ok(1..) => return ServerSays::Cancel,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return ServerSays::Closed,
        }
    }
}

/// What comes from the server while an attempt runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerSays {
    /// The attempt is to end, and its function may stay.
    Cancel,
    /// The server is gone.
    Closed,
}

/// Writes what the socket takes now, and leaves the rest in `unsent`.
pub(super) fn write_some(mut writer: &StdUnixStream, unsent: &mut Vec<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        match writer.write(unsent) {
            Ok(written) => drop(unsent.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) async fn write_all(
    socket: &UnixStream,
    writer: &StdUnixStream,
    unsent: &mut Vec<u8>,
) -> io::Result<()> {
    write_some(writer, unsent)?;
    while !unsent.is_empty() {
        // The first wait may return at once, before tokio knows that the socket is full.
        socket.writable().await?;
        let ready = socket.try_io(Interest::WRITABLE, || {
            write_some(writer, unsent)?;
            if unsent.is_empty() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        if let Err(error) = ready
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err(error);
        }
    }
    Ok(())
}
