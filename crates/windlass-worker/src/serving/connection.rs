//! The socket between a worker and a function that serves.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use windlass_core::contract::MAX_SERVE_LINE_BYTES;

use super::peer;
use crate::private_files;
use crate::stdio::log_line;

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
            let directory = make_own_directory(&std::env::temp_dir())?;
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

    /// What comes next from the function whose first process this is. Whoever stops waiting loses nothing.
    pub(super) async fn next(&mut self, function: Pid) -> Heard {
        let reader = match &mut self.state {
            State::Connected { reader, .. } => reader,
            State::Listening(listener) => {
                return match accept(listener, function).await {
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

/// A directory that was not there before, for nobody else: in a place where others may make some, too.
fn make_own_directory(place: &Path) -> io::Result<PathBuf> {
    for number in 0..1_000 {
        let name = format!("windlass-serve-{}-{number}", std::process::id());
        let directory = place.join(name);
        match private_files::make_new_directory(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!(
        "others have made all directories for a socket in {}",
        place.display()
    )))
}

/// The function's connection. Another function of the same user may connect as well: it is not heard.
async fn accept(
    listener: &UnixListener,
    function: Pid,
) -> io::Result<(BufReader<UnixStream>, StdUnixStream)> {
    loop {
        let (stream, _) = listener.accept().await?;
        let process = stream.peer_cred()?.pid().and_then(Pid::from_raw);
        if !process.is_some_and(|process| peer::is_of(function, process)) {
            log_line(
                "windlass worker: a process that is not the function's has connected to its socket, and is not heard",
            );
            continue;
        }
        let stream = stream.into_std()?;
        let writer = stream.try_clone()?;
        return Ok((BufReader::new(UnixStream::from_std(stream)?), writer));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_process_that_is_not_the_functions_is_not_heard() {
        let work = tempfile::tempdir().unwrap();
        let mut connection = Connection::listen(work.path()).unwrap();
        let mut stranger = StdUnixStream::connect(connection.path()).unwrap();
        let path = connection.path().to_owned();
        let connect = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.stdin.read()";
        let mut function = Command::new("python3");
        function.args(["-c", connect]).arg(&path).stdin(Stdio::piped());
        let mut function = function.spawn().unwrap();
        let heard = connection.next(Pid::from_child(&function)).await;
        assert!(matches!(heard, Heard::Connected));
        assert_eq!(stranger.read(&mut [0]).unwrap(), 0, "its connection was closed");
        drop(function.stdin.take());
        function.wait().unwrap();
    }

    #[test]
    fn a_directory_that_somebody_else_has_made_is_not_taken() {
        let place = tempfile::tempdir().unwrap();
        let first = make_own_directory(place.path()).unwrap();
        let second = make_own_directory(place.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::metadata(&second).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
