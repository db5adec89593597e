//! What holds one attempt: a control group in each hierarchy, its CPUs and its memory.

use std::io;
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;

use rustix::process::Pid;
use tracing::warn;
use windlass_core::assignment::Confinement;

use super::group;
use super::hierarchy::Hierarchy;
use super::version::Version;

/// Most bytes that a group may still hold when nothing runs in it. The next attempt could not use
/// them: files in `/dev/shm`, for example, belong to the group of who wrote them.
pub(super) const MAX_KEPT_BYTES: u64 = 4 << 20;

/// What an attempt holds. It is released to [`Cgroups`](super::Cgroups); if it is not, its groups go
/// with those.
#[derive(Debug)]
pub(crate) struct Slot {
    groups: Vec<Cgroup>,
    cpus: Vec<u32>,
    memory_bytes: u64,
}

/// One control group of a slot.
#[derive(Debug)]
struct Cgroup {
    version: Version,
    path: PathBuf,
    limits: ResourceLimits,
}

/// What a group limits, and to what, as far as that is known.
#[derive(Debug)]
struct ResourceLimits {
    memory: bool,
    memory_bytes: Option<u64>,
    cpus: bool,
    on: Option<Vec<u32>>,
}

impl Slot {
    /// The groups of this name, one in each hierarchy; nothing limits them yet.
    pub(super) fn make(hierarchies: &[Hierarchy], name: &str) -> io::Result<Self> {
        let mut slot = Self { groups: Vec::new(), cpus: Vec::new(), memory_bytes: 0 };
        for hierarchy in hierarchies {
            let (version, path) = (hierarchy.version(), hierarchy.root.join(name));
            let made = version.make_group(&path).and_then(|()| match hierarchy.tasks {
                true => group::limit_tasks(&path),
                false => Ok(()),
            });
            let (memory, cpus) = (hierarchy.memory, hierarchy.cpus);
            let limits = ResourceLimits { memory, memory_bytes: None, cpus, on: None };
            slot.groups.push(Cgroup { version, path, limits });
            made.inspect_err(|_| slot.remove())?;
        }
        Ok(slot)
    }

    /// Whether it is limited so already.
    pub(super) fn has_limits(&self, cpus: &[u32], memory_bytes: u64) -> bool {
        self.memory_bytes == memory_bytes && self.cpus == cpus
    }

    /// Whether it is in no group.
    pub(super) fn is_bare(&self) -> bool {
        self.groups.is_empty()
    }

    /// Where its first group is.
    #[cfg(test)]
    pub(super) fn first_group(&self) -> &Path {
        &self.groups[0].path
    }

    /// What its worker needs to know. The kernel's count of kills goes on from attempt to attempt, so
    /// the worker reads it before the function starts, too. The worker joins by writing `0`, which
    /// costs least.
    pub(crate) fn confinement(&self) -> Confinement {
        let file = |group: &Cgroup, name| group.path.join(name).to_string_lossy().into_owned();
        let join = |group: &Cgroup| file(group, group.version.join_file());
        let events = |group: &Cgroup| file(group, group.version.memory_events_file());
        Confinement {
            join: self.groups.iter().map(join).collect(),
            memory_events: self.groups.iter().find(|group| group.limits.memory).map(events),
            cpus: self.cpus.clone(),
            memory_bytes: self.memory_bytes,
        }
    }

    /// The processes in it, whoever started them. Unsupported where there are no groups.
    pub(crate) fn processes(&self) -> io::Result<Vec<Pid>> {
        self.check_groups()?;
        let mut all = Vec::new();
        // A worker may have joined some of them only.
        for group in &self.groups {
            all.extend(group::processes(&group.path)?);
        }
        all.sort_unstable_by_key(|process| process.as_raw_nonzero());
        all.dedup();
        Ok(all)
    }

    /// Kills what is in it, the worker as well, and returns when nothing is. That may block for
    /// seconds. Unsupported where there are no groups.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.check_groups()?;
        self.groups.iter().try_for_each(|group| group::kill(&group.path))
    }

    /// Lets it run again, if somebody has frozen it: what is frozen does not end.
    pub(crate) fn thaw(&self) {
        for group in &self.groups {
            if let Err(error) = group::thaw(&group.path) {
                warn!(%error, "a control group may be frozen");
            }
        }
    }

    fn check_groups(&self) -> io::Result<()> {
        match self.groups.is_empty() {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => Ok(()),
        }
    }

    /// Writes the limits that are others.
    pub(crate) fn limit(&mut self, cpus: &[u32], memory_bytes: u64) -> io::Result<()> {
        for Cgroup { version, path, limits } in &mut self.groups {
            if limits.memory && limits.memory_bytes != Some(memory_bytes) {
                limits.memory_bytes = None;
                version.limit_memory(path, memory_bytes)?;
                limits.memory_bytes = Some(memory_bytes);
            }
            if limits.cpus && limits.on.as_deref() != Some(cpus) {
                limits.on = None;
                version.limit_cpus(path, cpus)?;
                limits.on = Some(cpus.to_vec());
            }
        }
        (self.cpus, self.memory_bytes) = (cpus.to_vec(), memory_bytes);
        Ok(())
    }

    /// Bytes that it holds and that the kernel cannot take from it when the next attempt needs them.
    /// What it can, such as the files that were read, saves the next attempt from reading them.
    pub(super) fn kept_bytes(&self) -> u64 {
        let groups = self.groups.iter().filter(|group| group.limits.memory);
        groups.filter_map(Cgroup::kept_bytes).sum()
    }

    /// Removes its groups, in which nothing runs. What cannot be removed goes when the server ends.
    pub(super) fn remove(&self) {
        for group in &self.groups {
            if let Err(error) = group::remove(&group.path) {
                warn!(%error, "a control group is left for now");
            }
        }
    }
}

impl Cgroup {
    fn kept_bytes(&self) -> Option<u64> {
        let Self { version, path, .. } = self;
        let used = group::read(&path.join(version.memory_used_file())).ok()?;
        let used: u64 = used.trim().parse().ok()?;
        if used <= MAX_KEPT_BYTES {
            // Adding up the statistics takes longer.
            return Some(used);
        }
        let statistics = version.memory_kept_statistics();
        let text = group::read(&path.join("memory.stat")).ok()?;
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let kept = lines.filter(|(name, _)| statistics.contains(name));
        Some(kept.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum())
    }
}
