//! What the function used, from the kernel's accounting.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use windlass_core::Cpus;
use windlass_core::status::Usage;

/// What all reaped children used. A worker has one function, so that this is the function's.
pub(crate) fn of_children(wall: Duration, cpus: Cpus) -> Usage {
    let Ok(used) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Usage::default() };
    let microseconds = used.user_time().num_microseconds() + used.system_time().num_microseconds();
    let cpu_seconds = microseconds as f64 / 1e6;
    let available = wall.as_secs_f64() * f64::from(cpus);
    Usage {
        cpu_seconds: rounded(cpu_seconds),
        // Linux counts in KiB.
        peak_memory_bytes: u64::try_from(used.max_rss()).unwrap_or(0) * 1024,
        efficiency: if available > 0.0 { rounded(cpu_seconds / available) } else { 0.0 },
    }
}

/// To whole thousandths: more is noise.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Times that the kernel has killed for want of memory in this container, by cgroup v2 or v1. Zero
/// where that cannot be read, such as in a shared cgroup of one machine.
pub(crate) fn oom_kills() -> u64 {
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .find_map(|text| count(&text))
        .unwrap_or(0)
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_from_both_versions_of_cgroups() {
        assert_eq!(count("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(count(""), None);
    }
}
