//! The socket between a worker and a function that serves.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use windlass_core::contract::MAX_SERVE_LINE_BYTES;

use crate::private_files;

/// Longest path that a socket can have, in bytes, with its closing zero.
const MAX_PATH_BYTES: usize = 107;

/// The socket, before and after the function has connected.
pub(super) struct Connection {
    path: PathBuf,
    /// A directory that was made for it, where the path of the working directory is too long.
    own_directory: Option<PathBuf>,
    state: State,
    /// What was read of a line.
    line: Vec<u8>,
    closed_at: Option<Instant>,
}

enum State {
    Listening(UnixListener),
    Connected { reader: BufReader<UnixStream>, writer: StdUnixStream },
}

/// What comes from the function.
pub(super) enum Heard {
    /// It has connected.
    Connected,
    /// A line.
    Line(Vec<u8>),
    /// It has closed its end, at this time.
    Closed(Instant),
    /// It does not keep to the contract; a sentence about the function.
    Broken(String),
}

impl Connection {
    /// Listens in this directory, or in one of its own where its path is too long for a socket.
    pub(super) fn listen(work: &Path) -> io::Result<Self> {
        let mut path = work.join(".windlass");
        let mut own_directory = None;
        if path.as_os_str().len() > MAX_PATH_BYTES {
            let number = std::process::id();
            let directory = std::env::temp_dir().join(format!("windlass-serve-{number}"));
            private_files::make_directory(&directory)?;
            path = directory.join("s");
            own_directory = Some(directory);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let state = State::Listening(listener);
        Ok(Self { path, own_directory, state, line: Vec::new(), closed_at: None })
    }

    /// Where the function connects.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the function must be able to reach, whatever user it is.
    pub(super) fn files(&self) -> Vec<&Path> {
        self.own_directory.iter().chain([&self.path]).map(PathBuf::as_path).collect()
    }

    /// What comes next. Whoever stops waiting loses nothing.
    pub(super) async fn next(&mut self) -> Heard {
        let reader = match &mut self.state {
            State::Connected { reader, .. } => reader,
            State::Listening(listener) => {
                return match accept(listener).await {
                    Ok((reader, writer)) => {
                        // Nobody else is to connect, and the function finds an empty directory.
                        self.remove();
                        self.state = State::Connected { reader, writer };
                        Heard::Connected
                    }
                    Err(error) => Heard::Broken(format!("cannot be connected to: {error}")),
                };
            }
        };
        loop {
            let room = MAX_SERVE_LINE_BYTES.saturating_sub(self.line.len());
            match reader.take(room as u64).read_until(b'\n', &mut self.line).await {
                Ok(0) if room == 0 => {
                    let most = MAX_SERVE_LINE_BYTES;
                    return Heard::Broken(format!("said a line of more than {most} bytes"));
                }
                Ok(0) | Err(_) => {
                    return Heard::Closed(*self.closed_at.get_or_insert_with(Instant::now));
                }
                Ok(_) if self.line.ends_with(b"\n") => {
                    return Heard::Line(std::mem::take(&mut self.line));
                }
                // Cut by the end or by the bound: the next read tells which.
                Ok(_) => {}
            }
        }
    }

    /// Says a line. It has the room of a whole socket, because the function has one job at a time.
    pub(super) fn send(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.state {
            State::Connected { writer, .. } => writer.write_all(line),
            State::Listening(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Removes the socket's name, unless that was done: it may be another's by now.
    fn remove(&mut self) {
        if matches!(self.state, State::Connected { .. }) {
            return;
        }
        // Nobody can connect any more, whether it is gone or not.
        fs::remove_file(&self.path).unwrap_or_default();
        if let Some(directory) = self.own_directory.take() {
            fs::remove_dir(directory).unwrap_or_default();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.remove();
    }
}

async fn accept(listener: &UnixListener) -> io::Result<(BufReader<UnixStream>, StdUnixStream)> {
    let (stream, _) = listener.accept().await?;
    let stream = stream.into_std()?;
    let writer = stream.try_clone()?;
    Ok((BufReader::new(UnixStream::from_std(stream)?), writer))
}
