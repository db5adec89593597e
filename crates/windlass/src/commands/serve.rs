//! `windlass serve`: the REST API over an engine in this process, on loopback or with TLS.

use crate::flags::listener::ListenerFlags;
use crate::flags::machine::MachineFlags;
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::{error, info, warn};
use windlass_core::blobs::Quota;
use windlass_gateway::metrics::Meters;
use windlass_gateway::{Gateway, ServerLimits, Tls};
use windlass_local::{Bounds, Config, Engine, Logs, WorkerOptions};
use windlass_metrics::JobMetrics;
use windlass_worker::stop_signals::StopSignals;

use crate::flags::bad_usage::BadUsage;
use crate::flags::quantity::quantity;
use crate::output::log;
use crate::server::access::TokenAccess;
use crate::server::address_file::AddressFile;
use crate::server::descriptors;
use crate::server::engine_config;
use crate::server::hosts;
use crate::server::listen::listen;
use crate::server::memory;
use crate::server::service_manager::ServiceManager;

/// Descriptors of the store, the runtime, the watch of the manifests, and files that are read.
const OWN_DESCRIPTORS: usize = 40;

/// Answer the REST API on this machine.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// A file with these flags as its keys (TOML): `windlass config print` writes one. What the command line or the
    /// environment says counts before it
    #[arg(long, env = "WINDLASS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on; any but loopback needs TLS
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// A name by which callers reach this server, with :PORT where that is another than it listens
    /// on; may be repeated. Requests for other hosts are refused [default: the address; on loopback
    /// localhost, too]
    #[arg(long, value_name = "NAME[:PORT]")]
    pub(crate) host: Vec<String>,
    #[command(flatten)]
    pub(crate) listener: ListenerFlags,
    /// Directory of everything that is kept: jobs, results, logs, the token
    /// [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How long a function may take to stop, in seconds, before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) grace: u64,
    /// Most jobs that wait for CPUs; beyond it submissions get 429
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) max_queued: u32,
    /// Most that jobs, results and logs may take on the disk; beyond it submissions get 503
    #[arg(long, value_name = "QUANTITY", default_value = "10Gi", value_parser = quantity)]
    pub(crate) max_stored: u64,
    /// Most bytes of inputs and files; beyond it they are refused with 403 [default: what --max-stored leaves]
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    pub(crate) blob_quota: Option<u64>,
    /// Most that one attempt may take of the disk, in its own directory (TMPDIR) and as its result; beyond it the job
    /// fails with DiskExceeded. 0 for no bound
    #[arg(long, value_name = "QUANTITY", default_value = "10Gi", value_parser = quantity)]
    pub(crate) attempt_disk: u64,
    /// Most memory that warm functions may hold together while they wait for a job; those that have waited longest
    /// are ended. 0 keeps none [default: a quarter of the machine's]
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    pub(crate) warm_memory: Option<u64>,
    #[command(flatten)]
    pub(crate) machine: MachineFlags,
}

impl Serve {
    /// The certificate and key, if any, with which it is safe to listen on this address by these names.
    pub(crate) fn checked_tls(&self) -> anyhow::Result<Option<Tls>> {
        let tls = self.listener.tls()?;
        if tls.is_none() && !self.listen.ip().is_loopback() {
            let why = format!("{} is not loopback: give --tls-cert and --tls-key", self.listen);
            return Err(BadUsage(why).into());
        }
        hosts::check(self.listen, &self.host)?;
        Ok(tls)
    }
}

pub(crate) async fn serve(args: Serve) -> anyhow::Result<ExitCode> {
    // First of all, because no thread may be without it.
    let signals = StopSignals::listen()?;
    log::start("info");
    memory::keep_little();
    descriptors::keep_from_functions();
    let tls = args.checked_tls()?;
    let manager = ServiceManager::find();
    let data = args.data.clone().map_or_else(engine_config::data_directory, Ok)?;
    let mut registry = Registry::default();
    let config = config(&args, &data, &signals, &mut registry).await?;
    let max_stored_bytes = config.bounds.max_stored_bytes;
    let others = other_descriptors(config.cpus);
    let (cpus, activity) = (config.cpus, Arc::clone(&config.activity));
    let hides_data = config.hides_data;
    let function_user = config.worker.run_as.as_ref().map(|run_as| run_as.user);
    let (is_open, attempt_disk_bytes) =
        (!hides_data && function_user.is_none(), config.bounds.attempt_disk_bytes);
    let listener = listen(args.listen).await?;
    let address = listener.local_addr()?;
    // It makes the directory and holds it for this server alone.
    let engine = Engine::start(config)?;
    let access = TokenAccess::in_directory(&data)?;
    let gateway = Gateway {
        jobs: Arc::clone(&engine) as Arc<_>,
        changes: Arc::clone(&engine) as Arc<_>,
        access: Arc::new(access),
        reports: None,
        blobs: Some(Arc::clone(&engine) as Arc<_>),
        drain: Some(Arc::clone(&engine) as Arc<_>),
        ingress_signs_in: false,
        allowed_hosts: Some(hosts::allowed(address, &args.host, tls.is_some())),
        limits: args.listener.limits(ServerLimits {
            connections: descriptors::connections(others),
            ..ServerLimits::default()
        }),
        meters: Arc::new(Meters::beside(registry)),
        tls: tls.clone(),
        live: Arc::default(),
        activity,
    };
    let stored_bytes = engine.stored_bytes();
    let data = std::path::absolute(&data)?;
    let _address = AddressFile::write(&data, address, tls.is_some()).context("its address")?;
    info!(
        %address, tls = tls.is_some(), cpus, stored_bytes, max_stored_bytes, data = %data.display(),
        landlock = hides_data, function_user, attempt_disk_bytes,
        "windlass serves; the token is in the data directory"
    );
    if is_open {
        warn!("functions can read the data directory: the token, and the files of other jobs");
    }
    // Whoever connects from now on is answered: the listener is there.
    manager.ready();
    run(listener, gateway, &engine, signals, &manager).await
}

/// What the flags say of the engine, which measures for this registry.
async fn config(
    args: &Serve,
    data: &Path,
    signals: &StopSignals,
    registry: &mut Registry,
) -> anyhow::Result<Config> {
    let bounds = Bounds {
        max_queued: args.max_queued,
        max_stored_bytes: args.max_stored,
        blob_quota: args.blob_quota.map(|limit| Quota { name: "blob-quota", limit }),
        attempt_disk_bytes: Some(args.attempt_disk).filter(|bytes| *bytes > 0),
        warm_memory_bytes: args.warm_memory.unwrap_or_else(|| memory::machine_memory_bytes() / 4),
    };
    let library = engine_config::library(&args.machine)?;
    let machine = engine_config::config(&args.machine, library, data)?;
    let others = other_descriptors(machine.cpus);
    let metrics = JobMetrics::register(registry);
    metrics.register_warm(registry);
    let config = Config {
        durable: true,
        bounds,
        worker: WorkerOptions {
            grace: Duration::from_secs(args.grace),
            logs: Logs::Files,
            descriptors: descriptors::raise(others).context("the limit of file descriptors")?,
            ..machine.worker
        },
        stop: Some(signals.clone()),
        metrics,
        ..machine
    };
    if let Some((name, why)) = windlass_local::wrong_function(&config).await {
        return Err(BadUsage(format!("--function {name} cannot be called: {why}")).into());
    }
    Ok(config)
}

/// Answers until the process is asked to stop, or is drained.
async fn run(
    listener: TcpListener,
    gateway: Gateway,
    engine: &Engine,
    signals: StopSignals,
    manager: &ServiceManager,
) -> anyhow::Result<ExitCode> {
    let activity = Arc::clone(&gateway.activity);
    let release = async || {
        if let Err(error) = engine.release_memory().await {
            warn!(%error, "the store keeps its memory");
        }
    };
    let until = async {
        tokio::select! {
            () = stopped(signals) => {}
            () = engine.drained() => info!("drained: nothing runs any more"),
        }
        manager.stopping();
    };
    tokio::select! {
        served = windlass_gateway::serve(listener, gateway, until) => served?,
        never = memory::give_back(&activity, release) => match never {},
        never = manager.keep_told(async || engine.answers().await) => match never {},
        why = engine.broken() => bail!("the store has failed: {why}"),
    }
    info!("stopping: what runs is ended, and started again by the next server on this directory");
    engine.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Returns once this process is asked to stop, or cannot know it any more.
async fn stopped(signals: StopSignals) {
    if let Err(error) = signals.recv().await {
        error!(%error, "signals cannot be received");
    }
}

/// Descriptors for the store and for the workers: each has a socket, and a few more while it starts.
fn other_descriptors(cpus: u32) -> usize {
    OWN_DESCRIPTORS + 2 * cpus as usize
}
