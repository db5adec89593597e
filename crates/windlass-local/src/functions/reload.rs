//! Watches the manifests' files and directories, and has them read again when they change.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tracing::{info, warn};

use super::library::Library;
use crate::event::{Event, EventSender};

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
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let notifier = inotify::init(flags)?;
    let mut directories = BTreeSet::new();
    for path in library.paths() {
        // A file is watched through its directory: whoever replaces it makes a new one.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = if path.is_dir() { path } else { parent.unwrap_or_else(|| Path::new(".")) };
        directories.insert(directory.to_owned());
    }
    for directory in directories {
        let changes = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&notifier, &directory, changes)?;
    }
    #[expect(deprecated, reason = "sound for a descriptor that it owns; the other one is unsafe")]
    let notifier = AsyncFd::new(notifier)?;
    Ok(Some(tokio::spawn(async move {
        while let Ok(()) = changed(&notifier).await {
            while tokio::time::timeout(QUIET, changed(&notifier)).await.is_ok() {}
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

/// Resolves when something has changed, and takes all of what has.
async fn changed(notifier: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut ready = notifier.readable().await?;
        let taken = ready.try_io(|notifier| {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut changes = inotify::Reader::new(notifier.get_ref(), &mut buffer);
            changes.next()?;
            while !changes.is_buffer_empty() {
                changes.next()?;
            }
            Ok(())
        });
        if let Ok(taken) = taken {
            return taken;
        }
    }
}
