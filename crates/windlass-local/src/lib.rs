//! Windlass on one machine: the same jobs, in processes of this machine.
//!
//! In: jobs through [`Jobs`](windlass_core::Jobs), manifests of functions and queues, and the
//! reports of workers. Out: one worker process an attempt, and the status of jobs. Deciding is
//! core's: the file names follow a job as they do on a cluster, [`observe`] -> core `plan` ->
//! [`apply`] -> status, told once and last, by the one task in [`driver`] that owns the state.
//!
//! Deliberately absent, so far: a store that survives the process. Jobs live in memory.

mod apply;
mod attempt;
mod driver;
pub mod functions;
mod jobs;
mod line;
mod observe;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use windlass_core::Cpus;

pub use functions::Functions;
pub use jobs::NAMESPACE;

/// What an engine is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// CPUs to grant.
    pub cpus: Cpus,
    /// Functions and queues.
    pub functions: Functions,
    /// Directory for the attempts' files and for results above 32 KiB. It must exist.
    pub data: PathBuf,
    /// The windlass program, which is started as `PROGRAM worker -- FUNCTION ARGS...`.
    pub program: PathBuf,
    /// Where functions write what is neither result nor progress.
    pub logs: Logs,
    /// How long a function may take to stop, before it is killed.
    pub grace: Duration,
}

/// Where functions write what is neither result nor progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// To this process's standard error.
    Stderr,
    /// Nowhere; the end of stderr is in the failure message.
    Nowhere,
}

/// An engine that runs.
pub struct Engine {
    config: Arc<Config>,
    store: Arc<store::Store>,
    driver: mpsc::UnboundedSender<driver::Event>,
    /// A shutdown has begun: no job is accepted any more.
    ending: AtomicBool,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts the engine on the current runtime.
    pub fn start(mut config: Config) -> std::io::Result<Arc<Self>> {
        // Functions have other working directories than this process.
        config.data = std::path::absolute(&config.data)?;
        config.program = std::path::absolute(&config.program)?;
        for directory in [attempt::directory(&config.data), attempt::results(&config.data)] {
            std::fs::create_dir_all(directory)?;
        }
        let config = Arc::new(config);
        let store = Arc::new(store::Store::default());
        let (events, driver) = driver::Driver::new(Arc::clone(&config), Arc::clone(&store));
        let task = tokio::spawn(driver.run());
        let (ending, task) = (AtomicBool::new(false), Some(task).into());
        Ok(Arc::new(Self { config, store, driver: events, ending, task }))
    }

    /// Cancels every job and returns when no process is left. Meanwhile and afterwards no job is
    /// accepted.
    pub async fn shutdown(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.send(driver::Event::Shutdown);
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the driver ended badly");
        }
    }

    fn send(&self, event: driver::Event) {
        if self.driver.send(event).is_err() {
            tracing::debug!("the driver has ended");
        }
    }
}
