//! Watches the manifests' files and directories, and has them read again when they change.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::library::Library;
use crate::event::{Event, EventSender};
use crate::file_watch::{FileWatch, WatchFlags};

/// How long the files must be quiet before they are read: an editor writes in several steps.
const QUIET: Duration = Duration::from_millis(100);

/// Watches for as long as the controller runs.
pub(crate) fn watch(
    library: Arc<Library>,
    events: EventSender,
) -> io::Result<Option<tokio::task::JoinHandle<()>>> {
    if library.paths().is_empty() {
        return Ok(None);
    }
    let files = FileWatch::new()?;
    let mut directories = BTreeSet::new();
    for path in library.paths() {
        // A file is watched through its directory: whoever replaces it makes a new one.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = if path.is_dir() { path } else { parent.unwrap_or_else(|| Path::new(".")) };
        directories.insert(directory.to_owned());
    }
    for directory in directories {
        let changes = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO;
        files.add(&directory, changes)?;
    }
    Ok(Some(tokio::spawn(async move {
        while let Ok(()) = files.changed().await {
            while tokio::time::timeout(QUIET, files.changed()).await.is_ok() {}
            let problems = {
                let library = Arc::clone(&library);
                tokio::task::spawn_blocking(move || library.reload()).await.unwrap_or_default()
            };
            for problem in &problems {
                warn!(%problem, "a manifest is wrong; what it said before stays in force");
            }
            info!(functions = library.current().all().count(), "manifests were read again");
            events.send(Event::ManifestsReloaded);
            if events.is_closed() {
                break;
            }
        }
    })))
}
