//! What every engine on one machine needs, from the command line and the machine itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tracing::debug;
use windlass_core::Cpus;
use windlass_core::assignment::RunAs;
use windlass_core::contract::STOP_GRACE_SECONDS;
use windlass_local::{Bounds, Config, Functions, Library, Logs, WorkerOptions};
use windlass_metrics::JobMetrics;

use crate::flags::bad_usage::BadUsage;
use crate::flags::machine::{Landlock, MachineFlags};
use crate::server::builtin_functions::builtin;

/// The built-in functions and those of the command line and of the manifests that were named.
pub(crate) fn functions(args: &MachineFlags) -> anyhow::Result<Functions> {
    let mut functions = without_manifests(args)?;
    for path in &args.functions {
        functions.load(path).map_err(|error| BadUsage(error.to_string()))?;
    }
    Ok(functions)
}

/// The same, read again whenever the manifests change.
pub(crate) fn library(args: &MachineFlags) -> anyhow::Result<Library> {
    Library::open(without_manifests(args)?, args.functions.clone())
        .map_err(|error| BadUsage(error.to_string()).into())
}

/// The built-in functions and those of the command line.
fn without_manifests(args: &MachineFlags) -> anyhow::Result<Functions> {
    let mut functions = Functions::builtin(builtin(None));
    if args.define.is_empty() {
        return Ok(functions);
    }
    let directory = std::env::current_dir().context("the working directory is not known")?;
    for definition in &args.define {
        let mut function = definition.function(cpus(args)?);
        function.spec.pass_env.clone_from(&args.pass_env);
        let registered = functions.register(function, directory.clone());
        registered.map_err(|why| BadUsage(format!("--function {}: {why}", definition.name)))?;
    }
    Ok(functions)
}

/// The CPUs to grant.
fn cpus(args: &MachineFlags) -> anyhow::Result<Cpus> {
    match args.cpus {
        Some(cpus) => Ok(cpus),
        // Affinity and the quota of the cgroup are both in it.
        None => std::thread::available_parallelism()
            .context("the number of CPUs is not known; give it with --cpus")
            .map(|cpus| u32::try_from(cpus.get()).unwrap_or(1)),
    }
}

/// What an engine is told that lives no longer than one command.
pub(crate) fn config(
    args: &MachineFlags,
    functions: Library,
    data: &Path,
) -> anyhow::Result<Config> {
    let program = std::env::current_exe().context("this program's path is not known")?;
    Ok(Config {
        cpus: cpus(args)?,
        functions: Arc::new(functions),
        data: data.to_owned(),
        durable: false,
        bounds: Bounds {
            max_queued: u32::MAX,
            max_stored_bytes: u64::MAX,
            blob_quota: None,
            attempt_disk_bytes: None,
            warm_memory_bytes: 0,
        },
        worker: WorkerOptions {
            program,
            logs: Logs::Stderr,
            descriptors: None,
            grace: Duration::from_secs(STOP_GRACE_SECONDS),
            run_as: run_as(args)?,
        },
        stop: None,
        hides_data: hides_data(args.landlock, data)?,
        metrics: JobMetrics::default(),
        activity: Arc::default(),
    })
}

/// The user that functions run as, if that is another.
fn run_as(args: &MachineFlags) -> anyhow::Result<Option<RunAs>> {
    if args.function_user.is_some() && !rustix::process::geteuid().is_root() {
        return Err(BadUsage("--function-user is for a server that root starts".into()).into());
    }
    Ok(args.function_user.clone())
}

/// Whether functions are kept out of this data directory, which may not be there yet.
fn hides_data(wanted: Landlock, data: &Path) -> anyhow::Result<bool> {
    if wanted == Landlock::Off {
        return Ok(false);
    }
    let data = std::path::absolute(data).context("the working directory is not known")?;
    let there = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match windlass_worker::can_hide(&std::fs::canonicalize(there)?) {
        Ok(()) => Ok(true),
        Err(error) if wanted == Landlock::On => {
            Err(BadUsage(format!("--landlock on: {error}")).into())
        }
        Err(error) => {
            debug!(%error, "functions can read the data directory");
            Ok(false)
        }
    }
}

/// The user's data directory, by the XDG base directory specification.
pub(crate) fn data_directory() -> anyhow::Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("windlass"))
        .ok_or_else(|| BadUsage("neither XDG_DATA_HOME nor HOME is set; give --data".into()).into())
}
