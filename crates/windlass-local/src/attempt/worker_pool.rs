//! Workers that are started before they are needed and wait for their order. Each carries out one, unless its
//! function serves: then it goes to [`warm_pool`](super::warm_pool).

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::warn;
use uuid::Uuid;
use windlass_core::Cpus;
use windlass_core::assignment::{Confinement, Instruction, Order, Preparation, Program};
use windlass_worker::private_files;

use super::give_order::{give, input_path, say, text, work_path};
use crate::event::{Event, EventSender};
use crate::process::{IdleWorker, Logs, WorkerCommand};

/// Most workers that wait for an order.
const MAX_IDLE: usize = 4;

/// Workers that wait for an order.
pub(super) struct WorkerPool {
    command: Arc<WorkerCommand>,
    /// The directory of all workers' directories.
    attempts: PathBuf,
    wanted: usize,
    events: EventSender,
    idle: VecDeque<IdleWorker>,
    starting: usize,
    last_number: u64,
}

impl WorkerPool {
    /// For a server that grants so many CPUs.
    pub(super) fn new(
        command: WorkerCommand,
        attempts: PathBuf,
        cpus: Cpus,
        events: EventSender,
    ) -> Self {
        let command = Arc::new(command);
        // One more than may start at once: the next is made when one has ended, not while it starts.
        let wanted = MAX_IDLE.min(cpus as usize + 1);
        let idle = VecDeque::new();
        Self { command, attempts, wanted, events, idle, starting: 0, last_number: 0 }
    }

    /// Starts as many as may be needed at once. `events` hears when they are there.
    pub(super) fn refill(&mut self) {
        while self.idle.len() + self.starting < self.wanted {
            self.starting += 1;
            let home = self.next_home();
            let (command, events) = (Arc::clone(&self.command), self.events.clone());
            spawn_blocking(move || events.send(Event::WorkerStarted(command.spawn(home))));
        }
    }

    /// One that was started is there, or could not be.
    pub(super) fn add(&mut self, worker: io::Result<IdleWorker>) {
        self.starting = self.starting.saturating_sub(1);
        match worker {
            Ok(worker) => self.idle.push_back(worker),
            Err(error) => warn!(%error, "no worker can be started in advance"),
        }
    }

    /// Whether one is being started.
    pub(super) fn is_starting(&self) -> bool {
        self.starting > 0
    }

    /// Ends those that wait. Returns when they are gone.
    pub(super) async fn end(&mut self) {
        for mut worker in self.idle.drain(..) {
            if let Err(error) = worker.child.kill().await {
                warn!(%error, "a worker that waited cannot be ended");
            }
        }
    }

    /// Gives an order to a worker that waits, or to a new one.
    pub(super) fn assign(
        &mut self,
        job_uid: Uuid,
        order: &Order,
        input: &[u8],
    ) -> io::Result<IdleWorker> {
        self.give_to_first(|worker| {
            give(&worker.socket, &worker.home, job_uid, order.clone(), input)
        })
    }

    /// Has a worker start a function that serves, before there is a job.
    pub(super) fn prepare(
        &mut self,
        program: &Program,
        confinement: &Confinement,
    ) -> io::Result<IdleWorker> {
        let has_logs = matches!(self.command.options.logs, Logs::Files);
        self.give_to_first(|worker| {
            let (input, work) = (input_path(&worker.home), text(&work_path(&worker.home)));
            private_files::write(&input, b"")?;
            let mut program = program.clone();
            program.directory.get_or_insert_with(|| work.clone());
            let (input, confinement) = (text(&input), Some(confinement.clone()));
            let preparation = Preparation { program, confinement, input, work, has_logs };
            Ok(say(&worker.socket, &Instruction::Prepare(preparation)))
        })
    }

    /// Tells something to a worker that waits, or to a new one. The inner error is that the worker has gone.
    fn give_to_first(
        &mut self,
        told: impl Fn(&IdleWorker) -> io::Result<io::Result<()>>,
    ) -> io::Result<IdleWorker> {
        loop {
            let worker = self.take()?;
            let Some(pid) = worker.child.id() else { continue };
            match told(&worker)? {
                Ok(()) => return Ok(worker),
                // Somebody has killed it while it waited.
                Err(error) => warn!(%error, pid, "a worker has gone while it waited"),
            }
        }
    }

    fn take(&mut self) -> io::Result<IdleWorker> {
        match self.idle.pop_front() {
            Some(worker) => Ok(worker),
            None => {
                let home = self.next_home();
                self.command.spawn(home)
            }
        }
    }

    fn next_home(&mut self) -> PathBuf {
        self.last_number += 1;
        self.attempts.join(self.last_number.to_string())
    }
}
