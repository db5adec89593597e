//! `windlass logs`: what a job's function says.

use std::io::{self, IsTerminal as _, Write, stdout};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use windlass_core::JobKey;
use windlass_core::result::ByteStream;

use crate::cli::Logs;
use crate::commands::{self, INTERRUPTED};
use crate::place::Place;
use crate::terminal::Printable;

pub(crate) async fn logs(place: &Place, args: &Logs) -> anyhow::Result<ExitCode> {
    let key = place.key(&args.job);
    let said: ByteStream = if args.follow {
        place.jobs.follow_logs(&key, args.tail).await?
    } else {
        let said = place.jobs.logs(&key, args.tail).await?;
        Box::pin(futures::stream::iter([Ok(said.into())]))
    };
    let out = stdout().lock();
    // Not even raw bytes may steer a terminal; whoever wants that sends them through a pipe.
    let raw = args.raw && !out.is_terminal();
    let out: Box<dyn Write> = if raw { Box::new(out) } else { Box::new(Printable::new(out)) };
    let shown = async {
        let is_whole = show(said, out).await?;
        if args.follow && is_whole { ended(place, &key).await } else { Ok(()) }
    };
    tokio::select! {
        shown = shown => shown.map(|()| ExitCode::SUCCESS),
        () = commands::stopped() => Ok(ExitCode::from(INTERRUPTED)),
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
async fn ended(place: &Place, key: &JobKey) -> anyhow::Result<()> {
    let job = place.jobs.get(key).await.context("the log ended before its job")?;
    if !job.status.is_finished() {
        let (program, name) = (place.program(), &key.name);
        bail!("the log ended before its job: `{program} logs -f {name}` goes on");
    }
    Ok(())
}
