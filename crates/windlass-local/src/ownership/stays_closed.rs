//! A data directory that a function has opened is closed again. Landlock does not keep a function of the server's own
//! user from changing modes, and seccomp would take chmod from it for its own files as well.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::warn;

use crate::file_watch::{FileWatch, WatchFlags};

/// How often it is told: a function may open it again and again.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps the mode that the directory has now. What is in it needs no watch: nobody else can pass to it.
pub(crate) fn keep_closed(data: &Path) -> io::Result<JoinHandle<()>> {
    let modes = FileWatch::new()?;
    modes.add(data, WatchFlags::ATTRIB)?;
    let directory = File::open(data)?;
    let mode = directory.metadata()?.mode() & 0o7777;
    let data = data.to_owned();
    let mut told: Option<Instant> = None;
    Ok(tokio::spawn(async move {
        while let Ok(()) = modes.changed().await {
            match close(&directory, mode) {
                Ok(false) => {}
                Ok(true) if told.is_some_and(|told| told.elapsed() < PAUSE) => {}
                Ok(true) => {
                    told = Some(Instant::now());
                    let data = data.display();
                    warn!(%data, "was opened to other users, perhaps by a function: it is closed again");
                }
                Err(error) => warn!(%error, "the data directory may be open to other users"),
            }
        }
    }))
}

/// Whether it was open.
fn close(directory: &File, mode: u32) -> io::Result<bool> {
    let is_open = directory.metadata()?.mode() & 0o077 & !mode != 0;
    if is_open {
        directory.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(is_open)
}
