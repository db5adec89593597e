//! `windlass logs`: what a job's function says.

use crate::flags::names::job_name;
use clap::Args;
use std::io::{self, IsTerminal as _, Write, stdout};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use windlass_core::JobKey;
use windlass_core::result::ByteStream;

use crate::backend::resolve::Backend;
use crate::output::terminal::Printable;
use crate::process::{self, INTERRUPTED};

/// Print what a job's function says on stdout and stderr, without what could steer a terminal.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    /// Go on until the job has ended; when it is deleted instead, that is an error
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the end of it, in bytes [default: 1 MiB, the most]
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, hide_default_value = true, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    pub(crate) tail: u64,
    /// The bytes as they are, but on a terminal
    #[arg(long)]
    pub(crate) raw: bool,
}

pub(crate) async fn logs(backend: &Backend, args: &Logs) -> anyhow::Result<ExitCode> {
    let key = backend.key(&args.job);
    let said: ByteStream = if args.follow {
        backend.jobs.follow_logs(&key, args.tail).await?
    } else {
        let said = backend.jobs.logs(&key, args.tail).await?;
        Box::pin(futures::stream::iter([Ok(said.into())]))
    };
    let out = stdout().lock();
    // Not even raw bytes may steer a terminal; whoever wants that sends them through a pipe.
    let raw = args.raw && !out.is_terminal();
    let out: Box<dyn Write> = if raw { Box::new(out) } else { Box::new(Printable::new(out)) };
    let shown = async {
        let is_whole = show(said, out).await?;
        if args.follow && is_whole { ended(backend, &key).await } else { Ok(()) }
    };
    tokio::select! {
        shown = shown => shown.map(|()| ExitCode::SUCCESS),
        () = process::stopped() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Whether all was shown: whoever reads may have enough before.
async fn show(mut said: ByteStream, mut out: Box<dyn Write>) -> anyhow::Result<bool> {
    while let Some(piece) = said.try_next().await.context("the log broke off")? {
        match out.write_all(&piece).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            written => written.context("standard output")?,
        }
    }
    Ok(true)
}

/// A log that is followed ends with its job. One that ends otherwise may lack what came after.
async fn ended(backend: &Backend, key: &JobKey) -> anyhow::Result<()> {
    let job = backend.jobs.get(key).await.context("the log ended before its job")?;
    if !job.status.is_finished() {
        let (program, name) = (backend.program(), &key.name);
        bail!("the log ended before its job: `{program} logs -f {name}` goes on");
    }
    Ok(())
}
