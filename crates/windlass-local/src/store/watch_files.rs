//! Has a store look after its files when something has happened where they are.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Store;
use super::change::Change;
use crate::file_watch::{FileWatch, WatchFlags};

/// Has a store look after its files when the directory has changed, or one that it is in.
pub(crate) fn watch_files(store: Arc<Store>, data: &Path) -> io::Result<JoinHandle<()>> {
    let files = FileWatch::new()?;
    let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    let entries = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
    files.add(data, itself | entries)?;
    for above in data.ancestors().skip(1) {
        files.add(above, itself)?;
    }
    Ok(tokio::spawn(async move {
        while let Ok(()) = files.changed().await {
            store.send(Change::CheckFiles);
        }
    }))
}
