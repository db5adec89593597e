//! Control groups of version 1: a hierarchy of its own for each resource.

use std::io;
use std::path::Path;

use super::cores::cpu_list;
use super::group::{check_joinable, make, read, remove, write};

/// Takes the id of a thread, and `0` for the one that writes. Unlike `cgroup.procs` that does not wait
/// for all CPUs, which takes milliseconds on a machine at rest.
pub(super) const JOIN: &str = "tasks";

/// Where the kernel counts what it killed for want of memory.
pub(super) const MEMORY_EVENTS: &str = "memory.oom_control";

/// How many bytes it holds.
pub(super) const MEMORY_USED: &str = "memory.usage_in_bytes";

/// Those of them that stay when no process does, in its statistics.
pub(super) const MEMORY_KEPT: [&str; 2] = ["total_rss", "total_shmem"];

/// Makes the group of this server and tries one below it.
pub(super) fn open(root: &Path, limit: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let probe = root.join("probe");
    make_group(root)?;
    let tried = make_group(&probe)
        .and_then(|()| limit(&probe))
        .and_then(|()| check_joinable(&probe.join(JOIN)));
    remove(&probe).and(tried)
}

/// A group that processes may join: with cpusets, one has CPUs and memory nodes, at first those of
/// the group above.
pub(super) fn make_group(group: &Path) -> io::Result<()> {
    make(group)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = group.parent().map(|above| above.join(file)).filter(|above| above.exists());
        if let Some(above) = above {
            write(&group.join(file), read(&above)?.trim())?;
        }
    }
    Ok(())
}

pub(super) fn limit_cpus(group: &Path, cpus: &[u32]) -> io::Result<()> {
    write(&group.join("cpuset.cpus"), &cpu_list(cpus))
}

/// Limits memory, and memory with swap to the same. The second is never less than the first, so
/// that the order depends on whether they become more.
pub(super) fn limit_memory(group: &Path, bytes: u64) -> io::Result<()> {
    // More than the kernel can count is no limit.
    let bytes = bytes.min(i64::MAX.cast_unsigned()).to_string();
    let memory = group.join("memory.limit_in_bytes");
    let both = group.join("memory.memsw.limit_in_bytes");
    if !both.exists() {
        return write(&memory, &bytes);
    }
    match write(&memory, &bytes) {
        Ok(()) => write(&both, &bytes),
        Err(_) => write(&both, &bytes).and_then(|()| write(&memory, &bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_limited_where_it_is_counted() {
        let group = tempfile::tempdir().unwrap();
        let (memory, both) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
        let path = |name| group.path().join(name);
        std::fs::write(path(memory), "9223372036854771712\n").unwrap();
        limit_memory(group.path(), 4096).unwrap();
        assert_eq!(read(&path(memory)).unwrap(), "4096");
        assert!(!path(both).exists());
        std::fs::write(path(both), "9223372036854771712\n").unwrap();
        limit_memory(group.path(), u64::MAX).unwrap();
        assert_eq!(read(&path(both)).unwrap(), i64::MAX.to_string());
    }

    #[test]
    fn a_cpuset_has_what_the_group_above_has() {
        let above = tempfile::tempdir().unwrap();
        let group = above.path().join("windlass");
        std::fs::create_dir(&group).unwrap();
        for (file, text) in [("cpuset.cpus", "0-3\n"), ("cpuset.mems", "0-1\n")] {
            std::fs::write(above.path().join(file), text).unwrap();
            std::fs::write(group.join(file), "\n").unwrap();
        }
        make_group(&group).unwrap();
        limit_cpus(&group, &[1, 2]).unwrap();
        assert_eq!(read(&group.join("cpuset.cpus")).unwrap(), "1,2");
        assert_eq!(read(&group.join("cpuset.mems")).unwrap(), "0-1");
    }
}
