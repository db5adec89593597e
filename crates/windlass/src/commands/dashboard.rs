//! `windlass dashboard`: a link that opens the dashboard of a server.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use clap::Args;

use crate::backend::resolve::{Backend, DashboardLink};
use crate::output::log;

/// Print a link to the dashboard of a server.
///
/// The link of the admin of a server on one machine signs in by itself, once and within a minute. No browser is started:
/// other users of the machine could read the link among its arguments.
#[derive(Debug, Args)]
pub(crate) struct Dashboard {}

pub(crate) async fn dashboard(backend: &Backend, _: &Dashboard) -> anyhow::Result<ExitCode> {
    let DashboardLink { url, signs_in } = backend.dashboard_link().await?;
    writeln!(stdout(), "{url}")?;
    log::print_line(if signs_in {
        "windlass: the link is good once, for a minute"
    } else {
        "windlass: the page asks for a token of the server"
    });
    Ok(ExitCode::SUCCESS)
}
