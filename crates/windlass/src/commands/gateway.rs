//! `windlass gateway`.

use crate::flags::listener::ListenerFlags;
use clap::Args;
use clap::builder::FalseyValueParser;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tracing::info;
use windlass_core::blobs::Blobs;
use windlass_core::jobs::Reports;
use windlass_gateway::metrics::Meters;
use windlass_gateway::operations_server::{self, OperationsServer};
use windlass_gateway::{Gateway, LiveProgress, PeerTrust, Peers, ServerLimits, share_progress};
use windlass_kube::{Cluster, ClusterAccess, ClusterHistory, ClusterReports, Metrics};
use windlass_results::Results;
use windlass_traces::{TracedReports, Traces};
use windlass_worker::tls::trusting_nobody;

use crate::flags::bad_usage::BadUsage;
use crate::flags::quantity::quantity;
use crate::output::log;
use crate::process;
use crate::server::authorities;
use crate::server::descriptors;
use crate::server::listen::listen;
use crate::server::memory;

/// Descriptors of the runtime, of calls to the API server, of probes, and of one watch for each job that is followed.
const OWN_DESCRIPTORS: usize = 240;

/// Between two looks whether the caller of a long answer may still have it. Each asks the API server
/// twice, for each caller.
const RECHECK: Duration = Duration::from_secs(60);

/// Answer the REST API of a cluster.
#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0:7070", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Speak without TLS to others than this machine: tokens and results are then as safe as the
    /// network is
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) plain_http: bool,
    #[command(flatten)]
    pub(crate) listener: ListenerFlags,
    /// Address that answers `/healthz`, `/readyz` and, to whoever may, `/metrics`, however many callers
    /// there are at the other one, and with TLS where that has it [default: none]
    #[arg(long, env = "WINDLASS_OPERATIONS", value_name = "ADDRESS:PORT")]
    pub(crate) operations: Option<SocketAddr>,
    /// Where results above 32 KiB, larger inputs and files are kept: s3://BUCKET/PREFIX, with credentials,
    /// region and endpoint in AWS_* variables, or file:///DIRECTORY, which all gateways share [default:
    /// nowhere; such a result fails its job, and such an input is refused]
    #[arg(long, env = "WINDLASS_RESULTS", value_name = "URL")]
    pub(crate) results: Option<String>,
    /// Most bytes of inputs and files there, of one namespace; beyond it they are refused with 403
    #[arg(
        long,
        env = "WINDLASS_NAMESPACE_BLOB_QUOTA",
        value_name = "QUANTITY",
        value_parser = quantity,
        requires = "results"
    )]
    pub(crate) namespace_blob_quota: Option<u64>,
    /// Most bytes of inputs and files there, of all namespaces together
    #[arg(
        long,
        env = "WINDLASS_BLOB_QUOTA",
        value_name = "QUANTITY",
        value_parser = quantity,
        requires = "results"
    )]
    pub(crate) blob_quota: Option<u64>,
    /// The ingress in front of the gateway signs the users of a browser in, and adds their token as
    /// `Authorization: Bearer`: the dashboard asks for none
    #[arg(long, env = "WINDLASS_INGRESS_SIGNS_IN", value_parser = FalseyValueParser::new())]
    pub(crate) ingress_signs_in: bool,
    /// Count what happens to the jobs of this namespace only, or of these, separated by commas [default: all]
    #[arg(long, env = "WINDLASS_NAMESPACE", value_delimiter = ',')]
    pub(crate) namespace: Vec<String>,
    /// Other replicas of this gateway, which are told of progress: a name with all their addresses
    #[arg(long, env = "WINDLASS_PEERS", value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// File with the token that they accept, of the audience `windlass-gateway`
    #[arg(long, env = "WINDLASS_PEER_TOKEN", value_name = "FILE")]
    pub(crate) peer_token: Option<PathBuf>,
    /// This replica's own address among them
    #[arg(long, env = "WINDLASS_OWN_ADDRESS", value_name = "ADDRESS")]
    pub(crate) own_address: Option<IpAddr>,
    /// Certificate authorities of the other replicas (PEM), with TLS: of several files the first that is
    /// there and not empty, read again when it changes
    #[arg(
        long,
        env = "WINDLASS_PEER_CA",
        value_name = "FILE",
        value_delimiter = ',',
        requires = "peer_host"
    )]
    pub(crate) peer_ca: Vec<PathBuf>,
    /// Name that the certificates of all replicas are for
    #[arg(long, env = "WINDLASS_PEER_HOST", value_name = "NAME", requires = "peer_ca")]
    pub(crate) peer_host: Option<String>,
}

pub(crate) async fn gateway(args: GatewayArgs) -> anyhow::Result<ExitCode> {
    log::start("info");
    memory::keep_little();
    let tls = args.listener.tls()?;
    if tls.is_none() && !args.plain_http && !args.listen.ip().is_loopback() {
        let why = format!(
            "{} is not loopback: give --tls-cert and --tls-key, or --plain-http where the network \
             is trusted",
            args.listen
        );
        return Err(BadUsage(why).into());
    }
    let peers = peers(&args)?;
    descriptors::raise(OWN_DESCRIPTORS).context("the limit of file descriptors")?;
    let mut registry = Registry::default();
    let metrics = Metrics::register_calls(&mut registry);
    let client =
        windlass_kube::client(&metrics, None).await.context("no cluster can be reached")?;
    let results = match &args.results {
        Some(url) => {
            let results = results(url).await?;
            Some(results.with_blob_quotas(args.namespace_blob_quota, args.blob_quota))
        }
        None => None,
    };
    if let Some(results) = &results {
        tokio::spawn(windlass_kube::run_store_gc(client.clone(), results.clone()));
    }
    let listener = listen(args.listen).await?;
    let operations = match args.operations {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    info!(address = %listener.local_addr()?, tls = tls.is_some(), "gateway listens");
    let reports = traced(ClusterReports::new(client.clone(), results.clone()))?;
    let meters = Arc::new(Meters::beside(registry));
    let live = Arc::new(LiveProgress::default());
    let mut access = ClusterAccess::new(client.clone());
    if let Some(peers) = peers {
        access = access.with_peers(peers.token.clone());
        tokio::spawn(share_progress(Arc::clone(&live), peers, Arc::clone(&meters)));
    }
    let history = Arc::new(ClusterHistory::default());
    tokio::spawn(Arc::clone(&history).follow(client.clone(), args.namespace.clone()));
    let cluster = Arc::new(Cluster::new(client, results.clone()).with_history(history));
    let gateway = Gateway {
        jobs: Arc::clone(&cluster) as Arc<_>,
        changes: cluster,
        access: Arc::new(access),
        reports: Some(reports),
        blobs: results.clone().map(|results| Arc::new(results) as Arc<dyn Blobs>),
        drain: None,
        // Inside a cluster every Host is somebody's name of the Service; the token decides.
        allowed_hosts: None,
        ingress_signs_in: args.ingress_signs_in,
        limits: args.listener.limits(ServerLimits {
            connections: descriptors::connections(OWN_DESCRIPTORS),
            recheck: RECHECK,
            ..ServerLimits::default()
        }),
        meters,
        live,
        tls,
        activity: Arc::default(),
    };
    run(listener, operations, gateway).await?;
    Ok(ExitCode::SUCCESS)
}

/// What commits workers' reports, with traces of them where there is a collector.
fn traced(reports: ClusterReports) -> anyhow::Result<Arc<dyn Reports>> {
    let reports = Arc::new(reports);
    Ok(match Traces::from_environment()? {
        Some(traces) => Arc::new(TracedReports::new(reports, traces)),
        None => reports,
    })
}

/// Answers until the process is asked to stop. Then probes are answered no more: it is not ready.
async fn run(
    listener: TcpListener,
    operations: Option<TcpListener>,
    gateway: Gateway,
) -> io::Result<()> {
    let activity = Arc::clone(&gateway.activity);
    let probed = OperationsServer::beside(&gateway);
    let probes = async {
        match operations {
            Some(listener) => operations_server::serve(listener, probed, process::stopped()).await,
            None => Ok(()),
        }
    };
    let calls = windlass_gateway::serve(listener, gateway, process::stopped());
    tokio::select! {
        served = async { tokio::try_join!(calls, probes) } => served.map(|_| ()),
        never = memory::give_back(&activity, async || ()) => match never {},
    }
}

/// The other replicas, which speak TLS where this one does.
fn peers(args: &GatewayArgs) -> anyhow::Result<Option<Peers>> {
    let Some(token) = args.peer_token.clone().filter(|_| !args.peers.is_empty()) else {
        return Ok(None);
    };
    let bad = |why: &dyn std::fmt::Display| BadUsage(format!("--peers: {why}"));
    let (host, trusted): (_, PeerTrust) = match (&args.listener.tls_cert, &args.peer_host) {
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
