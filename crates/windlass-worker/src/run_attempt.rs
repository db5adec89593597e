//! One attempt from its start to its last word.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use windlass_core::Outcome;
use windlass_core::assignment::{Assignment, Idle, Order, RunAs};
use windlass_core::report::{Ending, Event};
use windlass_core::status::{Progress, Usage};

use crate::clock::now;
use crate::confine::MemoryWatch;
use crate::disk::DiskWatch;
use crate::ending::{cannot_start, ending, keep_log, leave_word, send_last_words, stopped};
use crate::outcome::{FunctionEnd, FunctionOutput, decide_outcome, tell_limit};
use crate::output_file::{CollectedOutput, collect_output, collect_text};
use crate::pace::ProgressPace;
use crate::progress::ProgressFile;
use crate::report::{Reporter, ServerSays};
use crate::running::{RunningFunction, Warm};
use crate::serving::protocol::Served;
use crate::signals::Signals;
use crate::stop::report_unstopped;
use crate::stop_signals::StopSignals;
use crate::usage_file::UsageSamples;
use crate::whose_end::whose_end;
use crate::{fence, inputs, running, stdio, stop};

/// Least time between two reads of the progress file, and of the memory. Reading a file that has not
/// grown is one system call.
const POLL: Duration = Duration::from_millis(50);

/// How long the outcome may still take to be reported after SIGTERM. A pod is killed 5 s after its
/// function's grace.
const LAST_CHANCE: Duration = Duration::from_secs(4);

/// When it is told that a function runs: most that are called are over by then.
const RUNNING_DELAY: Duration = Duration::from_millis(3);

/// The same where it costs a write: on a standby. What ends sooner costs none.
const STANDBY_RUNNING_DELAY: Duration = Duration::from_secs(2);

/// How long what a function had computed before it failed may take to be stored.
const PARTIAL_PATIENCE: Duration = Duration::from_secs(20);

/// How long a function that is replaced may take to end before it is killed.
const REPLACED_GRACE: Duration = Duration::from_secs(1);

const SUCCEEDED: u8 = 0;
pub(crate) const FAILED: u8 = 1;
pub(crate) const STOPPED: u8 = 143;

/// What is known of the attempt from its start on.
struct Attempt<'a> {
    assignment: &'a Assignment,
    started: Timestamp,
    clock: Instant,
    limit: Duration,
    grace: Duration,
}

/// A function that has been started, and what watches it.
struct Running {
    since: Timestamp,
    memory: MemoryWatch,
    function: RunningFunction,
    progress: ProgressFile,
    last_progress: Option<Progress>,
    /// That it runs, until that is told.
    untold: Option<Event>,
    /// What the function uses over time.
    usage: Option<UsageSamples>,
}

/// What is left when an attempt is over.
pub(crate) struct AttemptEnd {
    /// The worker's exit code, if it has nothing else to do.
    pub(crate) code: u8,
    /// The function, if it serves and waits for another job. A server on this machine was told so.
    pub(crate) waits: Option<Warm>,
}

impl From<u8> for AttemptEnd {
    fn from(code: u8) -> Self {
        Self { code, waits: None }
    }
}

/// Runs the function and reports. `warm` is the function where it waits for an order already.
pub(crate) async fn run_attempt(
    order: &Order,
    warm: Option<Warm>,
    signals: &mut Signals,
    grace: Duration,
) -> io::Result<AttemptEnd> {
    let assignment = &order.assignment;
    let mut reporter = Reporter::open(assignment)?;
    let clock = Instant::now();
    let limit = Duration::from_secs(u64::from(assignment.timeout_seconds));
    let mut attempt = Attempt { assignment, started: now(), clock, limit, grace };
    let mut warm = unless_ended(warm, grace).await;
    let started = tokio::select! {
        biased;
        _ = signals.stop.recv() => None,
        started = attempt.start(order, &mut warm, &reporter) => Some(started),
    };
    let mut running = match started {
        Some(Ok(running)) => running,
        unstarted => {
            if let Some(mut waiting) = warm {
                report_unstopped(waiting.function.stop(grace).await);
            }
            let Some(Err(error)) = unstarted else {
                leave_word(assignment, &stopped(assignment, attempt.started, attempt.started));
                return Ok(STOPPED.into());
            };
            let outcome = cannot_start(order, &error);
            let ending = ending(assignment, outcome, attempt.started, None, None, None);
            return Ok(attempt.finish(&mut reporter, ending, None, &signals.stop).await?.into());
        }
    };
    let end = attempt.until_end(&mut running, &mut reporter, signals).await?;
    let is_cancelled = matches!(end, FunctionEnd::Cancelled);
    // One that has not obeyed a cancel has had its grace.
    report_unstopped(running.function.end_attempt(attempt.grace).await);
    let ending = attempt.conclude(order, end, &mut running, &reporter, &signals.stop).await;
    // Before the end is told: whoever hears of it may send the next job at once.
    let settled = match &mut running.function {
        RunningFunction::Serving { .. } if ending.is_none() && !is_cancelled => {
            Some(Err("the worker was told to stop".to_owned()))
        }
        RunningFunction::Serving { function, answer: Some(answer) } => {
            Some(function.settle(answer, assignment))
        }
        _ => None,
    };
    let code = attempt.report_end(&mut reporter, ending, settled.as_ref(), &signals.stop).await?;
    let Running { memory, function, .. } = running;
    let (RunningFunction::Serving { function, answer: Some(_) }, Some(settled)) =
        (function, settled)
    else {
        return Ok(code.into());
    };
    let waits = unless_unsettled(Warm { function, memory }, settled, grace).await;
    Ok(AttemptEnd { code, waits })
}

/// The function that waited for this job. If somebody has ended it meanwhile, what it had started ends before there is
/// another.
async fn unless_ended(warm: Option<Warm>, grace: Duration) -> Option<Warm> {
    let mut waiting = warm?;
    if !waiting.function.has_ended() {
        return Some(waiting);
    }
    report_unstopped(waiting.function.stop(grace).await);
    report_unstopped(waiting.function.clear());
    None
}

/// The function, to wait for another job. It is ended where it has not settled.
async fn unless_unsettled(
    mut warm: Warm,
    settled: Result<Idle, String>,
    grace: Duration,
) -> Option<Warm> {
    match settled {
        Ok(_) => Some(warm),
        Err(why) => {
            stdio::log_line(&format!("windlass worker: the function's process is replaced: {why}"));
            report_unstopped(warm.function.stop(REPLACED_GRACE.min(grace)).await);
            None
        }
    }
}

impl Attempt<'_> {
    /// Starts the function.
    async fn start(
        &mut self,
        order: &Order,
        warm: &mut Option<Warm>,
        reporter: &Reporter,
    ) -> io::Result<Running> {
        let inputs = inputs::fetch(order, reporter, self.deadline());
        let (function, memory, progress) = running::start(order, warm, self.limit, inputs).await?;
        if self.assignment.inputs.is_some() {
            // The function's time begins when its blobs are there.
            self.clock = Instant::now();
        }
        let since = now();
        let process_group = Some(function.group().as_raw_pid().cast_unsigned());
        let untold = Some(Event::Running { started: self.started, running: since, process_group });
        let usage = UsageSamples::of_attempt(self.assignment);
        Ok(Running { since, memory, function, progress, last_progress: None, untold, usage })
    }

    /// Judges how the function ended. `None` when it was stopped: then nothing is reported.
    async fn conclude(
        &self,
        order: &Order,
        end: FunctionEnd,
        running: &mut Running,
        reporter: &Reporter,
        stop: &StopSignals,
    ) -> Option<Ending> {
        let (assignment, started) = (self.assignment, self.started);
        let (wall, finished) = (self.clock.elapsed(), now());
        let Running { since, memory, function, progress, last_progress, usage: samples, .. } =
            running;
        let stderr = function.last_words().await;
        let log = function.take_log();
        let samples = samples.as_ref().and_then(UsageSamples::last_event);
        let stopped = stopped(assignment, started, *since);
        if matches!(end, FunctionEnd::Stopped | FunctionEnd::Cancelled) {
            leave_word(assignment, &stopped);
            // It is of no more use than the attempt, but may say why somebody has ended that.
            let sent = send_last_words(reporter, log, samples);
            timeout(LAST_CHANCE, sent).await.unwrap_or_default();
            return None;
        }
        if let Some(line) = progress.latest() {
            let elapsed = wall.as_secs_f64();
            *last_progress = Some(Progress::new(line.done, line.total, &line.message, elapsed));
        }
        let usage = function.usage(wall, assignment.parallelism);
        let path = function.output_path();
        let user = order.program.run_as.as_ref();
        let result = self.collect_result(&end, user, &path, reporter, stop);
        let kept = keep_log(reporter, log, samples, stop);
        let (log_bytes, output) = tokio::join!(kept, result);
        let Some(output) = output else {
            leave_word(assignment, &stopped);
            return None;
        };
        let mut usage = Usage { log_bytes, ..usage };
        let was_short = !end.is_success() && memory.was_short();
        let mut outcome = decide_outcome(end, output, &stderr, was_short);
        tell_limit(&mut outcome, &mut usage, memory.limit());
        if let (Some(hidden), Outcome::Failed { message, .. }) =
            (&order.program.hidden, &mut outcome)
        {
            message.push_str(&fence::hint(&stderr, hidden).unwrap_or_default());
        }
        let progress = last_progress.take();
        let ending = ending(assignment, outcome, started, Some(*since), Some(usage), progress);
        Some(Ending { finished, ..ending })
    }

    /// Reports progress until the function has ended or has to be ended.
    async fn until_end(
        &self,
        running: &mut Running,
        reporter: &mut Reporter,
        signals: &mut Signals,
    ) -> io::Result<FunctionEnd> {
        let Running { memory, function, progress, last_progress, untold, usage, .. } = running;
        let delay = if self.assignment.on_standby { STANDBY_RUNNING_DELAY } else { RUNNING_DELAY };
        let tell_at = self.clock + delay;
        // When a function whose job was cancelled is ended.
        let mut cancelled = None::<Instant>;
        let (mut pace, mut has_orphans) = (ProgressPace::default(), false);
        let mut disk = DiskWatch::new(Path::new(&self.assignment.work), self.assignment.disk_bytes);
        let mut ticks = interval_at(self.clock + POLL, POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A request to stop counts before an end that has happened: it may have caused it.
                biased;
                stop = signals.stop.recv() => return stop.map(|()| FunctionEnd::Stopped),
                said = reporter.server_says(), if cancelled.is_none() => match said {
                    ServerSays::Cancel if function.cancel() => {
                        cancelled = Some(Instant::now() + self.grace);
                    }
                    ServerSays::Cancel | ServerSays::Closed => return Ok(FunctionEnd::Stopped),
                },
                end = function.wait() => return Ok(match (cancelled, end?) {
                    (None, end) => whose_end(end, &signals.stop, reporter).await,
                    (Some(_), FunctionEnd::Answered(_)) => FunctionEnd::Cancelled,
                    (Some(_), _) => FunctionEnd::Stopped,
                }),
                () = sleep_until(cancelled.unwrap_or(tell_at)), if cancelled.is_some() => {
                    return Ok(FunctionEnd::Stopped);
                }
                () = sleep_until(tell_at), if untold.is_some() => {
                    untold.take().into_iter().for_each(|event| reporter.send(event));
                }
                _ = signals.children.recv() => has_orphans = true,
                () = sleep_until(self.deadline()) => {
                    return Ok(FunctionEnd::TimedOut { limit: self.limit, was_starting: function.is_starting() });
                }
                _ = ticks.tick() => {
                    if std::mem::take(&mut has_orphans) {
                        stop::reap_orphans(function.group());
                    }
                    if let Some(bytes) = memory.exceeded() {
                        return Ok(FunctionEnd::OutOfMemory(bytes));
                    }
                    if let Some(bytes) = disk.exceeded() {
                        return Ok(FunctionEnd::DiskExceeded(bytes));
                    }
                    usage.iter_mut().for_each(|usage| usage.report_new(reporter));
                    if let Some(told) = pace.report_progress(progress, self.clock, reporter) {
                        *last_progress = Some(told);
                    }
                }
            }
        }
    }

    /// The result of a function that has succeeded, or what one that has raised an error had computed before. `None`
    /// when SIGTERM came while the gateway was to store a result.
    async fn collect_result(
        &self,
        end: &FunctionEnd,
        user: Option<&RunAs>,
        path: &Path,
        reporter: &Reporter,
        stop: &StopSignals,
    ) -> Option<FunctionOutput> {
        let is_partial = end.may_be_partial();
        if !end.is_success() && !is_partial {
            return Some(FunctionOutput::None);
        }
        let collected = match end {
            FunctionEnd::Answered(Served::Done(Some(text))) => {
                collect_text(self.assignment, user, text, path)
            }
            _ => collect_output(self.assignment, user, path),
        };
        let output = match collected {
            CollectedOutput::Final(output) => output,
            CollectedOutput::ToUpload(large) => tokio::select! {
                output = reporter.store(&large, self.deadline()) => output,
                // That the function has failed waits no longer for what it had computed.
                () = sleep(PARTIAL_PATIENCE), if is_partial => FunctionOutput::Lost("reached nobody in time".into()),
                _ = stop.recv() => return is_partial.then_some(FunctionOutput::None),
            },
        };
        if let FunctionOutput::TooLarge(why)
        | FunctionOutput::Unusable(why)
        | FunctionOutput::Lost(why) = &output
            && is_partial
        {
            stdio::log_line(&format!("windlass worker: what was computed is not kept: it {why}"));
        }
        Some(output)
    }

    /// When the attempt has taken as long as it may.
    fn deadline(&self) -> Instant {
        self.clock + self.limit
    }

    /// Reports the end, unless the attempt was stopped; and with how many bytes its function waits, if it does.
    async fn report_end(
        &self,
        reporter: &mut Reporter,
        ending: Option<Ending>,
        settled: Option<&Result<Idle, String>>,
        stop: &StopSignals,
    ) -> io::Result<u8> {
        if let Some(ending) = ending {
            return self.finish(reporter, ending, settled, stop).await;
        }
        reporter.say_settled(settled.filter(|settled| settled.is_ok())).await;
        Ok(STOPPED)
    }

    /// Leaves the outcome in the termination message and reports it, with whether its function waits.
    async fn finish(
        &self,
        reporter: &mut Reporter,
        ending: Ending,
        settled: Option<&Result<Idle, String>>,
        stop: &StopSignals,
    ) -> io::Result<u8> {
        // First, so that a crash in between leaves it.
        leave_word(self.assignment, &ending);
        let succeeded = matches!(ending.outcome, Outcome::Succeeded(_));
        let mut reported = std::pin::pin!(reporter.finish(ending, settled, self.deadline()));
        tokio::select! {
            () = &mut reported => {}
            _ = stop.recv() => {
                // Its pod is being ended, but a gateway that is there still takes the outcome.
                if timeout(LAST_CHANCE, reported).await.is_err() {
                    stdio::log_line("windlass worker: stopped before the outcome was taken");
                }
            }
        }
        Ok(if succeeded { SUCCEEDED } else { FAILED })
    }
}
