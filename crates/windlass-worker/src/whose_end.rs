//! Whether the end of a function is its own, or that of whoever stops everything.

use std::time::Duration;

use tokio::time::timeout;

use crate::outcome::FunctionEnd;
use crate::report::Reporter;
use crate::stop_signals::{StopSignals, is_end_by_signal};

/// How long a function that was ended by a signal to stop waits for its judgement. Whoever stops every
/// process at once may reach the function before its worker.
const STOP_MOMENT: Duration = Duration::from_secs(1);

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
    let by_signal = matches!(end, FunctionEnd::Exited(status) if is_end_by_signal(status));
    let is_stopped = match by_signal {
        true => timeout(STOP_MOMENT, stopped).await.is_ok(),
        // What has come is seen; a timer of no time would take a millisecond.
        false => tokio::select! {
            biased;
            () = stopped => true,
            () = tokio::task::yield_now() => false,
        },
    };
    if is_stopped { FunctionEnd::Stopped } else { end }
}
