//! Telling: over HTTP from a pod, over the inherited socket on one machine.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use windlass_core::assignment::{Assignment, ReportTo};
use windlass_core::report::{Ending, Event, Report};

use crate::output::tell;

/// Longest time for one try at one report.
const TRY: Duration = Duration::from_secs(10);
/// Shortest time for all tries at the last report, whatever the attempt's timeout.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);
/// First and longest pause between two tries.
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// Least time between two reports of progress over HTTP.
const PROGRESS_PACE: Duration = Duration::from_millis(250);

/// Where this worker reports to.
pub(crate) enum Reporter {
    /// The gateway.
    Http { gateway: Gateway, progress: watch::Sender<Option<Report>>, who: (String, u32) },
    /// The server on this machine.
    Socket { socket: UnixStream, writer: StdUnixStream, unsent: Vec<u8>, who: (String, u32) },
}

impl Reporter {
    pub(crate) fn open(assignment: &Assignment) -> io::Result<Self> {
        let who = (assignment.job_uid.clone(), assignment.attempt);
        match &assignment.report {
            ReportTo::Http { url, token } => {
                let gateway = Gateway {
                    client: Client::builder(TokioExecutor::new()).build_http(),
                    url: url.clone(),
                    token: token.clone(),
                };
                let (progress, latest) = watch::channel(None);
                tokio::spawn(tell_progress(gateway.clone(), latest));
                Ok(Self::Http { gateway, progress, who })
            }
            ReportTo::Socket => {
                let socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
                socket.set_nonblocking(true)?;
                let writer = socket.try_clone()?;
                let socket = UnixStream::from_std(socket)?;
                Ok(Self::Socket { socket, writer, unsent: Vec::new(), who })
            }
        }
    }

    /// Tells what need not arrive. It delays nothing.
    pub(crate) fn tell(&mut self, event: Event) {
        match self {
            Self::Http { progress, who, .. } => {
                // Whether the pod runs, its cluster knows by itself.
                if matches!(event, Event::Progress { .. }) {
                    progress.send_replace(Some(report(who, event)));
                }
            }
            Self::Socket { writer, unsent, who, .. } => {
                // A server that does not keep up misses some progress, never half a line.
                if unsent.is_empty() {
                    *unsent = line(&report(who, event));
                }
                if let Err(error) = write_some(writer, unsent) {
                    tell(&format!("windlass worker: the server is gone: {error}"));
                }
            }
        }
    }

    /// Tells the end. Returns when it was taken, refused for good, or nobody could be reached until
    /// the deadline.
    pub(crate) async fn finish(&mut self, ending: Ending, deadline: Instant) {
        match self {
            Self::Http { gateway, who, .. } => {
                let report = report(who, Event::Finished(ending));
                gateway.insist(&report, deadline.max(Instant::now() + LEAST_PATIENCE)).await;
            }
            Self::Socket { socket, writer, unsent, who } => {
                unsent.extend(line(&report(who, Event::Finished(ending))));
                if let Err(error) = write_all(socket, writer, unsent).await {
                    tell(&format!("windlass worker: the server is gone: {error}"));
                }
            }
        }
    }

    /// Resolves when nobody will take reports any more; then the attempt is of no use.
    pub(crate) async fn gone(&self) {
        match self {
            Self::Http { .. } => std::future::pending().await,
            Self::Socket { socket, .. } => loop {
                if socket.ready(Interest::READABLE).await.is_err() {
                    return;
                }
                // The server says nothing; readable means its end.
                match socket.try_read(&mut [0; 64]) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            },
        }
    }
}

/// Waits for the order of the server on this machine: one line. `None` when the server is gone.
pub(crate) async fn order() -> io::Result<Option<Vec<u8>>> {
    let socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let mut line = Vec::new();
    // The server says one line and nothing more, so that nothing is read too far.
    BufReader::new(UnixStream::from_std(socket)?).read_until(b'\n', &mut line).await?;
    Ok(line.ends_with(b"\n").then_some(line))
}

fn report((job_uid, attempt): &(String, u32), event: Event) -> Report {
    Report { job_uid: job_uid.clone(), attempt: *attempt, event }
}

fn line(report: &Report) -> Vec<u8> {
    let mut line = Vec::new();
    // A report always serializes, and a vector always takes it.
    serde_json::to_writer(&mut line, report).unwrap_or_default();
    line.write_all(b"\n").unwrap_or_default();
    line
}

/// Writes what the socket takes now, and leaves the rest in `unsent`.
fn write_some(mut writer: &StdUnixStream, unsent: &mut Vec<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        match writer.write(unsent) {
            Ok(written) => drop(unsent.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn write_all(
    socket: &UnixStream,
    writer: &StdUnixStream,
    unsent: &mut Vec<u8>,
) -> io::Result<()> {
    write_some(writer, unsent)?;
    while !unsent.is_empty() {
        // The first wait may return at once, before tokio knows that the socket is full.
        socket.writable().await?;
        let ready = socket.try_io(Interest::WRITABLE, || {
            write_some(writer, unsent)?;
            if unsent.is_empty() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        if let Err(error) = ready
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Sends the latest progress, one at a time; what is overtaken is never sent.
async fn tell_progress(gateway: Gateway, mut latest: watch::Receiver<Option<Report>>) {
    while latest.changed().await.is_ok() {
        let report = latest.borrow_and_update().clone();
        if let Some(report) = report
            && let Err(why) = gateway.send(&report).await
        {
            // The next one is as good.
            tell(&format!("windlass worker: progress was not taken: {why}"));
        }
        sleep(PROGRESS_PACE).await;
    }
}

/// The gateway's report route.
#[derive(Clone)]
pub(crate) struct Gateway {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    token: String,
}

/// What the gateway answered.
#[derive(Debug)]
enum Answer {
    /// It counts.
    Taken,
    /// It never will.
    Refused(StatusCode),
    /// Trying again is right.
    Later(StatusCode),
}

impl Gateway {
    async fn insist(&self, report: &Report, deadline: Instant) {
        let mut pause = BACKOFF[0];
        loop {
            match timeout_at(deadline, self.send(report)).await {
                Ok(Ok(Answer::Taken)) => return,
                Ok(Ok(Answer::Refused(status))) => {
                    tell(&format!("windlass worker: the outcome was refused ({status})"));
                    return;
                }
                Ok(Ok(Answer::Later(status))) => {
                    tell(&format!("windlass worker: the gateway is not ready ({status})"));
                }
                Ok(Err(error)) => tell(&format!("windlass worker: {error}")),
                Err(_) => break,
            }
            if Instant::now() + pause >= deadline {
                break;
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(BACKOFF[1]);
        }
        tell("windlass worker: the outcome reached nobody; it is in the termination message");
    }

    async fn send(&self, report: &Report) -> Result<Answer, String> {
        // Read each time: the kubelet renews it.
        let token = std::fs::read_to_string(&self.token)
            .map_err(|error| format!("{}: {error}", self.token))?;
        let request = Request::post(&self.url)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(line(report)))
            .map_err(|error| error.to_string())?;
        let answer = timeout(TRY, self.client.request(request))
            .await
            .map_err(|_| "the gateway did not answer in time".to_owned())?
            .map_err(|error| format!("the gateway cannot be reached: {error}"))?;
        Ok(match answer.status() {
            status if status.is_success() => Answer::Taken,
            // Conflict: the job was cancelled or has ended. The rest cannot become right either.
            status @ (StatusCode::CONFLICT
            | StatusCode::GONE
            | StatusCode::FORBIDDEN
            | StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY) => Answer::Refused(status),
            status => Answer::Later(status),
        })
    }
}

/// Between half of the pause and all of it, by the clock's last digits: workers that lost the same
/// gateway must not come back at the same instant.
fn jittered(pause: Duration) -> Duration {
    let random = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    pause / 2 + (pause / 2) * (random % 1000) / 1000
}
