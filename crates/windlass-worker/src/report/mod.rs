//! Reports to whoever gave the order: over HTTP from a pod, over the inherited socket on one machine.

mod fetch;
mod gateway;
mod keep_log;
mod retry;
mod socket;
mod usage;

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;
use windlass_core::BlobRef;
use windlass_core::assignment::{Assignment, Idle, Replaced, ReportTo, StandbyAssignment};
use windlass_core::report::{Ending, Event, Report};

use crate::clock::now;
use crate::json_line::json_line;
use crate::outcome::FunctionOutput;
use crate::output_file::{LargeResult, too_large_to_inline};
use crate::stdio::log_line;
use gateway::{GatewayClient, send_progress};
use retry::retry_until;
use socket::{write_all, write_some};
use usage::send_usage;

pub(crate) use socket::{ServerSays, inherited as inherited_socket};

/// Shortest time for all tries at the last report, whatever the attempt's timeout.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);
/// What an upload moves in a second in most clusters, for the time that all tries have.
const USUAL_BYTES_PER_SECOND: u64 = 4 << 20;

/// Where this worker reports to.
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub(crate) enum Reporter {
    /// The gateway.
    Http {
        gateway: GatewayClient,
        progress: watch::Sender<Option<Report>>,
        usage: watch::Sender<Option<Report>>,
        who: (String, u32),
        tells_running: bool,
    },
    /// The server on this machine.
    Socket { socket: UnixStream, writer: StdUnixStream, unsent: Vec<u8>, who: (String, u32) },
}

impl Reporter {
    pub(crate) fn open(assignment: &Assignment) -> io::Result<Self> {
        let who = (assignment.job_uid.clone(), assignment.attempt);
        match &assignment.report {
            ReportTo::Http { url, token, authorities } => {
                let gateway = GatewayClient::new(url, token, authorities.as_deref())?;
                let (progress, latest) = watch::channel(None);
                tokio::spawn(send_progress(gateway.clone(), latest));
                let (usage, latest) = watch::channel(None);
                tokio::spawn(send_usage(gateway.clone(), latest));
                Ok(Self::Http {
                    gateway,
                    progress,
                    usage,
                    who,
                    tells_running: assignment.on_standby,
                })
            }
            ReportTo::Socket => {
                let (socket, writer) = socket::inherited()?;
                Ok(Self::Socket { socket, writer, unsent: Vec::new(), who })
            }
        }
    }

    /// Sends what may be lost, such as progress. It delays nothing.
    pub(crate) fn send(&mut self, event: Event) {
        match self {
            Self::Http { gateway, progress, usage, who, tells_running } => match event {
                Event::Progress { .. } => {
                    progress.send_replace(Some(report_of(who, event)));
                }
                Event::Usage { .. } => {
                    usage.send_replace(Some(report_of(who, event)));
                }
                // Whether any other pod runs, its cluster knows by itself.
                Event::Running { .. } if *tells_running => {
                    let (gateway, report) = (gateway.clone(), report_of(who, event));
                    tokio::spawn(async move {
                        gateway.send_until(&report, Instant::now() + LEAST_PATIENCE).await;
                    });
                }
                _ => {}
            },
            Self::Socket { writer, unsent, who, .. } => {
                // A server that does not keep up misses some progress, never half a line.
                if unsent.is_empty() {
                    *unsent = timed_line(who, event);
                }
                if let Err(error) = write_some(writer, unsent) {
                    log_line(&format!("windlass worker: the server is gone: {error}"));
                }
            }
        }
    }

    /// Has a result stored; what became of it. Tries until the deadline.
    pub(crate) async fn store(&self, large: &LargeResult, deadline: Instant) -> FunctionOutput {
        match self {
            Self::Http { gateway, who, .. } => {
                let usual = Duration::from_secs(large.result.bytes / USUAL_BYTES_PER_SECOND);
                let deadline = deadline.max(Instant::now() + LEAST_PATIENCE + usual);
                gateway.store_until(who, large, deadline).await
            }
            Self::Socket { .. } => too_large_to_inline(large.result.bytes),
        }
    }

    /// Has the end of the function's log kept. How many bytes of it are; `None` where none are.
    pub(crate) async fn keep_log(&self, log: Option<Vec<u8>>) -> Option<u64> {
        let (Self::Http { gateway, who, .. }, Some(log)) = (self, log) else { return None };
        let bytes = log.len() as u64;
        (bytes == 0 || gateway.keep_log(who, &log.into()).await).then_some(bytes)
    }

    /// Sends the last samples, unless the gateway has refused those before.
    pub(crate) async fn send_last_usage(&self, samples: Option<Event>) {
        if let (Self::Http { gateway, usage, who, .. }, Some(event)) = (self, samples)
            && !usage.is_closed()
        {
            gateway.send_last_usage(&report_of(who, event)).await;
        }
    }

    /// Writes a blob of the job into a file. Tries until the deadline; what is `TimedOut` may come later.
    pub(crate) async fn fetch(
        &self,
        blob: &BlobRef,
        to: File,
        deadline: Instant,
    ) -> io::Result<()> {
        match self {
            Self::Http { gateway, who, .. } => {
                let usual = Duration::from_secs(blob.bytes / USUAL_BYTES_PER_SECOND);
                let deadline = deadline.max(Instant::now() + LEAST_PATIENCE + usual);
                gateway.fetch_until(who, blob, to, deadline).await
            }
            Self::Socket { .. } => Err(io::Error::other("a server on this machine sends no blobs")),
        }
    }

    /// Sends the end. Returns when it was accepted, refused for good, or nobody could be reached until
    /// the deadline. With it goes, to the server on this machine, whether the function waits for another job: whoever
    /// hears of the end may send that job at once, and then it must not be thought busy.
    pub(crate) async fn finish(
        &mut self,
        ending: Ending,
        settled: Option<&Result<Idle, String>>,
        deadline: Instant,
    ) {
        match self {
            Self::Http { gateway, who, .. } => {
                let report = report_of(who, Event::Finished(ending));
                gateway.send_until(&report, deadline.max(Instant::now() + LEAST_PATIENCE)).await;
            }
            Self::Socket { socket, writer, unsent, who } => {
                unsent.extend(timed_line(who, Event::Finished(ending)));
                unsent.extend(settled_line(settled));
                write_or_log(socket, writer, unsent).await;
            }
        }
    }

    /// Tells the server on this machine whether the function waits for another job after one whose end is not told.
    pub(crate) async fn say_settled(&mut self, settled: Option<&Result<Idle, String>>) {
        if let Self::Socket { socket, writer, unsent, .. } = self {
            unsent.extend(settled_line(settled));
            write_or_log(socket, writer, unsent).await;
        }
    }

    /// Resolves when the attempt is of no use any more: it is cancelled, or nobody will take its reports.
    pub(crate) async fn server_says(&self) -> ServerSays {
        match self {
            Self::Http { .. } => std::future::pending().await,
            Self::Socket { socket, .. } => socket::server_says(socket).await,
        }
    }
}

/// That a function waits for another job, or why it gets none.
fn settled_line(settled: Option<&Result<Idle, String>>) -> Vec<u8> {
    match settled {
        None => Vec::new(),
        Some(Ok(idle)) => json_line(idle),
        Some(Err(why)) => json_line(&Replaced { replaced: why.clone() }),
    }
}

/// Asks where reports go what to do, until there is something to do or the gateway says that there never will be.
pub(crate) async fn wait_for_assignment(report: &ReportTo) -> io::Result<StandbyAssignment> {
    let ReportTo::Http { url, token, authorities } = report else {
        return Err(io::Error::other("a worker waits in a pod only"));
    };
    let gateway = GatewayClient::new(url, token, authorities.as_deref())?;
    loop {
        match retry_until(Instant::now() + LEAST_PATIENCE, || gateway.ask_for_assignment()).await {
            Some(Ok(Some(told))) => return Ok(*told),
            // The gateway does not keep a question open for ever, and may be away for a while.
            Some(Ok(None)) | None => {}
            Some(Err((status, why))) => {
                let why = why.unwrap_or_default();
                return Err(io::Error::other(format!("there is nothing to do ({status}) {why}")));
            }
        }
    }
}

async fn write_or_log(socket: &UnixStream, writer: &StdUnixStream, unsent: &mut Vec<u8>) {
    if let Err(error) = write_all(socket, writer, unsent).await {
        log_line(&format!("windlass worker: the server is gone: {error}"));
    }
}

fn report_of((job_uid, attempt): &(String, u32), event: Event) -> Report {
    Report { job_uid: job_uid.clone(), attempt: *attempt, event, sent: None }
}

/// A report for the server on this machine, which is of this release: a gateway may be of one that refuses what it does
/// not know.
fn timed_line(who: &(String, u32), event: Event) -> Vec<u8> {
    json_line(&Report { sent: Some(now()), ..report_of(who, event) })
}
