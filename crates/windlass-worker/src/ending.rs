//! The last words on an attempt, and where it is left for whoever missed the report.

use std::io;

use jiff::Timestamp;
use windlass_core::Outcome;
use windlass_core::assignment::{Assignment, Order, termination_message};
use windlass_core::report::{Ending, Event};
use windlass_core::status::{FailureReason, Progress, Usage};

use crate::clock::now;
use crate::interpreter::missing_interpreter;
use crate::report::Reporter;
use crate::stdio;
use crate::stop_signals::StopSignals;

/// A program that is not there stays so; what the machine lacks now it may have later.
pub(crate) fn cannot_start(order: &Order, error: &io::Error) -> Outcome {
    let program = order.program.command.first().map_or("", String::as_str);
    let reason = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
            FailureReason::CannotStart
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            FailureReason::CannotStart
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureReason::DiskExceeded,
        _ => FailureReason::Lost,
    };
    let place = order.program.directory.as_ref().map(|path| format!(" in {path}"));
    let place = place.unwrap_or_default();
    // What its inputs lack has words of its own.
    let is_of_spawn = error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error());
    let why = if is_of_spawn { missing_interpreter(&order.program) } else { None };
    let why = why.unwrap_or_else(|| error.to_string());
    Outcome::failed(reason, format!("{program:?} cannot be started{place}: {why}"))
}

pub(crate) fn ending(
    assignment: &Assignment,
    outcome: Outcome,
    started: Timestamp,
    running: Option<Timestamp>,
    usage: Option<Usage>,
    progress: Option<Progress>,
) -> Ending {
    let parallelism = assignment.parallelism;
    Ending { outcome, started, running, finished: now(), parallelism, usage, progress }
}

/// A stopped attempt is no failure of the job: it reads as lost and does not count.
pub(crate) fn stopped(assignment: &Assignment, started: Timestamp, running: Timestamp) -> Ending {
    let outcome = Outcome::failed(FailureReason::Lost, "the worker was told to stop");
    ending(assignment, outcome, started, Some(running), None, None)
}

pub(crate) fn leave_word(assignment: &Assignment, ending: &Ending) {
    if let Some(path) = &assignment.termination_message
        && let Err(error) = std::fs::write(path, termination_message(ending))
    {
        stdio::log_line(&format!("windlass worker: {path}: {error}"));
    }
}

/// Has a log kept, and then tells the last samples.
pub(crate) async fn send_last_words(
    reporter: &Reporter,
    log: Option<Vec<u8>>,
    samples: Option<Event>,
) {
    reporter.keep_log(log).await;
    reporter.send_last_usage(samples).await;
}

/// The same, unless the worker is told to stop meanwhile: then it has little time for the rest.
pub(crate) async fn keep_log(
    reporter: &Reporter,
    log: Option<Vec<u8>>,
    samples: Option<Event>,
    stop: &StopSignals,
) -> Option<u64> {
    let kept = tokio::select! {
        kept = reporter.keep_log(log) => kept,
        _ = stop.recv() => return None,
    };
    tokio::select! {
        () = reporter.send_last_usage(samples) => {}
        _ = stop.recv() => {}
    }
    kept
}
