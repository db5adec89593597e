//! What holds an attempt to its CPUs and its memory, by what this machine lets the server use.
//!
//! | resource | first choice | else |
//! | --- | --- | --- |
//! | CPUs | whole CPUs of its own, enforced by a cpuset group | the same by affinity, which a function could change |
//! | memory | a memory group: the kernel kills what is too much | the worker looks at the memory of its processes, ten times a second |
//! | processes | a group is killed as a whole | known by lock and environment, see [`leftovers`](crate::leftovers) |
//!
//! Groups are those of cgroup version 2, where one is delegated to the server, else of version 1,
//! where it may make some. What is in use was tried, not assumed.

mod cgroup;
mod cores;

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tracing::warn;
use windlass_core::Cpus;
use windlass_core::assignment::Confinement;

use cgroup::{Groups, Slot};
use cores::Cores;

/// The CPUs of this machine and the control groups of this server.
pub(crate) struct Confine {
    cores: Cores,
    groups: Result<Groups, String>,
}

/// What an attempt holds. It must be given back.
#[derive(Debug)]
pub(crate) struct Held {
    cpus: Vec<u32>,
    slot: Option<Slot>,
    memory_bytes: u64,
}

impl Held {
    /// What its worker is told.
    pub(crate) fn confinement(&self) -> Confinement {
        let Self { cpus, slot, memory_bytes } = self;
        Confinement {
            join: slot.as_ref().map(Slot::join).unwrap_or_default(),
            memory_events: slot.as_ref().and_then(Slot::memory_events),
            cpus: cpus.clone(),
            memory_bytes: *memory_bytes,
        }
    }
}

impl Confine {
    /// Finds out what can be used for a server with this data directory that grants so many CPUs,
    /// and ends what is left in the groups of an earlier server.
    pub(crate) fn find(data: &Path, cpus: Cpus) -> io::Result<Self> {
        // The same for every server of the directory, another for every other.
        let directory = std::fs::metadata(data)?;
        let name = format!("windlass-{:x}-{:x}", directory.dev(), directory.ino());
        Ok(Self { cores: Cores::of_machine(cpus)?, groups: Groups::find(&name) })
    }

    /// CPUs and memory for one attempt.
    pub(crate) fn take(&mut self, cpus: Cpus, memory_bytes: u64) -> Held {
        let cpus = self.cores.take(cpus);
        let slot = self.groups.as_mut().ok().and_then(|groups| {
            groups
                .take(&cpus, memory_bytes)
                .map_err(|error| {
                    warn!(%error, "an attempt runs without a control group");
                })
                .ok()
        });
        Held { cpus, slot, memory_bytes }
    }

    /// Nothing runs of the attempt any more. What its group still holds is killed.
    pub(crate) fn give_back(&mut self, held: Held) {
        self.cores.give_back(&held.cpus);
        if let (Some(slot), Ok(groups)) = (held.slot, &mut self.groups) {
            groups.give_back(slot);
        }
    }
}

impl fmt::Display for Confine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned = if self.cores.are_pinned() { "pinned by affinity" } else { "not pinned" };
        match &self.groups {
            Ok(groups) => {
                let enforced = if groups.has_cpuset() { " and cpuset" } else { "" };
                let version = groups.version();
                write!(f, "memory: cgroup {version}; CPUs: {pinned}{enforced}")
            }
            Err(why) => {
                write!(f, "memory: watched by the worker; CPUs: {pinned}; no cgroup because {why}")
            }
        }
    }
}
