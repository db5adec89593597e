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
    pub(super) async fn seat(self: &Arc<Self>) -> Seat {
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
        Seat {
            crowd: self.clone(),
            leave: Arc::new(Notify::new()),
            turn: Mutex::new(None),
            _permit: permit,
        }
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

/// One connection's place.
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    leave: Arc<Notify>,
    /// Its turn among the idle ones, while it is idle.
    turn: Mutex<Option<u64>>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    /// It waits for a request.
    pub(super) fn idle(&self) {
        let mut turn = self.turn();
        let mut idle = self.crowd.idle();
        let next = idle.next;
        idle.next += 1;
        idle.waiting.insert(next, self.leave.clone());
        if let Some(old) = turn.replace(next) {
            idle.waiting.remove(&old);
        }
        self.crowd.changed.notify_waiters();
    }

    /// It is being answered.
    pub(super) fn busy(&self) {
        if let Some(turn) = self.turn().take() {
            self.crowd.idle().waiting.remove(&turn);
        }
    }

    /// Whether it waits for a request.
    pub(super) fn is_idle(&self) -> bool {
        self.turn().is_some()
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

    fn turn(&self) -> MutexGuard<'_, Option<u64>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.busy();
    }
}
