//! `windlass logs`: what a job's function says.

use std::io::{self, IsTerminal as _, Write, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use futures::TryStreamExt as _;
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
    tokio::select! {
        shown = show(said, out) => shown,
        () = commands::stopped() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn show(mut said: ByteStream, mut out: Box<dyn Write>) -> anyhow::Result<ExitCode> {
    while let Some(piece) = said.try_next().await.context("the log broke off")? {
        match out.write_all(&piece).and_then(|()| out.flush()) {
            // Whoever reads has enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written.context("standard output")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
