//! `windlass gateway`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tracing::info;
use windlass_core::jobs::Reports;
use windlass_gateway::metrics::Meters;
use windlass_gateway::{Gateway, LiveProgress, Peers, ServerLimits, Trusted, tell_peers};
use windlass_kube::{Cluster, ClusterAccess, ClusterReports, Metrics};
use windlass_results::Results;
use windlass_traces::{TracedReports, Traces};
use windlass_worker::tls::trusting_nobody;

use crate::cli::{self, BadUsage};
use crate::{authorities, commands, descriptors, log};

/// Descriptors of the runtime, of calls to the API server, and of one watch for each job that is followed.
const OWN_DESCRIPTORS: usize = 200;

/// Between two looks whether the caller of a long answer may still have it. Each asks the API server
/// twice, for each caller.
const RECHECK: Duration = Duration::from_secs(60);

pub(crate) async fn gateway(args: cli::Gateway) -> anyhow::Result<ExitCode> {
    log::start("info");
    let tls = args.door.tls()?;
    if tls.is_none() && !args.plain_http && !args.listen.ip().is_loopback() {
        let why = format!(
            "{} is not loopback: give --tls-cert and --tls-key, or --plain-http where the network \
             is trusted",
            args.listen
        );
        return Err(BadUsage(why).into());
    }
    let peers = peers(&args)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let client =
        windlass_kube::client(&metrics, None).await.context("no cluster can be reached")?;
    let results = match &args.results {
        Some(url) => Some(results(url).await?),
        None => None,
    };
    if let Some(results) = &results {
        tokio::spawn(windlass_kube::run_result_gc(client.clone(), results.clone()));
    }
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    info!(address = %listener.local_addr()?, tls = tls.is_some(), "gateway listens");
    let mut reports: Arc<dyn Reports> =
        Arc::new(ClusterReports::new(client.clone(), results.clone()));
    if let Some(traces) = Traces::from_environment()? {
        reports = Arc::new(TracedReports::new(reports, traces));
    }
    let meters = Arc::new(Meters::beside(registry));
    let live = Arc::new(LiveProgress::default());
    let mut access = ClusterAccess::new(client.clone());
    if let Some(peers) = peers {
        access = access.with_peers(peers.token.clone());
        tokio::spawn(tell_peers(Arc::clone(&live), peers, Arc::clone(&meters)));
    }
    let gateway = Gateway {
        jobs: Arc::new(Cluster::new(client, results)),
        access: Arc::new(access),
        reports: Some(reports),
        // Inside a cluster every Host is somebody's name of the Service; the token decides.
        allowed_hosts: None,
        limits: args.door.limits(ServerLimits {
            connections: descriptors::connections(OWN_DESCRIPTORS),
            recheck: RECHECK,
            ..ServerLimits::default()
        }),
        meters,
        live,
        tls,
    };
    windlass_gateway::serve(listener, gateway, commands::stopped()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The other replicas, which speak TLS where this one does.
fn peers(args: &cli::Gateway) -> anyhow::Result<Option<Peers>> {
    let Some(token) = args.peer_token.clone().filter(|_| !args.peers.is_empty()) else {
        return Ok(None);
    };
    let bad = |why: &dyn std::fmt::Display| BadUsage(format!("--peers: {why}"));
    let (host, trusted): (_, Trusted) = match (&args.door.tls_cert, &args.peer_host) {
        (Some(_), Some(name)) => {
            let host = ServerName::try_from(name.clone()).map_err(|error| bad(&error))?;
            let seen = authorities::follow(args.peer_ca.clone()).map_err(|why| bad(&why))?;
            (Some(host), Arc::new(move || Arc::clone(&seen.borrow().trusted)))
        }
        (None, None) => {
            let nobody = Arc::new(trusting_nobody()?);
            (None, Arc::new(move || Arc::clone(&nobody)))
        }
        (Some(_), None) => {
            return Err(bad(&"with --tls-cert they need --peer-ca and --peer-host").into());
        }
        (None, Some(_)) => return Err(bad(&"--peer-host is for --tls-cert").into()),
    };
    Ok(Some(Peers { names: args.peers.clone(), own: args.own_address, token, host, trusted }))
}

/// The place of large results, which must answer now: a gateway that cannot store what it is sent is
/// found out when it starts.
async fn results(url: &str) -> anyhow::Result<Results> {
    let bad = |why: &dyn std::fmt::Display| BadUsage(format!("--results: {why}"));
    let results = Results::open(url).map_err(|error| bad(&error))?;
    results.check().await.with_context(|| format!("--results {url:?}"))?;
    Ok(results)
}
