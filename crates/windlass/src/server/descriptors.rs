//! How many connections the file descriptors of this process allow.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use windlass_gateway::ServerLimits;

/// Most connections, however many descriptors there are: an open one takes about 20 KiB.
const MOST: usize = 4_096;

/// Raises the limit of this process to what most connections and so many other descriptors need, as far as it
/// may be raised. Gives the limit before: programs that it starts were written for that one. `None` when
/// there is no limit.
pub(crate) fn raise(others: usize) -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = (MOST + others) as u64;
    let allowed = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    if limit.current.is_some_and(|current| current < allowed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), ..limit })?;
    }
    Ok(limit.current)
}

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
