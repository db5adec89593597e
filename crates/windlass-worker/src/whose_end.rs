//! Whether the end of a function is its own, or that of whoever stops everything.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::timeout;
use windlass_core::contract::{EXIT_BAD_INPUT, EXIT_FUNCTION_ERROR};

use crate::outcome::FunctionEnd;
use crate::report::Reporter;
use crate::stop_signals::{StopSignals, is_end_by_signal};

/// How long a function that was ended by a signal to stop waits for its judgement. Whoever stops every
/// process at once may reach the function before its worker.
const STOP_MOMENT: Duration = Duration::from_secs(1);

/// How long one that has crashed waits for it: perhaps a process that it waited for was ended by such a signal, and so it
/// gave up. One that has succeeded, or says what is wrong, waits for nothing.
const CRASH_MOMENT: Duration = Duration::from_millis(250);

/// Whether the function has ended by itself. While a stop is under way that cannot be known: the same
/// signals may have reached the function, or a part of it that it waited for.
pub(crate) async fn whose_end(
    end: FunctionEnd,
    stop: &StopSignals,
    reporter: &Reporter,
) -> FunctionEnd {
    let stopped = async {
        tokio::select! {
            _ = stop.recv() => {}
            _ = reporter.server_says() => {}
        }
    };
    let moment = match end {
        FunctionEnd::Exited(status) if is_end_by_signal(status) => Some(STOP_MOMENT),
        FunctionEnd::Exited(status) if is_crash(status) => Some(CRASH_MOMENT),
        _ => None,
    };
    let is_stopped = match moment {
        Some(moment) => timeout(moment, stopped).await.is_ok(),
        // What has come is seen; a timer of no time would take a millisecond.
        None => tokio::select! {
            biased;
            () = stopped => true,
            () = tokio::task::yield_now() => false,
        },
    };
    if is_stopped { FunctionEnd::Stopped } else { end }
}

/// Whether a function that has exited says neither that all is well nor what is wrong.
fn is_crash(status: ExitStatus) -> bool {
    let known = [0, EXIT_BAD_INPUT, EXIT_FUNCTION_ERROR].map(i32::from);
    status.code().is_none_or(|code| !known.contains(&code))
}
