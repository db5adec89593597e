//! `windlass serve`: the REST API over an engine in this process, on loopback.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tracing::info;
use windlass_gateway::{Gateway, Limits};
use windlass_local::{Engine, Logs};

use crate::cli::{BadUsage, Serve};
use crate::token::TokenAccess;
use crate::{commands, log, machine};

pub(crate) async fn serve(args: Serve) -> anyhow::Result<ExitCode> {
    log::start("info");
    if !args.listen.ip().is_loopback() {
        let address = args.listen;
        return Err(BadUsage(format!("{address} is not loopback, and there is no TLS yet")).into());
    }
    let data = match args.data {
        Some(data) => data,
        None => machine::data_directory()?,
    };
    let cannot = || format!("{} cannot be used", data.display());
    std::fs::create_dir_all(&data).with_context(cannot)?;
    let data = std::fs::canonicalize(&data).with_context(cannot)?;
    let functions = machine::functions(&args.machine)?;
    let config = machine::config(&args.machine, functions, &data, Logs::Nowhere)?;
    let cpus = config.cpus;
    let access = TokenAccess::in_directory(&data)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let engine = Engine::start(config).context("the engine cannot start")?;
    let gateway = Gateway {
        jobs: Arc::clone(&engine) as Arc<_>,
        access: Arc::new(access),
        reports: None,
        allowed_hosts: Some(vec![address.to_string(), format!("localhost:{}", address.port())]),
        limits: Limits::default(),
    };
    info!(%address, cpus, token = %data.join("token").display(), "windlass serves");
    windlass_gateway::serve(listener, gateway, commands::stopped()).await?;
    info!("stopping: jobs are cancelled");
    engine.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
