//! `windlass controller`.

use clap::{ArgAction, Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tracing::info;
use windlass_core::kept_log::MAX_KEPT_LOG_BYTES;
use windlass_gateway::operations_server::{self, OperationsServer};
use windlass_kube::Ended;
use windlass_kube::{
    ClusterAccess, Injection, ManageJobs, Metrics, ReportEndpoint, WorkerImage, WorkerSettings,
};
use windlass_traces::Traces;

use crate::flags::bad_usage::BadUsage;
use crate::output::log;
use crate::process;
use crate::server::authorities;
use crate::server::listen::listen;
use crate::server::memory;

/// Turn the ComputeJobs of a cluster into batch Jobs.
#[derive(Debug, Args)]
pub(crate) struct ControllerArgs {
    /// Only this namespace, or these, separated by commas [default: all]
    #[arg(long, env = "WINDLASS_NAMESPACE", value_name = "NAME", value_delimiter = ',')]
    pub(crate) namespace: Vec<String>,
    /// Where workers report to, as their pods reach it
    #[arg(long, env = "WINDLASS_REPORT_URL", value_name = "URL")]
    pub(crate) report_url: String,
    /// Certificate authorities of that URL (PEM) when it is https, which workers are told: of several
    /// files the first that is there and not empty, read again when it changes; 16 KiB at most
    #[arg(long, env = "WINDLASS_REPORT_CA", value_name = "FILE", value_delimiter = ',')]
    pub(crate) report_ca: Vec<PathBuf>,
    /// Most bytes of what each attempt says that its worker sends to the gateway, which keeps them with the results: for
    /// gateways with `--results`. With 0 none are sent
    #[arg(
        long,
        env = "WINDLASS_KEEP_LOG_BYTES",
        value_name = "BYTES",
        default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(..=MAX_KEPT_LOG_BYTES)
    )]
    pub(crate) keep_log_bytes: u64,
    /// Address that answers `/healthz`, `/readyz` and, to whoever may, `/metrics` [default: none]
    #[arg(long, env = "WINDLASS_OPERATIONS", value_name = "ADDRESS:PORT")]
    pub(crate) operations: Option<SocketAddr>,
    /// Whether of several controllers only the holder of a Lease acts
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub(crate) leader_elect: bool,
    /// Namespace of that Lease, `windlass-controller` [default: the current context's, or the pod's]
    #[arg(long, env = "WINDLASS_LEASE_NAMESPACE", value_name = "NAME")]
    pub(crate) lease_namespace: Option<String>,
    /// Take an attempt for dead when its node's object is deleted: whoever deletes one has made sure
    /// that the machine runs nothing any more
    #[arg(long, env = "WINDLASS_DELETED_NODES_ARE_FENCED")]
    pub(crate) deleted_nodes_are_fenced: bool,
    /// Let a job that names no queue wait for one also where its namespace has no ComputeQueue
    #[arg(long, env = "WINDLASS_REQUIRE_QUEUE")]
    pub(crate) require_queue: bool,
    /// How long a pod may wait for a node that has room, in seconds. Then its CPUs go back to its ComputeQueue, and the job
    /// is tried again later, with fewer CPUs if it may take fewer. With 0 it waits until its start deadline
    #[arg(
        long,
        env = "WINDLASS_UNSCHEDULABLE_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 10
    )]
    pub(crate) unschedulable_timeout_seconds: u32,
    /// Keep pods of functions with `warm` that wait for jobs, and are resized to the CPUs of theirs; from Kubernetes 1.33
    #[arg(long, env = "WINDLASS_STANDBYS")]
    pub(crate) standbys: bool,
    /// Whether to make the pods of batch Jobs here, and not wait for the cluster's Job controller, which makes 20
    /// requests a second; `auto` is from Kubernetes 1.33 on
    #[arg(long, env = "WINDLASS_MANAGE_JOBS", value_name = "WHEN", default_value = "never")]
    pub(crate) manage_jobs: WhenToManage,
    /// How the worker comes into the pods of functions whose images have nothing of Windlass. `auto` is `image-volume`
    /// where the API server and every node say that they have them (from Kubernetes 1.35, containerd 2.1 or CRI-O 1.35
    /// on), else `init-container`; with `none` each function's image has `windlass` on its PATH
    #[arg(long, env = "WINDLASS_WORKER_INJECTION", value_name = "HOW", default_value = "none")]
    pub(crate) worker_injection: HowToInject,
    /// The image of this program, out of which the worker comes
    #[arg(long, env = "WINDLASS_WORKER_IMAGE", value_name = "IMAGE")]
    pub(crate) worker_image: Option<String>,
    /// When that image is pulled, in Kubernetes' words [default: Kubernetes' own]
    #[arg(long, env = "WINDLASS_WORKER_IMAGE_PULL_POLICY", value_name = "POLICY")]
    pub(crate) worker_image_pull_policy: Option<String>,
    /// Secrets with which it is pulled: pods name them, each in the namespace of its function
    #[arg(
        long,
        env = "WINDLASS_WORKER_IMAGE_PULL_SECRETS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) worker_image_pull_secret: Vec<String>,
}

/// By what the worker is brought to pods.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HowToInject {
    Auto,
    #[value(alias = "imageVolume")]
    ImageVolume,
    #[value(alias = "initContainer")]
    InitContainer,
    None,
}

/// When the controller makes the pods of its batch Jobs itself (`spec.managedBy`).
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WhenToManage {
    Auto,
    Always,
    Never,
}

impl From<WhenToManage> for ManageJobs {
    fn from(when: WhenToManage) -> Self {
        match when {
            WhenToManage::Auto => Self::Auto,
            WhenToManage::Always => Self::Always,
            WhenToManage::Never => Self::Never,
        }
    }
}

pub(crate) async fn controller(args: ControllerArgs) -> anyhow::Result<ExitCode> {
    log::start("info");
    memory::keep_little();
    let worker = worker_settings(&args)?;
    let report = report_place(args.report_url, args.report_ca, args.keep_log_bytes)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let client = windlass_kube::client(&metrics, Some(windlass_kube::LONGEST_SILENCE))
        .await
        .context("no cluster can be reached")?;
    let lease = args.lease_namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let settings = windlass_kube::Settings {
        namespaces: args.namespace,
        report,
        lease_namespace: args.leader_elect.then_some(lease),
        name: host,
        deleted_nodes_are_fenced: args.deleted_nodes_are_fenced,
        require_queue: args.require_queue,
        unschedulable_timeout: (args.unschedulable_timeout_seconds > 0)
            .then(|| Duration::from_secs(args.unschedulable_timeout_seconds.into())),
        standbys: args.standbys,
        manage_jobs: args.manage_jobs.into(),
        worker,
        system_time: jiff::Timestamp::now,
        ended: Traces::from_environment()?
            .map(|traces| -> Ended { Arc::new(move |job| traces.job(job)) }),
    };
    let served = settings.namespaces.join(",");
    info!(namespace = if served.is_empty() { "*" } else { &served }, "controller starts");
    let ready = watch::Sender::new(false);
    let controller = |operated| {
        windlass_kube::run(client.clone(), settings, metrics, operated, process::stopped())
    };
    // It renews its Lease all the time, so that another timer costs nothing.
    tokio::spawn(memory::give_back_regularly());
    let Some(address) = args.operations else {
        controller(ready).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let listener = listen(address).await?;
    info!(address = %listener.local_addr()?, "answers probes and whoever may read metrics");
    let access = Arc::new(ClusterAccess::new(client.clone()));
    let operations = OperationsServer::new(registry, access, ready.subscribe());
    tokio::select! {
        ran = controller(ready) => ran?,
        served = operations_server::serve(listener, operations, std::future::pending::<()>()) => served?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How the worker comes into pods.
fn worker_settings(args: &ControllerArgs) -> Result<WorkerSettings, BadUsage> {
    let injection = match args.worker_injection {
        HowToInject::None => return Ok(WorkerSettings::InImages),
        HowToInject::Auto => Injection::Auto,
        HowToInject::ImageVolume => Injection::ImageVolume,
        HowToInject::InitContainer => Injection::InitContainer,
    };
    let Some(reference) = args.worker_image.clone() else {
        return Err(BadUsage("--worker-injection needs --worker-image".into()));
    };
    let pull_policy = args.worker_image_pull_policy.clone();
    let pull_secrets = args.worker_image_pull_secret.clone();
    Ok(WorkerSettings::Brought(WorkerImage { reference, pull_policy, pull_secrets }, injection))
}

/// Workers trust nobody but who is named: an image of a function has no authorities of its own.
fn report_place(
    url: String,
    files: Vec<PathBuf>,
    keep_log_bytes: u64,
) -> Result<ReportEndpoint, BadUsage> {
    let keep_log_bytes = Some(keep_log_bytes).filter(|bytes| *bytes > 0);
    let authorities = match (url.starts_with("https://"), files.is_empty()) {
        (false, true) => return Ok(ReportEndpoint { url, authorities: None, keep_log_bytes }),
        (false, false) => return Err(BadUsage("--report-ca is for an https --report-url".into())),
        (true, true) => return Err(BadUsage("an https --report-url needs --report-ca".into())),
        (true, false) => {
            authorities::follow(files).map_err(|why| BadUsage(format!("--report-ca: {why}")))?
        }
    };
    let now = move || Arc::clone(&authorities.borrow().pem);
    Ok(ReportEndpoint { url, authorities: Some(Arc::new(now)), keep_log_bytes })
}
