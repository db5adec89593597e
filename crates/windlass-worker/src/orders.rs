//! What a worker on one machine is told, one instruction after another, for as long as its function serves.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use windlass_core::assignment::{Idle, Instruction, NeverReady};

use crate::json_line::json_line;
use crate::report::inherited_socket;
use crate::run_attempt::{AttemptEnd, run_attempt};
use crate::running::{Warm, wait_warm};
use crate::serving::ServingEnd;
use crate::signals::Signals;
use crate::stdio::log_line;
use crate::stop;

/// How long a function that has nothing to do may take to end before it is killed.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// The server's end of the socket says these.
struct Instructions {
    reader: BufReader<UnixStream>,
    writer: StdUnixStream,
    /// What was read of a line.
    line: Vec<u8>,
}

impl Instructions {
    /// The next one; `None` when the server is gone. Whoever stops waiting loses nothing.
    async fn next(&mut self) -> io::Result<Option<Instruction>> {
        self.reader.read_until(b'\n', &mut self.line).await?;
        if !self.line.ends_with(b"\n") {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&std::mem::take(&mut self.line))?))
    }

    /// Whether the server has said more than what was read of it so far.
    fn has_more(&self) -> bool {
        !self.reader.buffer().is_empty()
    }

    /// Says that the function waits for an order.
    fn say_idle(&mut self, idle_memory_bytes: u64) -> io::Result<()> {
        self.writer.write_all(&json_line(&Idle { idle_memory_bytes, replaced: None }))
    }

    /// Says why the function never was ready.
    fn say_never_ready(&mut self, why: String) -> io::Result<()> {
        self.writer.write_all(&json_line(&NeverReady { why }))
    }
}

/// What comes next while no attempt runs.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Next {
    Instruction(Instruction),
    /// The server is gone, or has asked this process to end.
    Stop,
    /// A child has ended.
    Child,
    /// The function that was prepared is ready.
    Ready,
    /// The function has ended.
    Gone(ServingEnd),
}

/// Carries out instructions until there are no more. Returns the worker's exit code.
pub(crate) async fn follow(signals: &mut Signals, grace: Duration) -> io::Result<u8> {
    let (socket, writer) = inherited_socket()?;
    let mut instructions =
        Instructions { reader: BufReader::new(socket), writer, line: Vec::new() };
    let mut warm: Option<Warm> = None;
    loop {
        match next(&mut instructions, &mut warm, signals).await? {
            Next::Instruction(Instruction::Prepare(preparation)) => {
                warm = Some(Warm::prepare(&preparation)?);
            }
            // Cancelled before it has begun: that was read together with the order.
            Next::Instruction(Instruction::Run(_)) if instructions.has_more() => match &warm {
                Some(warm) if warm.function.is_ready() => {
                    instructions.say_idle(warm.function.memory_bytes())?;
                }
                _ => return end(warm, grace).await,
            },
            Next::Instruction(Instruction::Run(order)) => {
                let AttemptEnd { code, waits } =
                    run_attempt(&order, warm.take(), signals, grace).await?;
                let Some(mut waiting) = waits else { return Ok(code) };
                // Now, and not when the next job waits for it.
                waiting.function.rest()?;
                warm = Some(waiting);
            }
            // The attempt was over before the cancel came.
            Next::Instruction(Instruction::Cancel) => {}
            Next::Child => {
                if let Some(warm) = &warm {
                    stop::reap_orphans(warm.function.group());
                }
            }
            Next::Ready => {
                let bytes = warm.as_ref().map_or(0, |warm| warm.function.memory_bytes());
                instructions.say_idle(bytes)?;
            }
            Next::Stop => return end(warm, grace).await,
            Next::Gone(end) => {
                if let Some(mut warm) = warm {
                    let why = format!("{}\n{}", why(&end), warm.function.last_words());
                    log_line(&format!("windlass worker: a function that waited has gone: {why}"));
                    if !warm.function.is_ready() {
                        instructions.say_never_ready(why)?;
                    }
                    warm.function.stop(IDLE_GRACE.min(grace)).await?;
                }
                return Ok(1);
            }
        }
    }
}

/// Ends the function that waits, if there is one. The worker's exit code.
async fn end(warm: Option<Warm>, grace: Duration) -> io::Result<u8> {
    if let Some(mut warm) = warm {
        warm.function.stop(IDLE_GRACE.min(grace)).await?;
    }
    Ok(0)
}

async fn next(
    instructions: &mut Instructions,
    warm: &mut Option<Warm>,
    signals: &mut Signals,
) -> io::Result<Next> {
    tokio::select! {
        biased;
        stop = signals.stop.recv() => stop.map(|()| Next::Stop),
        instruction = instructions.next() => Ok(instruction?.map_or(Next::Stop, Next::Instruction)),
        end = wait_warm(warm) => Ok(end?.map_or(Next::Ready, Next::Gone)),
        _ = signals.children.recv() => Ok(Next::Child),
    }
}

/// A sentence about the end of a function that waits.
pub(crate) fn why(end: &ServingEnd) -> String {
    match end {
        ServingEnd::Exited(status) => status.to_string(),
        ServingEnd::Broken(why) => format!("it {why}"),
        ServingEnd::Answered(_) => "it answered without a job".to_owned(),
    }
}
