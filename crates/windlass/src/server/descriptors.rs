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

/// Keeps what whoever started this process has left open from the functions that it starts. Where the kernel cannot do
/// that (before Linux 5.11), nothing changes.
#[expect(unsafe_code, reason = "a system call that closes nothing and touches no memory")]
pub(crate) fn keep_from_functions() {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: the call only marks descriptors, from the first that is no standard stream.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, flags) } != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "open files are passed on to functions");
    }
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
