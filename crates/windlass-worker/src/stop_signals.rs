//! The signals that ask a process to stop, and what ends by them.
//!
//! They are blocked and read from a descriptor. A handler might run late, on another thread, when what
//! the same stop has done to a function is known already. A signal that waits to be read is there from
//! the moment at which it was sent.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::watch;

/// What a service manager, a terminal that closes and Ctrl-C send.
const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The signals of this process that ask it to stop. A clone is told of the same ones.
#[derive(Clone, Debug)]
pub struct StopSignals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    waiting: AsyncFd<SignalFd>,
    /// One has come. A stop is never taken back. Whoever takes a signal tells the others, who do not
    /// see it any more.
    come: watch::Sender<bool>,
}

/// Has the signals wait for [`StopSignals`]. Before this process starts any thread, because one that
/// does not block them is ended by them. SIGHUP counts unless whoever started this process ignores it,
/// as `nohup` does.
pub fn block() -> io::Result<()> {
    Ok(heeded().thread_block()?)
}

/// Lets the signals through again. For a process that was forked and is about to be another program;
/// it makes one system call and allocates nothing.
pub(crate) fn unblock() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

impl StopSignals {
    /// Those that have come since [`block`], and those that come.
    pub fn listen() -> io::Result<Self> {
        block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that it owns; the other one is unsafe"
        )]
        let waiting = AsyncFd::new(SignalFd::with_flags(&heeded(), flags)?)?;
        Ok(Self(Arc::new(Inner { waiting, come: watch::Sender::new(false) })))
    }

    /// Returns once one has come.
    pub async fn recv(&self) -> io::Result<()> {
        let mut told = self.0.come.subscribe();
        while !self.have_come() {
            tokio::select! {
                ready = self.0.waiting.readable() => {
                    let mut ready = ready?;
                    if !self.have_come() {
                        ready.clear_ready();
                    }
                }
                _ = told.changed() => {}
            }
        }
        Ok(())
    }

    /// Whether one has come. One that was sent before what the caller has just seen counts for sure.
    pub fn have_come(&self) -> bool {
        let Inner { waiting, come } = &*self.0;
        if let Ok(Some(_)) = waiting.get_ref().read_signal() {
            come.send_replace(true);
        }
        *come.borrow()
    }
}

fn heeded() -> SigSet {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_heeded =
        |signal: &Signal| *signal != Signal::SIGHUP || !is_ignored(*signal as i32, &status);
    SIGNALS.into_iter().filter(is_heeded).collect()
}

/// Whether a process was ended by a signal that asks to stop, or says so, as a shell does of a command
/// that was.
pub(crate) fn is_end_by_signal(status: ExitStatus) -> bool {
    let number = status.signal().or_else(|| status.code().map(|code| code - 128));
    number.is_some_and(|number| SIGNALS.iter().any(|signal| *signal as i32 == number))
}

/// Ends of child processes are told to this process from now on, also where whoever started it had
/// them ignored.
pub fn heed_children() -> io::Result<Stream> {
    signal(SignalKind::child())
}

/// Whether whoever started this process has it ignore that a terminal closes.
pub fn ignores_hangup() -> bool {
    !heeded().contains(Signal::SIGHUP)
}

/// Whether a process, by its `/proc/PID/status`, ignores a signal.
fn is_ignored(number: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (number - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_by_a_stop_are_told_from_others() {
        for number in [1, 2, 15] {
            assert!(is_end_by_signal(ExitStatus::from_raw(number)), "{number}");
            assert!(is_end_by_signal(ExitStatus::from_raw((128 + number) << 8)), "{number}");
        }
        for raw in [0, 9, 11, 1 << 8, 65 << 8, (128 + 9) << 8] {
            assert!(!is_end_by_signal(ExitStatus::from_raw(raw)), "{raw}");
        }
    }

    #[test]
    fn what_nohup_ignores_is_ignored() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(1, status) && is_ignored(13, status) && !is_ignored(15, status));
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_a_signal_that_another_has_taken() {
        let signals = StopSignals::listen().unwrap();
        let waits = tokio::spawn({
            let signals = signals.clone();
            async move { signals.recv().await }
        });
        tokio::task::yield_now().await;
        // To this thread alone: another one of the tests' process is ended by it.
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        // Before the runtime can look.
        assert!(signals.have_come());
        tokio::time::timeout(std::time::Duration::from_secs(30), waits)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}
