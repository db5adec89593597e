//! The control groups of this server: attempts get theirs here, and they are used again.

use std::fmt;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use super::cores::Cores;
use super::fallback::{FallbackChain, Levels};
use super::hierarchy::Hierarchy;
use super::mounts::{CgroupMount, cgroup_mounts};
use super::slot::{MAX_KEPT_BYTES, Slot};
use super::version::Version;
use super::{group, v2};

/// What is in use on this machine, and the groups of this server. They are removed with it.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// The one to find processes by is the first.
    hierarchies: Mutex<Vec<Hierarchy>>,
    pub(super) levels: Levels,
    /// Why something better is not in use, and what could not be ended.
    notes: Vec<String>,
    /// Slots that nobody holds.
    pub(super) idle: Mutex<Vec<Slot>>,
    /// How many slots were made.
    pub(super) made: AtomicU32,
}

impl Cgroups {
    /// Finds out what can be used, for the server of this [`server_id`](super::server_id), of which there is one at
    /// a time. What an earlier one has left is ended. It blocks for as long as that takes.
    pub(crate) fn detect(id: &str, cores: &Cores) -> Self {
        Self::detect_in(&own_mounts(), &name_of(id), cores)
    }

    /// The same, in these hierarchies and for groups of this name.
    pub(super) fn detect_in(mounts: &[CgroupMount], name: &str, cores: &Cores) -> Self {
        let mut notes = remove_leftovers(mounts, name);
        let (levels, hierarchies, why_not) = FallbackChain::new(mounts, name, cores).choose();
        notes.extend(why_not);
        let (idle, made) = (Mutex::default(), AtomicU32::new(0));
        Self { hierarchies: Mutex::new(hierarchies), levels, notes, idle, made }
    }

    /// Why something better is not in use, and what could not be ended: for the log.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What holds one attempt. No CPUs: any.
    pub(crate) fn acquire(&self, cpus: &[u32], memory_bytes: u64) -> io::Result<Slot> {
        while let Some(mut slot) = self.pop_idle(cpus, memory_bytes) {
            match slot.limit(cpus, memory_bytes) {
                Ok(()) => return Ok(slot),
                // It may keep more than the new limit.
                Err(error) => {
                    warn!(%error, "a control group is not used again");
                    slot.remove();
                }
            }
        }
        let name = self.made.fetch_add(1, Ordering::Relaxed).to_string();
        let mut slot = Slot::make(&lock(&self.hierarchies), &name)?;
        slot.limit(cpus, memory_bytes).inspect_err(|_| slot.remove())?;
        Ok(slot)
    }

    /// Takes it back. It is best empty, see [`Slot::kill`]: else this kills what is in it and waits.
    pub(crate) fn release(&self, slot: Slot) {
        // Without groups there is nothing to use again.
        if slot.is_bare() {
            return;
        }
        // What cannot be emptied stays until the server closes.
        if let Err(error) = slot.kill() {
            warn!(%error, "a control group is not used again");
        } else if slot.kept_bytes() > MAX_KEPT_BYTES {
            slot.remove();
        } else {
            lock(&self.idle).push(slot);
        }
    }

    /// Ends what runs in this server's groups, and removes them. Repeating it tries again what could
    /// not be ended.
    pub(crate) fn close(&self) -> io::Result<()> {
        lock(&self.idle).clear();
        let mut first = Ok(());
        lock(&self.hierarchies).retain_mut(|hierarchy| match hierarchy.close() {
            Ok(()) => false,
            Err(error) => {
                if first.is_ok() {
                    first = Err(error);
                }
                true
            }
        });
        first
    }

    /// One that has the limits already, else the one used last.
    fn pop_idle(&self, cpus: &[u32], memory_bytes: u64) -> Option<Slot> {
        let mut idle = lock(&self.idle);
        let same = |slot: &Slot| slot.has_limits(cpus, memory_bytes);
        let index = idle.iter().rposition(same).or(idle.len().checked_sub(1))?;
        Some(idle.swap_remove(index))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            warn!(%error, "control groups are left behind");
        }
    }
}

/// One line for the log.
impl fmt::Display for Cgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.levels.fmt(f)
    }
}

/// Lets everything run that an earlier server of this id has left frozen: it could not be ended.
pub(crate) fn thaw_leftovers(id: &str) {
    thaw_in(&own_mounts(), &name_of(id));
}

pub(super) fn thaw_in(mounts: &[CgroupMount], name: &str) {
    for root in mounts.iter().flat_map(|mount| group::find(&mount.mount, name)) {
        if let Err(error) = group::thaw(&root) {
            warn!(%error, "an earlier server's groups may be frozen");
        }
    }
}

fn own_mounts() -> Vec<CgroupMount> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    cgroup_mounts(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
}

/// The name of the groups of a server.
fn name_of(id: &str) -> String {
    format!("windlass-{id}")
}

/// Removes groups of this name that an earlier server has left, wherever they are. Gives what could
/// not be removed.
fn remove_leftovers(mounts: &[CgroupMount], name: &str) -> Vec<String> {
    let mut failures = Vec::new();
    // What is frozen ends only where the freezer is.
    let (freezers, others): (Vec<_>, Vec<_>) =
        mounts.iter().partition(|mount| mount.has_controller("freezer"));
    for mount in freezers.into_iter().chain(others) {
        for root in group::find(&mount.mount, name) {
            let removed = match mount.version {
                Version::V1 => group::end(&root, None),
                Version::V2 => v2::remove_leftovers(&root, &mount.own),
            };
            failures.extend(removed.err().map(|why| format!("an earlier server's groups: {why}")));
        }
    }
    failures
}

/// Nothing panics while it holds one of these.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With files in place of the kernel's: not every machine has both versions.
    #[test]
    fn what_an_earlier_server_has_left_frozen_runs_again_in_both_versions() {
        for (version, file, frozen, running) in [
            (Version::V1, "freezer.state", "FROZEN", "THAWED"),
            (Version::V2, "cgroup.freeze", "1", "0"),
        ] {
            let mount = tempfile::tempdir().unwrap();
            let service = mount.path().join("system.slice/other.service");
            let own = [service.join("windlass-a"), service.join("windlass-a/attempt-1/below")];
            let others = service.join("windlass-b");
            for group in own.iter().chain([&others]) {
                fs::create_dir_all(group).unwrap();
                fs::write(group.join(file), frozen).unwrap();
            }
            let hierarchy = CgroupMount {
                version,
                controllers: Vec::new(),
                mount: mount.path().to_owned(),
                own: mount.path().to_owned(),
            };
            thaw_in(&[hierarchy], &name_of("a"));
            for group in &own {
                assert_eq!(group::read(&group.join(file)).unwrap(), running, "{group:?}");
            }
            assert_eq!(group::read(&others.join(file)).unwrap(), frozen, "another server's");
        }
    }
}
