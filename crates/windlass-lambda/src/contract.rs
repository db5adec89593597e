//! The worker's side: one job after another over a socket, or the one job of the environment.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use windlass_contract as contract;

use crate::invocation::{Invocation, Outcome, x_ray};
use crate::print_line;
use crate::runtime::{Ended, Runtime};

/// One job. Members that are not known are left alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    job: String,
    input: PathBuf,
    #[serde(default = "json_type")]
    input_type: String,
    output: PathBuf,
    deadline: Option<Timestamp>,
    traceparent: Option<String>,
}

fn json_type() -> String {
    "application/json".into()
}

impl Job {
    /// The one that the environment tells of.
    fn of_environment() -> io::Result<Self> {
        let required = |name: &str| {
            env::var_os(name).map(PathBuf::from).ok_or_else(|| {
                let serve = contract::SERVE;
                io::Error::other(format!(
                    "neither {serve} nor {name} is set: a worker starts this, see the worker contract"
                ))
            })
        };
        Ok(Self {
            job: env::var(contract::JOB).unwrap_or_default(),
            input: required(contract::INPUT)?,
            input_type: json_type(),
            output: required(contract::OUTPUT)?,
            deadline: env::var(contract::DEADLINE).ok().and_then(|text| text.parse().ok()),
            traceparent: env::var(contract::TRACEPARENT).ok(),
        })
    }

    fn invocation(&self) -> io::Result<Invocation> {
        Ok(Invocation {
            id: uuid::Uuid::new_v4().to_string(),
            event: fs::read(&self.input)?.into(),
            content_type: self.input_type.clone(),
            deadline: self.deadline,
            trace: self.traceparent.as_deref().and_then(x_ray),
        })
    }

    /// Writes the response where the result is expected, or tells the failure. Whether the function would
    /// fail again, if it failed.
    fn conclude(&self, outcome: &Outcome) -> io::Result<Option<bool>> {
        match outcome {
            Outcome::Response(bytes) => {
                let mut partial = self.output.clone().into_os_string();
                partial.push(".partial");
                fs::write(&partial, bytes)?;
                fs::rename(&partial, &self.output)?;
                Ok(None)
            }
            Outcome::Failure(failure) => {
                print_line(&failure.text());
                Ok(Some(failure.is_of_the_function()))
            }
        }
    }
}

/// Runs this command as the worker wants it; the exit status.
pub(crate) async fn follow(command: &[String]) -> io::Result<u8> {
    let terminated = signal(SignalKind::terminate())?;
    match env::var_os(contract::SERVE).filter(|socket| !socket.is_empty()) {
        Some(socket) => serve(Path::new(&socket), command, terminated).await,
        None => once(command, terminated).await,
    }
}

/// Version 1: one job.
async fn once(command: &[String], mut terminated: Signal) -> io::Result<u8> {
    let job = Job::of_environment()?;
    let mut runtime = tokio::select! {
        runtime = Runtime::start(command) => runtime?,
        _ = terminated.recv() => return Ok(contract::EXIT_CANCELLED),
    };
    runtime.give(job.invocation()?).await?;
    let ended = tokio::select! {
        ended = runtime.ended() => Some(ended?),
        _ = terminated.recv() => None,
    };
    runtime.end().await?;
    match ended {
        None => Ok(contract::EXIT_CANCELLED),
        Some(Ended::Died(why)) => Err(io::Error::other(why)),
        Some(Ended::Answered(outcome)) => Ok(match job.conclude(&outcome)? {
            None => 0,
            Some(true) => contract::EXIT_FUNCTION_ERROR,
            Some(false) => 1,
        }),
    }
}

/// Version 2: one job after another.
async fn serve(socket: &Path, command: &[String], mut terminated: Signal) -> io::Result<u8> {
    let (reader, writer) = UnixStream::connect(socket).await?.into_split();
    let mut worker = Worker { lines: BufReader::new(reader).lines(), writer };
    let mut runtime = tokio::select! {
        runtime = Runtime::start(command) => runtime?,
        _ = terminated.recv() => return Ok(contract::EXIT_CANCELLED),
    };
    worker.say(&json!({ "ready": contract::SERVE_VERSION })).await?;
    let ended = tokio::select! {
        ended = jobs(&mut worker, &mut runtime) => ended.map(|()| 0),
        _ = terminated.recv() => Ok(contract::EXIT_CANCELLED),
    };
    runtime.end().await?;
    ended
}

/// Until the worker closes the socket.
async fn jobs(worker: &mut Worker, runtime: &mut Runtime) -> io::Result<()> {
    loop {
        let line = tokio::select! {
            line = worker.heard() => line?,
            died = runtime.died() => return Err(io::Error::other(died?)),
        };
        let Some(line) = line else { return Ok(()) };
        if line.get("cancel").is_some() {
            // It crossed with the answer to that job.
            continue;
        }
        let job: Job = serde_json::from_value(line)?;
        runtime.give(job.invocation()?).await?;
        let Some(mut answer) = do_job(&job, worker, runtime).await? else { return Ok(()) };
        answer["processes"] = runtime.kept().into();
        worker.say(&answer).await?;
    }
}

/// Waits for the end of a job; the answer, or nothing if the worker has gone.
async fn do_job(
    job: &Job,
    worker: &mut Worker,
    runtime: &mut Runtime,
) -> io::Result<Option<Value>> {
    let name = &job.job;
    loop {
        let ended = tokio::select! {
            biased;
            ended = runtime.ended() => ended?,
            line = worker.heard() => match line? {
                None => return Ok(None),
                Some(line) if line["cancel"].as_str() == Some(name) => {
                    // The runtime API has no word for it.
                    runtime.end().await?;
                    let why = "the runtime API cannot cancel an event";
                    return Ok(Some(json!({ "cancelled": name, "replace": why })));
                }
                Some(_) => continue,
            },
        };
        let outcome = match ended {
            // Its end is this process's, too.
            Ended::Died(why) => return Err(io::Error::other(why)),
            Ended::Answered(outcome) => outcome,
        };
        let mut answer = match job.conclude(&outcome)? {
            None => json!({ "done": name }),
            Some(true) => json!({ "failed": name, "reason": "exception" }),
            Some(false) => json!({ "failed": name, "reason": "error" }),
        };
        if let Some(why) = runtime.settle().await? {
            answer["replace"] = why.into();
        }
        return Ok(Some(answer));
    }
}

/// The worker, at the other end of the socket.
struct Worker {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Worker {
    /// Its next line; `None` when it has gone. Whoever stops waiting loses nothing.
    async fn heard(&mut self) -> io::Result<Option<Value>> {
        let line = self.lines.next_line().await?;
        Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
    }

    async fn say(&mut self, line: &Value) -> io::Result<()> {
        self.writer.write_all(format!("{line}\n").as_bytes()).await
    }
}
