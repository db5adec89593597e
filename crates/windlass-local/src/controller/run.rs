//! The loop: events in, a turn at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::active_jobs::ActiveJobs;
use super::check::Checks;
use super::context::Context;
use super::delay_queue::DelayQueue;
use super::expiry::Expiry;
use super::grants::{announce_waiting, preempt, start_granted};
use super::on_event::{on_event, on_time};
use super::recover::{self, LostAttempts};
use super::state::State;
use super::warm_functions;
use crate::attempt::running_attempts::LiveAttempts;
use crate::confine::{Cgroups, Cores};
use crate::event::Event;
use crate::queueing::admission::MachineAdmission;
use crate::store::Unfinished;

/// Most events of one turn: a flood of them does not keep jobs from starting.
const MAX_TURN_EVENTS: usize = 256;

/// The task that owns the jobs.
pub(crate) struct Controller {
    state: State,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Controller {
    pub(crate) fn new(
        ctx: Arc<Context>,
        cores: Cores,
        cgroups: Cgroups,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        let Context { config, files, backlog, clock, events: sender, .. } = &*ctx;
        let attempts = LiveAttempts::new(config, files, cores, cgroups, sender.clone());
        let mut admission = MachineAdmission::new(config.cpus, Arc::clone(backlog), clock.now());
        admission.set_queues(&config.functions.current());
        let state = State {
            signals: config.stop.clone(),
            ctx,
            jobs: ActiveJobs::default(),
            attempts,
            admission,
            without_function: BTreeSet::new(),
            requeued: DelayQueue::default(),
            expiry: Expiry::default(),
            checks: Checks::default(),
        };
        Self { state, events }
    }

    /// Takes over what an earlier server has left.
    pub(crate) fn recover(&mut self, unfinished: Vec<Unfinished>, lost: &LostAttempts) {
        recover::recover(&mut self.state, unfinished, lost);
    }

    /// Runs until a shutdown has left no process.
    pub(crate) async fn run(mut self) {
        let Self { state, events } = &mut self;
        end_turn(state);
        state.attempts.refill_workers();
        warm_functions::set_functions(state);
        state.checks.begin(&state.ctx.config);
        while !(state.is_stopping() && state.attempts.is_empty()) {
            let times = [state.requeued.next(), state.expiry.next(), state.attempts.next_expiry()];
            let next = times.into_iter().flatten().min();
            let timer = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let signals = state.signals.clone();
            let signalled = async {
                match &signals {
                    Some(signals) => signals.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = signalled => state.begin_shutdown(),
                Some(event) = events.recv() => {
                    on_event(state, event);
                    for _ in 1..MAX_TURN_EVENTS {
                        let Ok(event) = events.try_recv() else { break };
                        on_event(state, event);
                    }
                }
                () = timer => on_time(state),
            }
            end_turn(state);
            state.attempts.reap_supervisors();
        }
        // One that is being started in advance is told once it is there.
        while state.attempts.is_starting_worker()
            && let Some(event) = events.recv().await
        {
            on_event(state, event);
        }
        // What was sent while the last attempt ended.
        events.close();
        while let Ok(event) = events.try_recv() {
            on_event(state, event);
        }
        state.attempts.join_supervisors().await;
        state.attempts.end_idle_workers().await;
    }
}

/// Starts who may start, of all that the turn's events have brought.
fn end_turn(state: &mut State) {
    start_granted(state);
    preempt(state);
    announce_waiting(state);
    state.admission.measure(&state.ctx.metrics);
    let (waiting, memory_bytes) = state.attempts.warm_idle();
    state.ctx.metrics.set_warm(waiting, memory_bytes);
    state.ctx.config.activity.notify_one();
    if state.is_draining() && state.attempts.is_empty() {
        state.ctx.drained.notify_one();
    }
}
