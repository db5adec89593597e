//! The first process of a container, which is to wait for every process that has lost its parent, or they stay in the
//! table of processes for ever. A server waits for its workers alone. So the first process starts the server as
//! another one, waits for all, and passes on that it should stop.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::Signal as Ends;
use windlass_worker::stop_signals::{StopSignals, heed_children};

/// The program that runs, also when its file is gone.
const PROGRAM: &str = "/proc/self/exe";

/// Whether this is the first process of its container.
pub(crate) fn is_this() -> bool {
    std::process::id() == 1
}

/// Runs this command line as another process, and ends as that does. With it everything else ends.
pub(crate) async fn stand_in() -> anyhow::Result<ExitCode> {
    let signals = StopSignals::listen()?;
    let mut ends = heed_children()?;
    let mut words = std::env::args_os();
    let mut server = Command::new(PROGRAM);
    server.arg0(words.next().unwrap_or_else(|| "windlass".into())).args(words);
    let server = server.spawn().context("the server cannot be started")?;
    let server = i32::try_from(server.id()).ok().and_then(Pid::from_raw).context("its number")?;
    tokio::select! {
        code = ended(server, &mut ends) => return code,
        stop = signals.recv() => stop?,
    }
    // Nobody has waited for it yet, so that no other process can have its number.
    kill_process(server, Signal::TERM)?;
    ended(server, &mut ends).await
}

/// Waits for all that end, until that is the server.
async fn ended(server: Pid, ends: &mut Ends) -> anyhow::Result<ExitCode> {
    loop {
        while let Some((process, status)) = wait(WaitOptions::NOHANG)? {
            if process == server {
                return Ok(code(status));
            }
        }
        ends.recv().await;
    }
}

/// As a shell says it.
fn code(status: WaitStatus) -> ExitCode {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}
