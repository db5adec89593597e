//! `windlass controller`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;
use windlass_gateway::operations::{self, Operations};
use windlass_kube::Ended;
use windlass_kube::{ClusterAccess, Metrics, ReportEndpoint};
use windlass_traces::Traces;

use crate::cli::{BadUsage, Controller};
use crate::{authorities, commands, log};

pub(crate) async fn controller(args: Controller) -> anyhow::Result<ExitCode> {
    log::start("info");
    let report = report_place(args.report_url, args.report_ca)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let client = windlass_kube::client(&metrics, Some(windlass_kube::LONGEST_SILENCE))
        .await
        .context("no cluster can be reached")?;
    let lease = args.lease_namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let settings = windlass_kube::Settings {
        namespace: args.namespace,
        report,
        lease_namespace: args.leader_elect.then_some(lease),
        name: host,
        deleted_nodes_are_fenced: args.deleted_nodes_are_fenced,
        ended: Traces::from_environment()?
            .map(|traces| -> Ended { Arc::new(move |job| traces.job(job)) }),
    };
    info!(namespace = settings.namespace.as_deref().unwrap_or("*"), "controller starts");
    let ready = watch::Sender::new(false);
    let controller = |operated| {
        windlass_kube::run(client.clone(), settings, metrics, operated, commands::stopped())
    };
    let Some(address) = args.operations else {
        controller(ready).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    info!(address = %listener.local_addr()?, "answers probes and whoever may read metrics");
    let access = Arc::new(ClusterAccess::new(client.clone()));
    let operations = Operations::new(registry, access, ready.subscribe());
    tokio::select! {
        ran = controller(ready) => ran?,
        served = operations::serve(listener, operations, std::future::pending::<()>()) => served?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Workers trust nobody but who is named: an image of a function has no authorities of its own.
fn report_place(url: String, files: Vec<PathBuf>) -> Result<ReportEndpoint, BadUsage> {
    let authorities = match (url.starts_with("https://"), files.is_empty()) {
        (false, true) => return Ok(ReportEndpoint { url, authorities: None }),
        (false, false) => return Err(BadUsage("--report-ca is for an https --report-url".into())),
        (true, true) => return Err(BadUsage("an https --report-url needs --report-ca".into())),
        (true, false) => {
            authorities::follow(files).map_err(|why| BadUsage(format!("--report-ca: {why}")))?
        }
    };
    let now = move || Arc::clone(&authorities.borrow().pem);
    Ok(ReportEndpoint { url, authorities: Some(Arc::new(now)) })
}
