//! The two versions of control groups, and where each keeps what both have.

use std::fmt;
use std::io;
use std::path::Path;

use super::{group, v1, v2};

/// A version of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

impl Version {
    /// The file that takes what joins a group.
    pub(super) fn join_file(self) -> &'static str {
        match self {
            Self::V1 => v1::JOIN,
            Self::V2 => v2::JOIN,
        }
    }

    /// The file in which the kernel counts what it killed for want of memory.
    pub(super) fn memory_events_file(self) -> &'static str {
        match self {
            Self::V1 => v1::MEMORY_EVENTS,
            Self::V2 => v2::MEMORY_EVENTS,
        }
    }

    /// The file that says how many bytes a group holds.
    pub(super) fn memory_used_file(self) -> &'static str {
        match self {
            Self::V1 => v1::MEMORY_USED,
            Self::V2 => v2::MEMORY_USED,
        }
    }

    /// Those of them that stay when no process does, in its statistics.
    pub(super) fn memory_kept_statistics(self) -> [&'static str; 2] {
        match self {
            Self::V1 => v1::MEMORY_KEPT,
            Self::V2 => v2::MEMORY_KEPT,
        }
    }

    /// Makes a group that processes may join, unless it is there.
    pub(super) fn make_group(self, group: &Path) -> io::Result<()> {
        match self {
            Self::V1 => v1::make_group(group),
            Self::V2 => group::make(group),
        }
    }

    pub(super) fn limit_memory(self, group: &Path, bytes: u64) -> io::Result<()> {
        match self {
            Self::V1 => v1::limit_memory(group, bytes),
            Self::V2 => v2::limit_memory(group, bytes),
        }
    }

    /// No CPUs: those of the group above.
    pub(super) fn limit_cpus(self, group: &Path, cpus: &[u32]) -> io::Result<()> {
        match self {
            // A group without CPUs takes nobody, but every new one has those of the group above.
            Self::V1 if cpus.is_empty() => v1::make_group(group),
            Self::V1 => v1::limit_cpus(group, cpus),
            Self::V2 => v2::limit_cpus(group, cpus),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}
