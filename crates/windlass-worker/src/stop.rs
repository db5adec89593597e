//! Ending what a function has started.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait, waitpid};
use tokio::process::Child;

use crate::stdio;
use crate::usage::read_kernel_file;

/// First and longest pause between two looks at a group that was killed.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];

/// How long a killed group may take: a process in an uninterruptible system call dies late.
const LONGEST: Duration = Duration::from_secs(30);

/// Asks every process of the group to stop.
fn terminate(group: Pid) -> io::Result<()> {
    ignore_exited(kill_process_group(group, Signal::TERM))
}

/// Ends every process of the group.
fn kill(group: Pid) -> io::Result<()> {
    ignore_exited(kill_process_group(group, Signal::KILL))
}

/// Ends whatever is left of a function's process group: SIGTERM and the grace for a function that still
/// runs, SIGKILL for the rest. Returns when the group is empty.
pub(crate) async fn end_function(child: &mut Child, group: Pid, grace: Duration) -> io::Result<()> {
    if child.try_wait()?.is_none() {
        terminate(group)?;
        if tokio::time::timeout(grace, child.wait()).await.is_err() {
            kill(group)?;
            child.wait().await?;
        }
    }
    end_descendants(group).await
}

/// Ends and reaps everything that the function has left, in its group or out of it. This process is
/// the subreaper of all of them: whoever loses its parent becomes a child of ours. Returns when there
/// is no child any more.
async fn end_descendants(group: Pid) -> io::Result<()> {
    let started = tokio::time::Instant::now();
    let mut pause = PAUSES[0];
    while !reaped_all() {
        if started.elapsed() > LONGEST {
            return Err(io::Error::other("processes of the function cannot be ended"));
        }
        kill(group)?;
        for child in children() {
            ignore_exited(kill_process(child, Signal::KILL))?;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES[1]);
    }
    Ok(())
}

/// Reaps what the function has left and what has ended, but for the function itself: it would stay in
/// the table of processes until the function ends.
pub(crate) fn reap_orphans(function: Pid) {
    for child in children() {
        if child != function {
            // One that runs is left alone.
            waitpid(Some(child), WaitOptions::NOHANG).unwrap_or_default();
        }
    }
}

/// Reaps what has ended. True when no child is left. The function itself was reaped before.
fn reaped_all() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// The children of this process. Not reaped, so that none of the numbers can be another's.
fn children() -> Vec<Pid> {
    let raw = children_of(std::process::id());
    raw.into_iter().filter_map(|number| Pid::from_raw(number.cast_signed())).collect()
}

/// The children of a process, as the kernel lists them for each of its threads.
pub(crate) fn children_of(process: u32) -> Vec<u32> {
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| {
            read_kernel_file(&thread.path().join("children").to_string_lossy()).ok()
        })
        .flat_map(|list| {
            list.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

fn ignore_exited(killed: Result<(), Errno>) -> io::Result<()> {
    match killed {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What cannot be ended, such as a process in an uninterruptible call, does not hold the result back.
pub(crate) fn report_unstopped(stopped: io::Result<()>) {
    if let Err(error) = stopped {
        stdio::log_line(&format!("windlass worker: {error}"));
    }
}
