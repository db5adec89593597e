//! Ending a process group.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, wait,
};

/// First and longest pause between two looks at a group that was killed.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];

/// How long a killed group may take: a process in an uninterruptible system call dies late.
const LONGEST: Duration = Duration::from_secs(30);

/// Asks every process of the group to stop.
pub(crate) fn ask(group: Pid) -> io::Result<()> {
    gone_is_fine(kill_process_group(group, Signal::TERM))
}

/// Ends every process of the group.
pub(crate) fn kill(group: Pid) -> io::Result<()> {
    gone_is_fine(kill_process_group(group, Signal::KILL))
}

/// Ends and reaps what is left of the group after its leader. Returns when it is empty.
pub(crate) async fn empty(group: Pid) -> io::Result<()> {
    let started = tokio::time::Instant::now();
    let mut pause = PAUSES[0];
    loop {
        reap();
        match test_kill_process_group(group) {
            Err(Errno::SRCH) => return Ok(()),
            _ if started.elapsed() > LONGEST => {
                return Err(io::Error::other("processes of the function cannot be ended"));
            }
            _ => kill(group)?,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Reaps what was orphaned to this process. The function itself was reaped before.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

fn gone_is_fine(killed: Result<(), Errno>) -> io::Result<()> {
    match killed {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
