//! A `/dev/shm` of the attempt's own, on one machine: a segment that a function leaves there is gone with the attempt.
//!
//! The worker enters a mount namespace of its own and mounts a new file system there. Both end with the
//! last process of the attempt. That needs the right to mount, as root has it; without it the machine's
//! `/dev/shm` stays in use. What it holds counts as the attempt's memory either way.

use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, capabilities};

/// Where the C library keeps shared memory.
const DIRECTORY: &str = "/dev/shm";

/// Says that the worker shall have one. Functions do not see it.
pub const OWN_SHARED_MEMORY: &str = "WINDLASS_OWN_SHARED_MEMORY";

/// Whether attempts whose files are below `data` can have their own: this process may mount, and what would be
/// covered is none of theirs.
pub fn can_own_shared_memory(data: &Path) -> bool {
    let may_mount =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    may_mount && Path::new(DIRECTORY).is_dir() && !data.starts_with(DIRECTORY)
}

/// Gives this process and all that it starts their own, where that was asked for. To be called before there is any
/// thread.
pub(crate) fn own() -> io::Result<()> {
    if std::env::var_os(OWN_SHARED_MEMORY).is_none() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What is mounted on the machine later is seen here, and not the other way round.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("windlass"), DIRECTORY, Some("tmpfs"), flags, Some("mode=1777"))?;
    Ok(())
}
