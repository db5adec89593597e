//! One attempt from its start to its last word.

use std::io;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use windlass_core::Outcome;
use windlass_core::assignment::{Assignment, Order, termination_message};
use windlass_core::report::{Ending, Event};
use windlass_core::status::{FailureReason, Progress, Usage};

use crate::confine::Memory;
use crate::function::Function;
use crate::outcome::{End, Output, judge};
use crate::output::Relay;
use crate::report::Reporter;
use crate::result::Taken;
use crate::{output, result, usage};

/// Least time between two looks at the progress file, and at the memory. A look at a file that has not
/// grown is one system call.
const LOOK: Duration = Duration::from_millis(50);

/// Least time between two tellings of progress. Together they leave 100 ms of the 250 in which what a
/// function writes is to be with whoever follows it.
const PROGRESS_PACE: Duration = Duration::from_millis(100);

/// How long the outcome may still take to be told after SIGTERM. A pod is killed 5 s after its
/// function's grace.
const LAST_CHANCE: Duration = Duration::from_secs(4);

const SUCCEEDED: u8 = 0;
const FAILED: u8 = 1;
const STOPPED: u8 = 143;

/// Runs the function and reports. Returns the worker's exit code.
pub(crate) async fn supervise(order: &Order, grace: Duration) -> io::Result<u8> {
    let assignment = &order.assignment;
    let started = now();
    // Before the function starts, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reporter = Reporter::open(assignment)?;
    let clock = Instant::now();
    let limit = Duration::from_secs(u64::from(assignment.timeout_seconds));

    let begun = Memory::of(assignment.confinement.as_ref())
        .and_then(|memory| Ok((memory, Function::start(order, limit)?)));
    let (mut memory, (mut function, mut progress)) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let outcome = cannot_start(order, &error);
            let ending = ending(assignment, outcome, started, None, None, None);
            return finish(assignment, &mut reporter, ending, clock + limit, &mut terminate).await;
        }
    };
    let running = now();
    let process_group = Some(function.group());
    reporter.tell(Event::Running { started, running, process_group });
    let relay = Relay::start(function.take_output(), assignment.log.as_deref());

    let mut last_progress = None;
    let mut untold = None;
    let mut told_at = None::<Instant>;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            // An end that has happened counts before a request to make one.
            biased;
            status = function.wait() => break End::Exited(status?),
            _ = terminate.recv() => break End::Stopped,
            _ = interrupt.recv() => break End::Stopped,
            () = reporter.gone() => break End::Stopped,
            () = sleep_until(clock + limit) => break End::TimedOut(limit),
            _ = ticks.tick() => {
                if let Some(bytes) = memory.exceeded() {
                    break End::OutOfMemory(bytes);
                }
                if let Some(line) = progress.latest() {
                    let elapsed_seconds = clock.elapsed().as_secs_f64();
                    let known = Progress::new(line.done, line.total, &line.message, elapsed_seconds);
                    last_progress = Some(known);
                    let (done, total, message) = (line.done, line.total, line.message);
                    untold = Some(Event::Progress { done, total, message, elapsed_seconds });
                }
                if told_at.is_none_or(|at| at.elapsed() >= PROGRESS_PACE)
                    && let Some(event) = untold.take()
                {
                    told_at = Some(Instant::now());
                    reporter.tell(event);
                }
            }
        }
    };
    if let Err(error) = function.stop(grace).await {
        // What cannot be ended, such as a process in an uninterruptible call, does not hold the
        // result back.
        output::tell(&format!("windlass worker: {error}"));
    }
    let wall = clock.elapsed();
    let finished = now();
    let stderr = relay.last_words().await;
    if matches!(end, End::Stopped) {
        leave_word(assignment, &stopped(assignment, started, running));
        return Ok(STOPPED);
    }
    if let Some(line) = progress.latest() {
        let elapsed = wall.as_secs_f64();
        last_progress = Some(Progress::new(line.done, line.total, &line.message, elapsed));
    }
    let usage = usage::of_children(wall, assignment.parallelism);
    let output = if matches!(end, End::Exited(status) if status.success()) {
        match result::take(assignment, &function.output_path()) {
            Taken::Output(output) => output,
            Taken::Large(large) => tokio::select! {
                output = reporter.store(&large, clock + limit) => output,
                _ = terminate.recv() => {
                    leave_word(assignment, &stopped(assignment, started, running));
                    return Ok(STOPPED);
                }
            },
        }
    } else {
        Output::None
    };
    let outcome = judge(end, output, &stderr, memory.was_short());
    let ending = Ending {
        finished,
        ..ending(assignment, outcome, started, Some(running), Some(usage), last_progress)
    };
    finish(assignment, &mut reporter, ending, clock + limit, &mut terminate).await
}

/// A program that is not there stays so; what the machine lacks now it may have later.
fn cannot_start(order: &Order, error: &io::Error) -> Outcome {
    let program = order.command.first().map_or("", String::as_str);
    let reason = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
            FailureReason::CannotStart
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            FailureReason::CannotStart
        }
        _ => FailureReason::Lost,
    };
    Outcome::failed(reason, format!("{program:?} cannot be started: {error}"))
}

fn ending(
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
fn stopped(assignment: &Assignment, started: Timestamp, running: Timestamp) -> Ending {
    let outcome = Outcome::failed(FailureReason::Lost, "the worker was told to stop");
    ending(assignment, outcome, started, Some(running), None, None)
}

/// Leaves the outcome in the termination message and reports it.
async fn finish(
    assignment: &Assignment,
    reporter: &mut Reporter,
    ending: Ending,
    deadline: Instant,
    terminate: &mut tokio::signal::unix::Signal,
) -> io::Result<u8> {
    // First, so that a crash in between leaves it.
    leave_word(assignment, &ending);
    let succeeded = matches!(ending.outcome, Outcome::Succeeded(_));
    let mut told = std::pin::pin!(reporter.finish(ending, deadline));
    tokio::select! {
        () = &mut told => {}
        _ = terminate.recv() => {
            // Its pod is being ended, but a gateway that is there still takes the outcome.
            if timeout(LAST_CHANCE, told).await.is_err() {
                output::tell("windlass worker: stopped before the outcome was taken");
            }
        }
    }
    Ok(if succeeded { SUCCEEDED } else { FAILED })
}

fn leave_word(assignment: &Assignment, ending: &Ending) {
    if let Some(path) = &assignment.termination_message
        && let Err(error) = std::fs::write(path, termination_message(ending))
    {
        output::tell(&format!("windlass worker: {path}: {error}"));
    }
}

/// The time, in whole milliseconds: what is told is read by people.
fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}
