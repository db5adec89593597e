//! The program that asks for events: its start, its events, its end.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use windlass_worker::descendants;

use crate::api::{Api, Event};
use crate::environment;
use crate::invocation::{Invocation, Outcome};
use crate::peer::OwnListener;

/// How long a program may take from its answer to its next question.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a program may take to end after SIGTERM.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// The program, which has asked for its first event.
pub(crate) struct Runtime {
    child: Child,
    invocations: mpsc::Sender<Invocation>,
    events: mpsc::UnboundedReceiver<Event>,
    /// The processes that it had when it was ready.
    kept: Vec<Pid>,
}

/// What becomes of an invocation.
pub(crate) enum Ended {
    Answered(Outcome),
    /// The program has ended; a sentence.
    Died(String),
}

impl Runtime {
    /// Starts the program and waits until it asks for an event.
    pub(crate) async fn start(command: &[String]) -> io::Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err(io::Error::other("no command is given"));
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut process = Command::new(program);
        process.args(arguments).kill_on_drop(true);
        environment::set(&mut process, listener.local_addr()?);
        let child = process
            .spawn()
            .map_err(|error| io::Error::other(format!("{program} cannot be started: {error}")))?;
        let (invocations, asked) = mpsc::channel(1);
        let (said, events) = mpsc::unbounded_channel();
        let api = Api::new(asked, said);
        // Goes on until the process ends.
        tokio::spawn(async move { axum::serve(OwnListener(listener), api.router()).await });
        let mut runtime = Self { child, invocations, events, kept: Vec::new() };
        match runtime.heard().await? {
            Ok(Event::Asked) => {}
            Ok(Event::InitFailed(failure)) => {
                runtime.end().await?;
                return Err(io::Error::other(failure.text()));
            }
            Ok(Event::Answered(_)) => return Err(io::Error::other("it answered nothing")),
            Err(died) => return Err(io::Error::other(died)),
        }
        runtime.kept = descendants();
        Ok(runtime)
    }

    /// Gives it an event. [`Self::ended`] tells what becomes of it.
    pub(crate) async fn give(&self, invocation: Invocation) -> io::Result<()> {
        self.invocations.send(invocation).await.map_err(io::Error::other)
    }

    /// Waits for the answer. Whoever stops waiting loses nothing.
    pub(crate) async fn ended(&mut self) -> io::Result<Ended> {
        loop {
            match self.heard().await? {
                Ok(Event::Answered(outcome)) => return Ok(Ended::Answered(outcome)),
                // It lost the connection over which it had asked before.
                Ok(Event::Asked) => {}
                Ok(Event::InitFailed(failure)) => return Ok(Ended::Died(failure.text())),
                Err(died) => return Ok(Ended::Died(died)),
            }
        }
    }

    /// Waits until it asks for its next event; else why it should not get one.
    pub(crate) async fn settle(&mut self) -> io::Result<Option<String>> {
        match timeout(SETTLE_PATIENCE, self.heard()).await {
            Ok(heard) => match heard? {
                Ok(Event::Asked) => Ok(None),
                Ok(_) => Ok(Some("the program answered and did not ask again".into())),
                Err(died) => Ok(Some(died)),
            },
            Err(_) => Ok(Some("the program does not ask for another event".into())),
        }
    }

    /// Waits for its end while it has nothing to do.
    pub(crate) async fn died(&mut self) -> io::Result<String> {
        Ok(told(self.child.wait().await?))
    }

    /// Its processes that were there before its first job.
    pub(crate) fn kept(&self) -> Vec<i32> {
        let now = descendants();
        let kept = self.kept.iter().filter(|process| now.contains(process));
        kept.map(|process| process.as_raw_nonzero().get()).collect()
    }

    /// What it says next, or the sentence of its end. What it has said before its end comes first.
    async fn heard(&mut self) -> io::Result<Result<Event, String>> {
        tokio::select! {
            biased;
            Some(event) = self.events.recv() => Ok(Ok(event)),
            status = self.child.wait() => Ok(Err(told(status?))),
        }
    }

    /// Ends it and all that it has started.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        if let Some(process) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            signal(process, Signal::TERM)?;
        }
        if timeout(END_PATIENCE, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        for process in descendants() {
            signal(process, Signal::KILL)?;
        }
        Ok(())
    }
}

fn signal(process: Pid, signal: Signal) -> io::Result<()> {
    match kill_process(process, signal) {
        // It has ended.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the program ended with exit status {code}"),
        (None, Some(signal)) => format!("the program was ended by signal {signal}"),
        (None, None) => "the program ended".into(),
    }
}
