//! A clock that costs nothing to ask.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, to a few milliseconds; never goes back. The coarse clock is a load from a page that the
/// kernel keeps up to date, without reading the hardware counter.
#[inline]
pub(crate) fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    // Both parts are non-negative and the sum is nanoseconds since boot: 584 years fit.
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}
