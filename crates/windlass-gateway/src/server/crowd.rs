//! How many connections are open, and which one goes when there are too many.
//!
//! A bound alone would let a few hundred silent connections lock everybody out until their
//! time is over. So at the bound the connection that has been idle longest, in its first request
//! head or between two requests, makes room for the next. One that is being answered never does:
//! when all are, new ones wait in the kernel's backlog.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub(super) struct Crowd {
    seats: Arc<Semaphore>,
    idle: Mutex<Idle>,
    /// Somebody has become idle, or did not leave when asked.
    changed: Notify,
}

/// The idle connections by the order in which they became so.
#[derive(Default)]
struct Idle {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Crowd {
    pub(super) fn new(max: usize) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))),
            idle: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// A seat for one more connection, once there is one.
    pub(super) async fn seat(self: &Arc<Self>) -> Arc<Seat> {
        let permit = loop {
            if let Ok(permit) = self.seats.clone().try_acquire_owned() {
                break permit;
            }
            // Made before the question, so that no answer to it is missed.
            let changed = self.changed.notified();
            self.ask_one_to_leave();
            tokio::select! {
                permit = self.seats.clone().acquire_owned() => {
                    break permit.expect("the semaphore is never closed");
                }
                () = changed => {}
            }
        };
        let seat = Seat {
            crowd: self.clone(),
            leave: Arc::new(Notify::new()),
            state: Mutex::default(),
            _permit: permit,
        };
        seat.wait_its_turn(&mut seat.state());
        Arc::new(seat)
    }

    fn ask_one_to_leave(&self) {
        if let Some((_, leave)) = self.idle().waiting.pop_first() {
            leave.notify_one();
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // A map and a counter are whole after any panic.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place. It is idle while it has no [`Busy`].
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    leave: Arc<Notify>,
    state: Mutex<State>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    /// How many reasons there are not to leave.
    busy: u32,
    /// Its turn among the idle ones, while it is one of them.
    turn: Option<u64>,
}

impl Seat {
    /// A reason not to leave, for as long as it lives.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.state();
        state.busy += 1;
        if let Some(turn) = state.turn.take() {
            self.crowd.idle().waiting.remove(&turn);
        }
        drop(state);
        Busy(self.clone())
    }

    fn wait_its_turn(&self, state: &mut State) {
        let mut idle = self.crowd.idle();
        let turn = idle.next;
        idle.next += 1;
        idle.waiting.insert(turn, self.leave.clone());
        state.turn = Some(turn);
        self.crowd.changed.notify_waiters();
    }

    /// Whether nothing keeps it.
    pub(super) fn is_idle(&self) -> bool {
        self.state().busy == 0
    }

    /// Whether it leaves, now that it was asked to: not when a request came first.
    pub(super) fn leaves(&self) -> bool {
        let leaves = self.is_idle();
        if !leaves {
            self.crowd.changed.notify_waiters();
        }
        leaves
    }

    /// Returns when it has to make room.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(turn) = self.state().turn.take() {
            self.crowd.idle().waiting.remove(&turn);
        }
    }
}

/// A request that is being answered, or bytes that its client has not taken yet.
pub(super) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        if state.busy == 0 {
            self.0.wait_its_turn(&mut state);
        }
    }
}
