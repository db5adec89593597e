//! What holds an attempt to its CPUs and its memory, by what this machine lets the server use.
//!
//! | resource | first level | then | else |
//! | --- | --- | --- | --- |
//! | memory | control groups of version 2 | of version 1 | the worker looks at its processes |
//! | CPUs | a cpuset of version 2, and affinity | of version 1, and affinity | affinity, which a function can change |
//! | number of processes | `pids` of version 2, where that holds something | of version 1 | none |
//! | processes | the group of version 2 that has the others | a freezer or other group of version 1, then a bare group of version 2 | who started them knows them |
//!
//! Each resource has a [fallback] chain of its own, and what is in use was tried, not assumed. Nothing
//! here fails the server: a reason is kept for the log, and the next level is taken.
//!
//! Groups are named `windlass-ID/NUMBER`, below the server's own group. They are used again, because
//! making them is much of the cost of starting a process, and limits are written only when they change.
//! Where groups of version 1 hold the resources, version 2 is left out, even though it kills as one
//! step: joining one waits for all CPUs, which takes milliseconds on a machine at rest.

mod cgroups;
mod cores;
mod fallback;
mod group;
mod hierarchy;
mod mounts;
mod slot;
mod v1;
mod v2;
mod version;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

pub(crate) use cgroups::{Cgroups, thaw_leftovers};
pub(crate) use cores::Cores;
pub(crate) use slot::Slot;

use crate::inode::inode;

/// The name of a server with this data directory: the same for each, and no other has it.
pub(crate) fn server_id(data: &Path) -> io::Result<String> {
    let (device, number) = inode(data)?;
    Ok(format!("{device:x}-{number:x}"))
}
