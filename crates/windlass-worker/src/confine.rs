//! What holds this worker and everything that it starts: control groups, CPUs, memory.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use windlass_core::assignment::Confinement;

use crate::stop::children_of;
use crate::usage;

/// Where a container's own control group tells its memory, by version 2 and 1.
const CONTAINER: [&str; 2] =
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// What a control group of version 1 says where it has no limit is more than this.
const NO_LIMIT: u64 = 1 << 60;

/// How much address space for data one process may have, in multiples of the memory of the whole
/// attempt, where no control group holds it: what is reserved is not what is used, but a runaway
/// must not take the machine down between two looks.
const RESERVE: u64 = 4;

/// Watches the memory of an attempt.
pub(crate) struct MemoryWatch {
    /// Where the kernel counts what it killed for want of memory.
    events: Option<String>,
    kills_before: u64,
    /// What the attempt may hold, where that is known.
    limit: Option<u64>,
    /// Most resident bytes, where only this process looks at them.
    watched: Option<u64>,
    /// The CPUs that it runs on; empty for any.
    cpus: Vec<u32>,
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
        let cpus = confinement.map(|confinement| confinement.cpus.clone()).unwrap_or_default();
        let limit = match confinement {
            Some(confinement) => Some(confinement.memory_bytes),
            None => events.as_deref().and_then(limit_of_container),
        };
        Ok(Self { events, kills_before, limit, watched, cpus })
    }

    /// Counts anew for another attempt of the function that is held already: by the same control groups, which may
    /// have other limits now. Where there are none, its processes move to other CPUs here.
    pub(crate) fn begin(&mut self, confinement: Option<&Confinement>) -> io::Result<()> {
        self.kills_before = kills(self.events.as_deref());
        let Some(Confinement { cpus, memory_bytes, .. }) = confinement else { return Ok(()) };
        self.limit = Some(*memory_bytes);
        self.watched = self.watched.map(|_| *memory_bytes);
        if self.cpus != *cpus {
            move_to(cpus)?;
            self.cpus.clone_from(cpus);
        }
        Ok(())
    }

    /// The memory in bytes, when it is more than it may be and nobody else looks.
    pub(crate) fn exceeded(&mut self) -> Option<u64> {
        let most = self.watched?;
        let used = usage::resident(&descendants());
        (used > most).then_some(used)
    }

    /// Most bytes that the attempt may hold, where that is known.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Whether the kernel has killed for want of memory since.
    pub(crate) fn was_short(&self) -> bool {
        kills(self.events.as_deref()) > self.kills_before
    }
}

/// All processes that this one has started, directly or not.
#[must_use]
pub fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut unread = children_of(std::process::id());
    while let Some(number) = unread.pop() {
        unread.extend(children_of(number));
        found.extend(Pid::from_raw(number.cast_signed()));
    }
    found
}

/// Has this process and all that it has started run on other CPUs, until nothing is found that was not moved; no CPUs
/// stand for any.
fn move_to(cpus: &[u32]) -> io::Result<()> {
    let all = || {
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
        all
    };
    let set = cpu_set(cpus).unwrap_or_else(all);
    let mut moved = HashSet::new();
    loop {
        let tasks = tasks();
        if tasks.iter().all(|task| moved.contains(task)) {
            return Ok(());
        }
        for task in tasks {
            match sched_setaffinity(Some(task), &set) {
                // It has ended.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
            moved.insert(task);
        }
    }
}

/// The threads of this process and of all that it has started.
fn tasks() -> Vec<Pid> {
    let processes = descendants().into_iter().chain([rustix::process::getpid()]);
    let threads = processes
        .map(|process| fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())))
        .flat_map(|threads| threads.into_iter().flatten().flatten());
    threads.filter_map(|thread| Pid::from_raw(thread.file_name().to_str()?.parse().ok()?)).collect()
}

fn run_on(cpus: &[u32]) -> io::Result<()> {
    match cpu_set(cpus) {
        Some(set) => sched_setaffinity(None, &set).map_err(io::Error::from),
        None => Ok(()),
    }
}

/// These CPUs; `None` for any.
fn cpu_set(cpus: &[u32]) -> Option<CpuSet> {
    let mut set = CpuSet::new();
    for &cpu in cpus.iter().filter(|&&cpu| (cpu as usize) < CpuSet::MAX_CPU) {
        set.set(cpu as usize);
    }
    (!cpus.is_empty()).then_some(set)
}

/// Times that the kernel has killed for want of memory, from the file in which it counts them. Zero
/// where that cannot be read.
pub fn kills(events: Option<&str>) -> u64 {
    events
        .and_then(|path| usage::read_kernel_file(path).ok())
        .and_then(|text| parse_oom_kills(&text))
        .unwrap_or(0)
}

/// What a container's own control group allows, by the file in which that counts.
fn limit_of_container(events: &str) -> Option<u64> {
    let group = Path::new(events).parent()?;
    let mut files = ["memory.max", "memory.limit_in_bytes"].iter();
    let said = files.find_map(|name| fs::read_to_string(group.join(name)).ok())?;
    // `max`, or of version 1 more than any machine has, is none.
    said.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

fn parse_oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_a_container_is_beside_its_events() {
        let group = tempfile::tempdir().unwrap();
        let events = group.path().join("memory.events");
        let limit = || limit_of_container(events.to_str().unwrap());
        assert_eq!(limit(), None);
        for (said, expected) in
            [("max\n", None), ("314572800\n", Some(300 << 20)), ("9223372036854771712\n", None)]
        {
            fs::write(group.path().join("memory.max"), said).unwrap();
            assert_eq!(limit(), expected, "{said:?}");
        }
    }

    #[test]
    fn kills_are_read_from_both_versions_of_cgroups() {
        assert_eq!(parse_oom_kills("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(parse_oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(parse_oom_kills(""), None);
    }

    #[test]
    fn the_memory_of_children_counts() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        assert!(descendants().contains(&pid));
        let (alone, all) = (usage::resident(&[pid]), usage::resident(&descendants()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(alone > 0 && all >= alone, "{all} {alone}");
    }
}
