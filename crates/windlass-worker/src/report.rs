//! Telling: over HTTP from a pod, over the inherited socket on one machine.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::io::ReaderStream;
use windlass_core::assignment::{Assignment, ReportTo};
use windlass_core::report::{Ending, Event, Report};
use windlass_core::status::JobResult;

use crate::outcome::Output;
use crate::output::tell;
use crate::result::{Large, no_place};
use crate::tls;

/// Longest time for one try at one report.
const TRY: Duration = Duration::from_secs(10);
/// Shortest time for all tries at the last report, whatever the attempt's timeout.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);
/// First and longest pause between two tries.
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// Bytes a second that a try at an upload moves at least; slower than this is no better than a gateway
/// that does not answer.
const LEAST_BYTES_PER_SECOND: u64 = 256 * 1024;
/// What an upload moves in a second in most clusters, for the time that all tries have.
const USUAL_BYTES_PER_SECOND: u64 = 4 << 20;
/// Bytes of an upload that are read at a time.
const PIECE: usize = 128 * 1024;
/// Longest answer to an upload that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Pause after progress that reached no gateway.
const UNREACHED: Duration = Duration::from_secs(1);
/// A gateway that takes this part of its worker's time for progress, or more, is asked less often: many
/// workers do not make it slower than it is.
const SHARE_OF_PROGRESS: u32 = 4;

/// Where this worker reports to.
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
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
            ReportTo::Http { url, token, authorities } => {
                let connector = connector(authorities.as_deref()).map_err(io::Error::other)?;
                let gateway = Gateway {
                    client: Client::builder(TokioExecutor::new()).build(connector),
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

    /// Has a result stored; what became of it. Tries until the deadline.
    pub(crate) async fn store(&self, large: &Large, deadline: Instant) -> Output {
        match self {
            Self::Http { gateway, who, .. } => {
                let usual = Duration::from_secs(large.result.bytes / USUAL_BYTES_PER_SECOND);
                let deadline = deadline.max(Instant::now() + LEAST_PATIENCE + usual);
                gateway.insist_on_storing(who, large, deadline).await
            }
            Self::Socket { .. } => no_place(large.result.bytes),
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
        let Some(report) = latest.borrow_and_update().clone() else { continue };
        let asked = Instant::now();
        if let Err(why) = gateway.send(&report).await {
            // The next one is as good.
            tell(&format!("windlass worker: progress was not taken: {why}"));
            sleep(UNREACHED).await;
        }
        sleep((asked.elapsed() * (SHARE_OF_PROGRESS - 1)).min(BACKOFF[1])).await;
    }
}

/// With authorities nothing but TLS is spoken.
fn connector(authorities: Option<&str>) -> Result<HttpsConnector<HttpConnector>, tls::Untrusted> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let builder = HttpsConnectorBuilder::new();
    let builder = match authorities {
        Some(pem) => builder.with_tls_config(tls::trusting(pem.as_bytes())?).https_only(),
        None => builder.with_tls_config(tls::trusting_nobody()?).https_or_http(),
    };
    Ok(builder.enable_http1().wrap_connector(http))
}

/// The gateway's report route.
#[derive(Clone)]
pub(crate) struct Gateway {
    client: Client<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, io::Error>>,
    url: String,
    token: String,
}

/// What the gateway answered.
#[derive(Debug)]
enum Answer<T> {
    /// It counts.
    Taken(T),
    /// It never will.
    Refused(StatusCode, Option<String>),
    /// Trying again is right.
    Later(StatusCode),
}

impl Gateway {
    async fn insist(&self, report: &Report, deadline: Instant) {
        match insist(deadline, || self.send(report)).await {
            Some(Ok(())) => {}
            Some(Err((status, _))) => {
                tell(&format!("windlass worker: the outcome was refused ({status})"));
            }
            None => {
                tell(
                    "windlass worker: the outcome reached nobody; it is in the termination message",
                );
            }
        }
    }

    async fn insist_on_storing(
        &self,
        who: &(String, u32),
        large: &Large,
        deadline: Instant,
    ) -> Output {
        let bytes = large.result.bytes;
        match insist(deadline, || self.store(who, large)).await {
            Some(Ok(location)) => {
                Output::Result(JobResult { location: Some(location), ..large.result.clone() })
            }
            Some(Err((StatusCode::PAYLOAD_TOO_LARGE, why))) => {
                let why = why.unwrap_or_else(|| "that is too large".into());
                Output::TooLarge(format!("wrote {bytes} bytes: {why}"))
            }
            Some(Err((status, _))) => {
                Output::Lost(format!("wrote {bytes} bytes, which were refused ({status})"))
            }
            None => Output::Lost(format!("wrote {bytes} bytes, which reached nobody")),
        }
    }

    async fn send(&self, report: &Report) -> Result<Answer<()>, String> {
        let body = Full::from(line(report)).map_err(|never| match never {}).boxed_unsync();
        let request =
            self.ask(Request::post(&self.url))?.header(header::CONTENT_TYPE, "application/json");
        let answer = self.answer(request.body(body), TRY).await?;
        Ok(match answer.status() {
            status if status.is_success() => Answer::Taken(()),
            status => refusal(status, None),
        })
    }

    async fn store(
        &self,
        (uid, attempt): &(String, u32),
        large: &Large,
    ) -> Result<Answer<String>, String> {
        let bytes = large.result.bytes;
        let lost = |error: io::Error| format!("the output cannot be read: {error}");
        let mut file = tokio::fs::File::from_std(large.file.try_clone().map_err(lost)?);
        file.rewind().await.map_err(lost)?;
        let pieces = ReaderStream::with_capacity(file.take(bytes), PIECE).map_ok(Frame::data);
        let request = self
            .ask(Request::put(format!("{}/{uid}/{attempt}/result", self.url)))?
            .header(header::CONTENT_LENGTH, bytes)
            .header("content-digest", digest_field(&large.result.sha256));
        let time = TRY + Duration::from_secs(bytes / LEAST_BYTES_PER_SECOND);
        let answer =
            self.answer(request.body(StreamBody::new(pieces).boxed_unsync()), time).await?;
        let status = answer.status();
        let body = timeout(TRY, Limited::new(answer.into_body(), MAX_ANSWER).collect())
            .await
            .map_err(|_| "the gateway did not end its answer in time".to_owned())?
            .map_err(|error| format!("the gateway's answer broke off: {error}"))?
            .to_bytes();
        if status.is_success() {
            let stored: StoredAt = serde_json::from_slice(&body)
                .map_err(|error| format!("the gateway's answer cannot be read: {error}"))?;
            return Ok(Answer::Taken(stored.location));
        }
        let problem = serde_json::from_slice::<Problem>(&body).ok();
        Ok(refusal(status, problem.map(|problem| problem.detail)))
    }

    /// With our token, which is read each time: the kubelet renews it.
    fn ask(&self, request: http::request::Builder) -> Result<http::request::Builder, String> {
        let token = std::fs::read_to_string(&self.token)
            .map_err(|error| format!("{}: {error}", self.token))?;
        Ok(request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim())))
    }

    async fn answer(
        &self,
        request: http::Result<Request<UnsyncBoxBody<Bytes, io::Error>>>,
        time: Duration,
    ) -> Result<Response<Incoming>, String> {
        let request = request.map_err(|error| error.to_string())?;
        timeout(time, self.client.request(request))
            .await
            .map_err(|_| "the gateway did not answer in time".to_owned())?
            .map_err(|error| format!("the gateway cannot be reached: {}", innermost(&error)))
    }
}

/// The cause of causes: what the kernel or TLS said.
fn innermost(error: &dyn std::error::Error) -> &dyn std::error::Error {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

/// What the gateway says of bytes that it has stored.
#[derive(Deserialize)]
struct StoredAt {
    location: String,
}

/// What it says of what it refuses (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// A SHA-256 as `Content-Digest` has it (RFC 9530).
fn digest_field(sha256: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(sha256.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..sha256.len()).step_by(2).map_while(byte).collect();
    format!("sha-256=:{}:", BASE64.encode(bytes))
}

fn refusal<T>(status: StatusCode, why: Option<String>) -> Answer<T> {
    match status {
        // Conflict: the job was cancelled or has ended. The rest cannot become right either.
        StatusCode::CONFLICT
        | StatusCode::GONE
        | StatusCode::FORBIDDEN
        | StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Answer::Refused(status, why),
        status => Answer::Later(status),
    }
}

/// Tries until the gateway takes or refuses what it is told, with growing pauses; `None` when it did
/// neither until the deadline.
async fn insist<T, F: Future<Output = Result<Answer<T>, String>>>(
    deadline: Instant,
    mut one_try: impl FnMut() -> F,
) -> Option<Result<T, (StatusCode, Option<String>)>> {
    let mut pause = BACKOFF[0];
    loop {
        match timeout_at(deadline, one_try()).await {
            Ok(Ok(Answer::Taken(taken))) => return Some(Ok(taken)),
            Ok(Ok(Answer::Refused(status, why))) => return Some(Err((status, why))),
            Ok(Ok(Answer::Later(status))) => {
                tell(&format!("windlass worker: the gateway is not ready ({status})"));
            }
            Ok(Err(error)) => tell(&format!("windlass worker: {error}")),
            Err(_) => return None,
        }
        if Instant::now() + pause >= deadline {
            return None;
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(BACKOFF[1]);
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
