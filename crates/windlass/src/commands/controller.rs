//! `windlass controller`.

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::sync::watch;
use tracing::info;

use crate::cli::Controller;
use crate::{commands, log};

pub(crate) async fn controller(args: Controller) -> anyhow::Result<ExitCode> {
    log::start("info");
    let client = windlass_kube::client().await.context("no cluster can be reached")?;
    let lease = args.lease_namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let settings = windlass_kube::Settings {
        namespace: args.namespace,
        report_url: args.report_url,
        lease_namespace: args.leader_elect.then_some(lease),
        name: host,
        deleted_nodes_are_fenced: args.deleted_nodes_are_fenced,
    };
    info!(namespace = settings.namespace.as_deref().unwrap_or("*"), "controller starts");
    let ready = watch::Sender::new(false);
    windlass_kube::run(client, settings, ready, commands::stopped()).await?;
    Ok(ExitCode::SUCCESS)
}
