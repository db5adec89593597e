//! How often a function's progress is reported.

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::contract::ProgressLine;
use windlass_core::report::Event;
use windlass_core::status::Progress;

use crate::progress::ProgressFile;
use crate::report::Reporter;

/// Least time between two reports of progress. Together they leave 100 ms of the 250 in which what a
/// function writes is to be with whoever follows it.
const PROGRESS_PACE: Duration = Duration::from_millis(100);

/// The latest progress that is not reported yet.
#[derive(Default)]
pub(crate) struct ProgressPace {
    unreported: Option<Event>,
    reported_at: Option<Instant>,
}

impl ProgressPace {
    /// Reads on, and reports unless that was done a moment ago. What was read, if anything was.
    pub(crate) fn report_progress(
        &mut self,
        file: &mut ProgressFile,
        clock: Instant,
        reporter: &mut Reporter,
    ) -> Option<Progress> {
        let mut read = None;
        if let Some(ProgressLine { done, total, message }) = file.latest() {
            let elapsed_seconds = clock.elapsed().as_secs_f64();
            read = Some(Progress::new(done, total, &message, elapsed_seconds));
            self.unreported = Some(Event::Progress { done, total, message, elapsed_seconds });
        }
        if self.reported_at.is_none_or(|at| at.elapsed() >= PROGRESS_PACE)
            && let Some(event) = self.unreported.take()
        {
            self.reported_at = Some(Instant::now());
            reporter.send(event);
        }
        read
    }
}
