//! `windlass top`: the jobs of a namespace on a terminal, live.

use std::io::{IsTerminal as _, stdin, stdout};
use std::process::ExitCode;

use clap::Args;

use crate::backend::resolve::Backend;
use crate::flags::bad_usage::BadUsage;
use crate::top;

/// Show the jobs of a namespace on this terminal, live.
///
/// `?` tells the keys; `q` leaves. There is no color where `NO_COLOR` is set.
#[derive(Debug, Args)]
pub(crate) struct Top {}

pub(crate) async fn top(backend: &Backend, _: &Top) -> anyhow::Result<ExitCode> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        let why =
            "windlass top is for a terminal; `windlass list --watch` prints the same elsewhere";
        return Err(BadUsage(why.into()).into());
    }
    top::run(backend).await
}
