//! What holds this worker and everything that it starts: control groups, CPUs, memory.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use windlass_core::assignment::Confinement;

/// Where a container's own control group tells its memory, by version 2 and 1.
const CONTAINER: [&str; 2] =
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// How much address space for data one process may have, in multiples of the memory of the whole
/// attempt, where no control group holds it: what is reserved is not what is used, but a runaway
/// must not take the machine down between two looks.
const RESERVE: u64 = 4;

/// Watches the memory of an attempt.
pub(crate) struct MemoryWatch {
    /// Where the kernel counts what it killed for want of memory.
    events: Option<String>,
    kills_before: u64,
    /// Most resident bytes, where only this process looks at them.
    watched: Option<u64>,
}

impl MemoryWatch {
    /// Confines this process, so that what it starts is confined from its first instruction.
    /// Without a confinement a container does it.
    pub(crate) fn confine(confinement: Option<&Confinement>) -> io::Result<Self> {
        let mut watched = None;
        let events = match confinement {
            None => CONTAINER.iter().find(|path| Path::new(path).exists()).map(|&p| p.to_owned()),
            Some(confinement) => {
                let Confinement { join, memory_events, cpus, memory_bytes } = confinement;
                for group in join {
                    // `0` is the thread that writes, and this process has one: to move another, or a
                    // whole process, the kernel may wait for all CPUs, which takes milliseconds.
                    fs::write(group, "0").map_err(|error| {
                        io::Error::other(format!("{group} cannot be joined: {error}"))
                    })?;
                }
                run_on(cpus)?;
                if memory_events.is_none() {
                    let most = memory_bytes.saturating_mul(RESERVE);
                    let limit = Rlimit { current: Some(most), maximum: Some(most) };
                    setrlimit(Resource::Data, limit)?;
                    watched = Some(*memory_bytes);
                }
                memory_events.clone()
            }
        };
        let kills_before = kills(events.as_deref());
        Ok(Self { events, kills_before, watched })
    }

    /// The memory in bytes, when it is more than it may be and nobody else looks.
    pub(crate) fn exceeded(&mut self) -> Option<u64> {
        let most = self.watched?;
        let used = resident(std::process::id()).saturating_sub(resident_of(std::process::id()));
        (used > most).then_some(used)
    }

    /// Whether the kernel has killed for want of memory since.
    pub(crate) fn was_short(&self) -> bool {
        kills(self.events.as_deref()) > self.kills_before
    }
}

fn run_on(cpus: &[u32]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if (cpu as usize) < CpuSet::MAX_CPU {
            set.set(cpu as usize);
        }
    }
    sched_setaffinity(None, &set).map_err(io::Error::from)
}

/// Resident bytes of a process and all that it has started. What ends meanwhile counts nothing.
fn resident(process: u32) -> u64 {
    let children = crate::stop::children_of(process);
    resident_of(process) + children.into_iter().map(resident).sum::<u64>()
}

fn resident_of(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

/// Times that the kernel has killed for want of memory, from the file in which it counts them. Zero
/// where that cannot be read.
pub fn kills(events: Option<&str>) -> u64 {
    events
        .and_then(|path| fs::read_to_string(path).ok())
        .and_then(|text| parse_oom_kills(&text))
        .unwrap_or(0)
}

fn parse_oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_from_both_versions_of_cgroups() {
        assert_eq!(parse_oom_kills("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(parse_oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(parse_oom_kills(""), None);
    }

    #[test]
    fn the_memory_of_children_counts() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let all = resident(std::process::id());
        let child_alone = resident_of(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(child_alone > 0);
        assert!(all >= child_alone + 1024 * 1024, "{all} {child_alone}");
    }
}
