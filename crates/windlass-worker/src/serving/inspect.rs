//! What a job has left in a process that is to have another one.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::Pid;

use crate::confine::descendants;
use crate::remove_tree::remove_contents;
use crate::stop::reap_orphans;

/// How much more memory than when it was ready a function may hold between jobs: as much again, and this, for each
/// process that it keeps.
const IDLE_ROOM_BYTES: u64 = 64 << 20;

/// Most memory that a function may hold between jobs, by what it held when it was ready and the number of processes
/// that it keeps beside its first. One that has had a job of many CPUs has a process for each of them.
pub(super) fn idle_bound(ready_bytes: u64, kept: usize) -> u64 {
    let each = ready_bytes.saturating_mul(2).saturating_add(IDLE_ROOM_BYTES);
    each.saturating_mul(kept.max(1) as u64)
}

/// What is said of a function that holds more.
pub(super) fn too_much(bytes: u64, most: u64) -> String {
    format!(
        "it holds {bytes} bytes of memory between jobs, more than {most} (twice what it held when it was ready, and \
         {IDLE_ROOM_BYTES}, for each process); have it load what jobs share before it is ready"
    )
}

/// Removes what is in the working directory. The progress file is emptied instead, and used again.
pub(super) fn clear(work: &Path) -> io::Result<()> {
    remove_contents(work, Some(super::PROGRESS_FILE))
}

/// What a function has left of its job: the error is a process that it does not keep, or an open file below its
/// directory. `processes` are those that were there when it had answered, and then those that still are.
pub(super) fn left_behind(
    function: Pid,
    kept: &[i32],
    work: &Path,
    processes: &mut Vec<Pid>,
) -> Result<(), String> {
    let is_kept =
        |process: &Pid| *process == function || kept.contains(&process.as_raw_nonzero().get());
    if !processes.iter().all(is_kept) {
        // What has ended is no process any more.
        reap_orphans(function);
        *processes = descendants();
    }
    let home = work.parent().unwrap_or(work);
    let lock = home.join("lock");
    for process in processes.iter() {
        let number = process.as_raw_nonzero().get();
        if !is_kept(process) {
            return Err(format!("process {number} is left"));
        }
        if let Some(file) = open_below(number, home, &lock) {
            return Err(format!("process {number} has {file:?} open"));
        }
    }
    Ok(())
}

/// A file below a directory that a process has open, but for the lock that all of an attempt hold.
fn open_below(process: i32, directory: &Path, lock: &Path) -> Option<String> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).find_map(|target| {
        let is_below = target.starts_with(directory) && target != lock;
        is_below.then(|| target.to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_that_is_kept_has_its_room() {
        const MIB: u64 = 1 << 20;
        for (ready, kept, expected) in [(10, 0, 84), (30, 1, 124), (30, 4, 496)] {
            assert_eq!(idle_bound(ready * MIB, kept), expected * MIB, "{ready} MiB, {kept}");
        }
    }
}
