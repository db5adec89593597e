//! The signals that ask a process to stop, and what ends by them.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::ExitStatus;
use std::task::{Context, Poll, Waker};

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::coop::unconstrained;

/// What a service manager, a terminal that closes and Ctrl-C send.
const NUMBERS: [i32; 3] = [Number::TERM.as_raw(), Number::INT.as_raw(), Number::HUP.as_raw()];

/// The signals of this process that ask it to stop.
#[derive(Debug)]
pub struct StopSignals {
    signals: Vec<Signal>,
    /// One has come. A stop is never taken back.
    have_come: bool,
}

impl StopSignals {
    /// Listens from now on. SIGHUP counts unless whoever started this process ignores it, as `nohup`
    /// does.
    pub fn listen() -> io::Result<Self> {
        let heeded = NUMBERS.into_iter().filter(|number| {
            *number != Number::HUP.as_raw() || !is_ignored(*number, &own_status())
        });
        let signals = heeded.map(|number| signal(SignalKind::from_raw(number)));
        Ok(Self { signals: signals.collect::<io::Result<_>>()?, have_come: false })
    }

    /// Returns once one has come.
    pub async fn recv(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    /// Whether one has come. After [`settle`], one that was sent before what the caller has just seen
    /// counts for sure.
    pub fn have_come(&mut self) -> bool {
        self.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for signal in &mut self.signals {
            // Without a budget: an answer must not depend on how much this task has done before.
            self.have_come |= pin!(unconstrained(signal.recv())).poll(cx).is_ready();
        }
        if self.have_come { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Lets the runtime take in the signals that have come before this call.
pub async fn settle() {
    // The runtime looks at its signals before it goes on with a task that has yielded.
    tokio::task::yield_now().await;
}

/// Whether a process was ended by a signal that asks to stop, or says so, as a shell does of a command
/// that was.
pub(crate) fn is_end_by_signal(status: ExitStatus) -> bool {
    let number = status.signal().or_else(|| status.code().map(|code| code - 128));
    number.is_some_and(|number| NUMBERS.contains(&number))
}

/// Ends of child processes are told to this process from now on, also where whoever started it had
/// them ignored.
pub fn heed_children() -> io::Result<Signal> {
    signal(SignalKind::child())
}

fn own_status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
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
    async fn a_signal_counts_for_ever_however_busy_the_task_is() {
        let mut signals = StopSignals::listen().unwrap();
        assert!(!signals.have_come());
        rustix::process::kill_process(rustix::process::getpid(), Number::HUP).unwrap();
        // Another thread of this test's process takes it.
        let started = std::time::Instant::now();
        while !signals.have_come() && started.elapsed() < std::time::Duration::from_secs(30) {
            settle().await;
        }
        for _ in 0..1_000 {
            assert!(signals.have_come());
            signals.recv().await;
        }
    }
}
