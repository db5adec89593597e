//! `windlass controller`.

use std::process::ExitCode;

use anyhow::Context as _;
use tracing::info;

use crate::cli::Controller;
use crate::{commands, log};

pub(crate) async fn controller(args: Controller) -> anyhow::Result<ExitCode> {
    log::start("info");
    let client = windlass_kube::client().await.context("no cluster can be reached")?;
    let settings =
        windlass_kube::Settings { namespace: args.namespace, report_url: args.report_url };
    info!(namespace = settings.namespace.as_deref().unwrap_or("*"), "controller starts");
    windlass_kube::run(client, settings, commands::stopped()).await?;
    Ok(ExitCode::SUCCESS)
}
