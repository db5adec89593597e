//! Certificate authorities that are trusted by what runs for long: read again when their file changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tracing::{info, warn};
use windlass_core::assignment::MAX_AUTHORITIES_BYTES;
use windlass_worker::tls::trusting;

/// Between two looks at the files.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// What one file says.
#[derive(Clone)]
pub(crate) struct Authorities {
    /// Its text, at most [`MAX_AUTHORITIES_BYTES`].
    pub(crate) pem: Arc<str>,
    /// A client that trusts them and nobody else.
    pub(crate) trusted: Arc<ClientConfig>,
}

impl Authorities {
    /// Those of the first of these files that is there and not empty: a Secret of Kubernetes may have
    /// an empty authority.
    fn read(files: &[PathBuf]) -> Result<Self, String> {
        let has_some = |file: &&PathBuf| fs::metadata(file).is_ok_and(|file| file.len() > 0);
        let Some(file) = files.iter().find(has_some) else {
            let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            return Err(format!("{}: no such file, or empty", names.join(", ")));
        };
        Self::read_file(file).map_err(|why| format!("{}: {why}", file.display()))
    }

    fn read_file(file: &Path) -> Result<Self, String> {
        let pem = fs::read_to_string(file).map_err(|error| error.to_string())?;
        if pem.len() > MAX_AUTHORITIES_BYTES {
            return Err(format!("more than {MAX_AUTHORITIES_BYTES} bytes"));
        }
        let trusted = trusting(pem.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self { pem: pem.into(), trusted: trusted.into() })
    }
}

/// Reads the first of these files that is there and not empty, which must be good, and follows it as
/// long as somebody looks. What cannot be used later is logged, and what was before stays.
pub(crate) fn follow(files: Vec<PathBuf>) -> Result<watch::Receiver<Authorities>, String> {
    let (now, seen) = watch::channel(Authorities::read(&files)?);
    tokio::spawn(async move {
        let mut complaint = String::new();
        while !now.is_closed() {
            tokio::time::sleep(LOOK_PAUSE).await;
            renew(&files, &now, &mut complaint);
        }
    });
    Ok(seen)
}

/// Looks once. The complaint is what was logged last.
fn renew(files: &[PathBuf], now: &watch::Sender<Authorities>, complaint: &mut String) {
    match Authorities::read(files) {
        Ok(read) => {
            complaint.clear();
            if now.borrow().pem != read.pem {
                now.send_replace(read);
                info!("new certificate authorities are trusted");
            }
        }
        Err(why) if why != *complaint => {
            warn!(why, "certificate authorities are wrong; those before stay trusted");
            *complaint = why;
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = include_str!("../../../windlass-gateway/tests/certificates/first.crt");
    const SECOND: &str = include_str!("../../../windlass-gateway/tests/certificates/second.crt");

    #[test]
    fn the_first_file_that_says_something_counts_and_must_be_good() {
        let here = tempfile::tempdir().unwrap();
        let files = ["ca.crt", "tls.crt"].map(|name| here.path().join(name));
        let read = || Authorities::read(&files).map(|read| read.pem.to_string());
        assert!(read().unwrap_err().contains("tls.crt: no such file"));
        fs::write(&files[1], SECOND).unwrap();
        assert_eq!(read().as_deref(), Ok(SECOND));
        fs::write(&files[0], "").unwrap();
        assert_eq!(read().as_deref(), Ok(SECOND));
        fs::write(&files[0], FIRST.repeat(2)).unwrap();
        assert_eq!(read(), Ok(FIRST.repeat(2)));
        for bad in ["nothing".to_owned(), FIRST.repeat(100)] {
            fs::write(&files[0], bad).unwrap();
            assert!(read().unwrap_err().contains("ca.crt: "));
        }
    }

    #[test]
    fn a_file_is_followed_and_what_is_bad_changes_nothing() {
        let here = tempfile::tempdir().unwrap();
        let files = [here.path().join("ca.crt")];
        let mut complaint = String::new();
        fs::write(&files[0], FIRST).unwrap();
        let (now, seen) = watch::channel(Authorities::read(&files).unwrap());
        renew(&files, &now, &mut complaint);
        fs::write(&files[0], "nothing").unwrap();
        renew(&files, &now, &mut complaint);
        assert!(complaint.contains("no certificate"), "{complaint}");
        assert!(!seen.has_changed().unwrap());
        fs::write(&files[0], SECOND).unwrap();
        renew(&files, &now, &mut complaint);
        assert_eq!((&*seen.borrow().pem, complaint.as_str()), (SECOND, ""));
    }
}
