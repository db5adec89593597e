//! The file `address` in the data directory: where its server is, for commands and clients on this machine that are given
//! no server.
//!
//! It is there while a server serves on a loopback address, and is as private as the token beside it. After a crash it
//! stays until the next server on this directory serves or ends. Whoever has that port by then gets what is sent there, as
//! at the port that is asked without such a file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use windlass_local::bounded_file;

const FILE: &str = "address";
/// Most bytes of a URL that is read.
const MAX_BYTES: u64 = 300;

/// Removed when this is dropped.
#[derive(Debug)]
pub(crate) struct AddressFile(PathBuf);

impl AddressFile {
    /// Says where the server of this directory is. It holds the directory.
    pub(crate) fn write(data: &Path, address: SocketAddr, has_tls: bool) -> io::Result<Self> {
        let path = data.join(FILE);
        remove(&path)?;
        if address.ip().is_loopback() {
            let scheme = if has_tls { "https" } else { "http" };
            let whole = path.with_extension("new");
            remove(&whole)?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&whole)?;
            writeln!(file, "{scheme}://{address}")?;
            fs::rename(&whole, &path)?;
        }
        Ok(Self(path))
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, "the file with the server's address stays");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the server of this directory is, if it says so.
pub(crate) fn read(data: &Path) -> Option<String> {
    let text = bounded_file::read(&data.join(FILE), MAX_BYTES).ok()?;
    let url = text.trim();
    url.starts_with("http").then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_for_a_server_on_loopback_and_while_that_serves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for (address, tls, expected) in [
            ("127.0.0.1:7071", false, Some("http://127.0.0.1:7071")),
            ("[::1]:9", true, Some("https://[::1]:9")),
            ("10.0.0.1:9", true, None),
        ] {
            fs::write(path.join(FILE), "http://127.0.0.1:1").unwrap();
            let file = AddressFile::write(path, address.parse().unwrap(), tls).unwrap();
            assert_eq!(read(path).as_deref(), expected);
            drop(file);
            assert_eq!(read(path), None);
        }
        fs::write(path.join(FILE), "\n").unwrap();
        assert_eq!(read(path), None);
    }
}
