//! How many connections the file descriptors of this process allow.

use rustix::process::{Resource, getrlimit};
use windlass_gateway::ServerLimits;

/// Most connections, however many descriptors there are: an open one takes about 20 KiB.
const MOST: usize = 4_096;

/// Connections that leave so many descriptors for everything else.
pub(crate) fn connections(others: usize) -> usize {
    match getrlimit(Resource::Nofile).current {
        Some(current) => {
            let current = usize::try_from(current).unwrap_or(usize::MAX);
            current.saturating_sub(others).clamp(4, MOST)
        }
        None => ServerLimits::default().connections,
    }
}
