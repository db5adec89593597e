//! Waits for changes of files and directories, without looking at them all the time.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify;
pub(crate) use rustix::fs::inotify::WatchFlags;
use tokio::io::unix::AsyncFd;

/// What is watched.
pub(crate) struct FileWatch(AsyncFd<OwnedFd>);

impl FileWatch {
    /// Nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let notifier = inotify::init(flags)?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that it owns; the other one is unsafe"
        )]
        AsyncFd::new(notifier).map(Self)
    }

    /// Watches a file or a directory, too, for these changes.
    pub(crate) fn add(&self, path: &Path, changes: WatchFlags) -> io::Result<()> {
        inotify::add_watch(self.0.get_ref(), path, changes)?;
        Ok(())
    }

    /// Resolves when something has changed, and takes all of what has.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
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
}
