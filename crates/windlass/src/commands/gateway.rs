//! `windlass gateway`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::info;
use windlass_gateway::metrics::Meters;
use windlass_gateway::{Gateway, Limits};
use windlass_kube::{Cluster, ClusterAccess, ClusterReports, Metrics};

use crate::{cli, commands, log};

pub(crate) async fn gateway(args: cli::Gateway) -> anyhow::Result<ExitCode> {
    log::start("info");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let client =
        windlass_kube::client(Some(&metrics)).await.context("no cluster can be reached")?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    info!(address = %listener.local_addr()?, "gateway listens");
    let gateway = Gateway {
        jobs: Arc::new(Cluster::new(client.clone())),
        access: Arc::new(ClusterAccess::new(client.clone())),
        reports: Some(Arc::new(ClusterReports::new(client))),
        // Inside a cluster every Host is somebody's name of the Service; the token decides.
        allowed_hosts: None,
        limits: Limits::default(),
        meters: Arc::new(Meters::beside(registry)),
    };
    windlass_gateway::serve(listener, gateway, commands::stopped()).await?;
    Ok(ExitCode::SUCCESS)
}
