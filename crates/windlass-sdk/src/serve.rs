//! A function that serves: one job after another over the worker's socket, version 2 of the contract.
//!
//! A job gets a rayon pool of its own ([`crate::pool`]) that ends with it, and what the process would carry over to
//! the next job is looked at in between ([`crate::surroundings`]). There is no thread for the socket: the main thread
//! reads it between jobs, and whichever thread asks [`Run::cancelled`] looks at it during one.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use signal_hook::consts::SIGTERM;
use windlass_contract as contract;

use crate::connection::Connection;
use crate::error::Error;
use crate::pool;
use crate::run::{Run, WorkerEnvironment};
use crate::surroundings::Surroundings;

/// From the input of a job to its output; the result, if it goes into the answer.
pub(crate) type Attempt =
    dyn Fn(&WorkerEnvironment, &Run) -> Result<Option<String>, Error> + Send + Sync;

/// How a job has ended. The inner error is a panic, of which stderr tells.
type Outcome = std::thread::Result<Result<Option<String>, Error>>;

/// Serves until the worker closes the socket.
pub(crate) fn serve(socket: &Path, attempt: &Arc<Attempt>) -> Result<ExitCode, Error> {
    let connection = Arc::new(Connection::open(socket).map_err(|error| {
        Error::no_contract(format!("{} is {}: {error}", contract::SERVE, socket.display()))
    })?);
    let signals = Signals::register()?;
    let before = Surroundings::now()?;
    connection.say(&json!({ "ready": contract::SERVE_VERSION }))?;
    loop {
        if signals.rest() {
            return Ok(ExitCode::from(contract::EXIT_CANCELLED));
        }
        let Some(line) = connection.next_line()? else { return Ok(ExitCode::SUCCESS) };
        if line.get("cancel").is_some() {
            // It crossed with the answer to that job.
            continue;
        }
        signals.work();
        let outcome = compute(&line, &connection, &signals, attempt)?;
        if signals.is_terminated() {
            return Ok(ExitCode::from(contract::EXIT_CANCELLED));
        }
        if connection.is_closed() {
            return Ok(ExitCode::SUCCESS);
        }
        let mut answer = answer(&line["job"], &outcome, signals.is_stopped());
        if let Some(why) = reason_to_replace(&outcome, &before) {
            answer["replace"] = why.into();
        }
        // Before the answer: what is printed later is taken for the next job's. Nobody reads it if it cannot be.
        io::stdout().flush().unwrap_or_default();
        connection.say(&answer)?;
    }
}

/// One job on a pool of its own. The error is the worker's or the kernel's fault, and the end of the process.
fn compute(
    line: &Value,
    connection: &Arc<Connection>,
    signals: &Signals,
    attempt: &Arc<Attempt>,
) -> Result<Outcome, Error> {
    let environment = WorkerEnvironment::read(|name| member(line, name))?;
    let run = environment.run(Arc::clone(&signals.stop)).told_by(Arc::clone(connection));
    let attempt = Arc::clone(attempt);
    pool::compute(environment.parallelism(), move || attempt(&environment, &run))
}

/// What version 1 of the contract would have as a variable.
fn member(line: &Value, variable: &str) -> Option<String> {
    let name = match variable {
        contract::INPUT => "input",
        contract::OUTPUT => "output",
        contract::PROGRESS => "progress",
        contract::PARALLELISM => "parallelism",
        contract::DEADLINE => "deadline",
        contract::JOB => "job",
        contract::ATTEMPT => "attempt",
        _ => return None,
    };
    match line.get(name)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The answer to a job. A failure is told on stderr, whose end the worker puts into its message.
fn answer(job: &Value, outcome: &Outcome, is_stopped: bool) -> Value {
    let failed = |reason: &str| json!({ "failed": job, "reason": reason });
    match outcome {
        Ok(Ok(None)) => json!({ "done": job }),
        Ok(Ok(Some(result))) => json!({ "done": job, "result": result }),
        Ok(Err(error)) if error.is_cancelled() && is_stopped => json!({ "cancelled": job }),
        Ok(Err(error)) => {
            error.print();
            failed(if error.is_bad_input() { "input" } else { "error" })
        }
        // Rust has told the panic.
        Err(_) => failed("error"),
    }
}

/// Why the process should not get another job.
fn reason_to_replace(outcome: &Outcome, before: &Surroundings) -> Option<String> {
    if outcome.is_err() {
        // It may have left anything half done.
        return Some("the function panicked".into());
    }
    match before.changed() {
        Ok(change) => change,
        Err(error) => Some(format!("cannot see what the function left: {error}")),
    }
}

/// What SIGTERM does: between jobs it ends the process at once, during one it asks the job to stop.
struct Signals {
    stop: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
    rests: Arc<AtomicBool>,
}

impl Signals {
    fn register() -> io::Result<Self> {
        let [stop, terminated, rests]: [Arc<AtomicBool>; 3] = Default::default();
        // In this order: whoever sees `stop` sees why.
        signal_hook::flag::register(SIGTERM, Arc::clone(&terminated))?;
        signal_hook::flag::register(SIGTERM, Arc::clone(&stop))?;
        let status = i32::from(contract::EXIT_CANCELLED);
        signal_hook::flag::register_conditional_shutdown(SIGTERM, status, Arc::clone(&rests))?;
        Ok(Self { stop, terminated, rests })
    }

    /// From now on SIGTERM ends the process. Whether it came before.
    fn rest(&self) -> bool {
        self.rests.store(true, Ordering::SeqCst);
        self.is_terminated()
    }

    /// From now on SIGTERM asks the job to stop.
    fn work(&self) {
        self.stop.store(false, Ordering::SeqCst);
        self.rests.store(false, Ordering::SeqCst);
    }

    fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::SeqCst)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
