//! A function that runs for an attempt, whichever version of the contract it follows.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Pid;
use windlass_core::Cpus;
use windlass_core::assignment::{Order, Preparation, ReportTo};
use windlass_core::contract::{EXIT_BAD_INPUT, EXIT_FUNCTION_ERROR};
use windlass_core::status::Usage;

use crate::confine::MemoryWatch;
use crate::function::FunctionProcess;
use crate::outcome::FunctionEnd;
use crate::output_end::OutputEnd;
use crate::progress::ProgressFile;
use crate::serving::protocol::Answer;
use crate::serving::{ServingEnd, ServingFunction};
use crate::stdio::Relay;
use crate::usage;

/// A function that serves, with what holds it. It stays from one attempt to the next.
pub(crate) struct Warm {
    pub(crate) function: ServingFunction,
    pub(crate) memory: MemoryWatch,
}

impl Warm {
    /// Confines this process, and starts a function that serves.
    pub(crate) fn prepare(preparation: &Preparation) -> io::Result<Self> {
        let memory = MemoryWatch::confine(preparation.confinement.as_ref())?;
        keep_a_thread()?;
        Ok(Self { function: ServingFunction::start(preparation)?, memory })
    }
}

/// Waits until a function that has no job is ready or has ended; for ever without one.
pub(crate) async fn wait_warm(warm: &mut Option<Warm>) -> io::Result<Option<ServingEnd>> {
    match warm {
        Some(warm) => warm.function.wait().await,
        None => std::future::pending().await,
    }
}

/// A function that has been started for an attempt.
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub(crate) enum RunningFunction {
    /// One that runs once.
    Once { process: FunctionProcess, relay: Relay },
    /// One that serves, with its answer once there is one.
    Serving { function: ServingFunction, answer: Option<Answer> },
}

/// Starts a function once its `inputs` are there, or gives its job to one that waits. That is taken from `warm` only if
/// it has got the job.
pub(crate) async fn start(
    order: &Order,
    warm: &mut Option<Warm>,
    limit: Duration,
    inputs: impl Future<Output = io::Result<()>>,
) -> io::Result<(RunningFunction, MemoryWatch, ProgressFile)> {
    let assignment = &order.assignment;
    let confinement = assignment.confinement.as_ref();
    if !order.serves {
        let memory = MemoryWatch::confine(confinement)?;
        if matches!(assignment.report, ReportTo::Http { .. }) {
            keep_a_thread()?;
        }
        inputs.await?;
        let (mut process, progress) = FunctionProcess::start(order, limit)?;
        let end = OutputEnd::new(assignment.keep_log_bytes);
        let relay = Relay::start(process.take_output(), assignment.log.as_deref(), end);
        return Ok((RunningFunction::Once { process, relay }, memory, progress));
    }
    let preparation = || Preparation {
        program: order.program.clone(),
        confinement: assignment.confinement.clone(),
        input: assignment.input.clone(),
        work: assignment.work.clone(),
        has_logs: assignment.takes_stdout(),
    };
    let waiting = match warm {
        Some(waiting) => {
            waiting.memory.begin(confinement)?;
            waiting
        }
        None => warm.insert(Warm::prepare(&preparation())?),
    };
    inputs.await?;
    let progress = waiting.function.begin(order, limit)?;
    let Warm { function, memory } = warm.take().ok_or(io::ErrorKind::NotFound)?;
    Ok((RunningFunction::Serving { function, answer: None }, memory, progress))
}

impl RunningFunction {
    /// Its process group, which has the number of its first process.
    pub(crate) fn group(&self) -> Pid {
        match self {
            Self::Once { process, .. } => process.group(),
            Self::Serving { function, .. } => function.group(),
        }
    }

    /// Where the result is expected.
    pub(crate) fn output_path(&self) -> PathBuf {
        match self {
            Self::Once { process, .. } => process.output_path(),
            Self::Serving { function, .. } => function.output_path(),
        }
    }

    /// Whether it serves and has yet to say that it is ready.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self, Self::Serving { function, .. } if !function.is_ready())
    }

    /// Asks it to end its job and to stay. Whether it may do so: one that runs once has to be ended.
    pub(crate) fn cancel(&mut self) -> bool {
        match self {
            Self::Once { .. } => false,
            Self::Serving { function, .. } => function.cancel().is_ok(),
        }
    }

    /// Waits for the end of the attempt. Whoever stops waiting loses nothing.
    pub(crate) async fn wait(&mut self) -> io::Result<FunctionEnd> {
        let (function, kept) = match self {
            Self::Once { process, .. } => return Ok(FunctionEnd::Exited(process.wait().await?)),
            Self::Serving { function, answer } => (function, answer),
        };
        loop {
            return Ok(match function.wait().await? {
                // It is ready, and has its job now.
                None => continue,
                Some(ServingEnd::Answered(answer)) => {
                    let served = answer.served.clone();
                    *kept = Some(answer);
                    FunctionEnd::Answered(served)
                }
                Some(ServingEnd::Exited(status))
                    if is_answer_of_its_own(status.code(), function.is_ready()) =>
                {
                    let when =
                        if function.is_ready() { "answered" } else { "said that it was ready" };
                    let code = status.code().unwrap_or_default();
                    FunctionEnd::Broken(format!(
                        "exited with code {code} before it had {when}: a function that is warm must follow \
                         version 2 of the worker contract"
                    ))
                }
                Some(ServingEnd::Exited(status)) => FunctionEnd::Exited(status),
                Some(ServingEnd::Broken(why)) => FunctionEnd::Broken(why),
            });
        }
    }

    /// Ends what is left of it when its attempt is over: everything, unless it serves and has answered.
    pub(crate) async fn end_attempt(&mut self, grace: Duration) -> io::Result<()> {
        match self {
            Self::Once { process, .. } => process.stop(grace).await,
            Self::Serving { answer: Some(_), .. } => Ok(()),
            Self::Serving { function, answer: None } => function.stop(grace).await,
        }
    }

    /// The end of its stderr, once its attempt is over.
    pub(crate) async fn last_words(&mut self) -> String {
        match self {
            Self::Once { relay, .. } => relay.last_words().await,
            Self::Serving { function, .. } => function.last_words(),
        }
    }

    /// What is to be kept of what it has said, after its last words. Once.
    pub(crate) fn take_log(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Once { relay, .. } => relay.take_log(),
            Self::Serving { function, .. } => function.take_log(),
        }
    }

    /// What it has used.
    pub(crate) fn usage(&mut self, wall: Duration, cpus: Cpus) -> Usage {
        match self {
            Self::Once { .. } => usage::of_children(wall, cpus),
            Self::Serving { function, .. } => function.usage(wall, cpus),
        }
    }
}

/// Exit codes by which a function that runs once says something of its job. One that serves says it in its answer, but
/// for an error that keeps it from ever being ready.
fn is_answer_of_its_own(code: Option<i32>, is_ready: bool) -> bool {
    const NO_CONTRACT: i32 = 2;
    let answers = [0, i32::from(EXIT_BAD_INPUT), NO_CONTRACT].map(Some);
    answers.contains(&code) || is_ready && code == Some(i32::from(EXIT_FUNCTION_ERROR))
}

/// Has a thread for names and files from now on: what would start the first one later panics where the function
/// has left no room for any.
fn keep_a_thread() -> io::Result<()> {
    // The same is tried first by somebody who can say no.
    std::thread::Builder::new().spawn(|| ())?;
    drop(tokio::task::spawn_blocking(|| ()));
    Ok(())
}
