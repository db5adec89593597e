//! This machine's memory, and how what a load has taken goes back to the system.
//!
//! By itself the allocator keeps most of what was freed: tens of MiB in each of its arenas, of which there are many. So
//! its bounds are set at the start, and it is told to give back what is free some time after something was done. While
//! nothing happens, nothing wakes.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::Notify;

/// The memory of this machine.
pub(crate) fn machine_memory_bytes() -> u64 {
    let memory = rustix::system::sysinfo();
    u64::from(memory.mem_unit.max(1)) * memory.totalram as u64
}

/// From something that was done until memory is given back: what follows shortly takes it again.
const PAUSE: Duration = Duration::from_secs(5);

/// Between two times in a process that is never idle.
const INTERVAL: Duration = Duration::from_secs(30);

/// Gives memory back after whatever `activity` tells of. `release` gives what is kept to the allocator.
pub(crate) async fn give_back(activity: &Notify, release: impl AsyncFn()) -> Infallible {
    loop {
        activity.notified().await;
        tokio::time::sleep(PAUSE).await;
        release().await;
        allocator::trim();
    }
}

/// Gives memory back every now and then, in a process that is never idle.
pub(crate) async fn give_back_regularly() -> Infallible {
    loop {
        tokio::time::sleep(INTERVAL).await;
        allocator::trim();
    }
}

pub(crate) use allocator::keep_little;

#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "calls of the C library, which have no requirement but a known parameter"
)]
mod allocator {
    use libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};

    /// An allocation of so many bytes is a mapping of its own, which goes when it is freed. A bound that is set is not
    /// raised by the first large allocation that is freed.
    const MAPPED_BYTES: i32 = 256 * 1024;

    /// Most bytes that are kept free at the end of an arena.
    const KEPT_BYTES: i32 = 512 * 1024;

    /// Arenas: one for the thread that does nearly everything, one for those that read and write files.
    const ARENAS: i32 = 2;

    /// Sets the bounds of what the allocator keeps, before other threads start.
    pub(crate) fn keep_little() {
        for (parameter, value) in [
            (M_MMAP_THRESHOLD, MAPPED_BYTES),
            (M_TRIM_THRESHOLD, KEPT_BYTES),
            (M_ARENA_MAX, ARENAS),
        ] {
            // SAFETY: it may be called at any time. What it refuses stays as it was.
            if unsafe { mallopt(parameter, value) } == 0 {
                tracing::warn!(parameter, value, "the allocator does not take a bound");
            }
        }
    }

    /// Has the allocator give back what is free.
    pub(super) fn trim() {
        // SAFETY: it may be called at any time, from any thread.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other allocators give back what is free by themselves.
#[cfg(not(target_env = "gnu"))]
mod allocator {
    pub(crate) fn keep_little() {}

    pub(super) fn trim() {}
}
