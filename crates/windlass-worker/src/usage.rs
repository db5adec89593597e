//! What the function used, from the kernel's accounting.

use std::fs;
use std::io::{self, Read as _};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::clock_getcpuclockid;
use rustix::process::Pid;
use windlass_core::Cpus;
use windlass_core::status::Usage;

/// More than any file of the kernel that is read here has.
const MAX_KERNEL_FILE_BYTES: u64 = 1 << 20;

/// What all reaped children used. A worker of a function that runs once has no other children.
pub(crate) fn of_children(wall: Duration, cpus: Cpus) -> Usage {
    let Ok(used) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Usage::default() };
    let microseconds = used.user_time().num_microseconds() + used.system_time().num_microseconds();
    let cpu = Duration::from_micros(u64::try_from(microseconds).unwrap_or(0));
    // Linux counts in KiB.
    usage_of(cpu, u64::try_from(used.max_rss()).unwrap_or(0) * 1024, wall, cpus)
}

/// As a status tells it.
pub(crate) fn usage_of(cpu: Duration, peak_memory_bytes: u64, wall: Duration, cpus: Cpus) -> Usage {
    let cpu_seconds = cpu.as_secs_f64();
    let available = wall.as_secs_f64() * f64::from(cpus);
    Usage {
        cpu_seconds: rounded(cpu_seconds),
        peak_memory_bytes,
        efficiency: if available > 0.0 { rounded(cpu_seconds / available) } else { 0.0 },
        log_bytes: None,
    }
}

/// CPU time of processes that go on, and of the children that they and this one have reaped.
pub(crate) fn used_by(processes: &[Pid]) -> Duration {
    let own = |process: &Pid| {
        let pid = nix::unistd::Pid::from_raw(process.as_raw_nonzero().get());
        let time = clock_getcpuclockid(pid).and_then(|clock| clock.now());
        // One that has just ended is among the reaped, or will be.
        time.map_or(Duration::ZERO, Duration::from)
    };
    let reaped = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |used| {
        used.user_time().num_microseconds() + used.system_time().num_microseconds()
    });
    let ticks: u64 = processes.iter().map(reaped_ticks).sum();
    let by_children = ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let reaped = u64::try_from(reaped).unwrap_or(0) + by_children;
    processes.iter().map(own).sum::<Duration>() + Duration::from_micros(reaped)
}

/// CPU time of the children that a process has reaped, in the kernel's ticks.
fn reaped_ticks(process: &Pid) -> u64 {
    let text = proc_file(process, "stat");
    // The name of the program, in parentheses, may contain anything. After it, fields 14 and 15 are `cutime` and
    // `cstime`.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Memory of processes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The highest resident bytes of one of them since [`forget_peaks`].
    pub(crate) peak: u64,
    /// Resident bytes of all of them now.
    pub(crate) resident: u64,
}

/// What processes hold, and have held. What ends meanwhile counts nothing.
pub(crate) fn memory(processes: &[Pid]) -> Memory {
    let mut memory = Memory::default();
    for process in processes {
        let status = proc_file(process, "status");
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        };
        memory.peak = memory.peak.max(kibibytes("VmHWM:").unwrap_or(0) * 1024);
        memory.resident += kibibytes("VmRSS:").unwrap_or(0) * 1024;
    }
    memory
}

/// Peaks count anew from now on.
pub(crate) fn forget_peaks(processes: &[Pid]) {
    for process in processes {
        // Where that is not allowed, the peak is that of all jobs so far.
        fs::write(format!("/proc/{}/clear_refs", process.as_raw_nonzero()), "5")
            .unwrap_or_default();
    }
}

/// Resident bytes of processes. What ends meanwhile counts nothing.
pub(crate) fn resident(processes: &[Pid]) -> u64 {
    let pages =
        |process: &Pid| proc_file(process, "statm").split_whitespace().nth(1)?.parse::<u64>().ok();
    let pages: u64 = processes.iter().filter_map(pages).sum();
    pages.saturating_mul(rustix::param::page_size() as u64)
}

fn proc_file(process: &Pid, name: &str) -> String {
    read_kernel_file(&format!("/proc/{}/{name}", process.as_raw_nonzero())).unwrap_or_default()
}

/// Reads a file that the kernel writes while it is read, and whose length it does not tell: in one piece.
pub(crate) fn read_kernel_file(path: &str) -> io::Result<String> {
    const ROOM: usize = 4096;
    let mut text = String::with_capacity(ROOM);
    fs::File::open(path)?.take(MAX_KERNEL_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// To whole thousandths: more is noise.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
