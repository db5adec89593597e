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
