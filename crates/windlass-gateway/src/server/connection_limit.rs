//! How many connections are open, and which one goes when there are too many.
//!
//! A bound alone would let a few hundred silent connections lock everybody out until their
//! time is over. So at the bound the connection that has been idle longest, in its first request
//! head or between two requests, makes room for the next. One that is being answered never does:
//! when all are, new ones wait in the kernel's backlog.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub(super) struct ConnectionLimiter {
    permits: Arc<Semaphore>,
    idle: Mutex<Idle>,
    /// A connection has become idle, or has refused to be evicted.
    changed: Notify,
    /// Told of each answer that was handed over, and of each connection that was closed.
    activity: Arc<Notify>,
}

/// The idle connections by the order in which they became so.
#[derive(Default)]
struct Idle {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl ConnectionLimiter {
    pub(super) fn new(max: usize, activity: Arc<Notify>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))),
            idle: Mutex::default(),
            changed: Notify::new(),
            activity,
        }
    }

    /// A slot for one more connection, once one is free.
    pub(super) async fn acquire(self: &Arc<Self>) -> Arc<ConnectionSlot> {
        let permit = loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                break permit;
            }
            // Made before the question, so that no answer to it is missed.
            let changed = self.changed.notified();
            self.evict_longest_idle();
            tokio::select! {
                permit = self.permits.clone().acquire_owned() => {
                    break permit.expect("the semaphore is never closed");
                }
                () = changed => {}
            }
        };
        let slot = ConnectionSlot {
            limiter: self.clone(),
            evict: Arc::new(Notify::new()),
            state: Mutex::default(),
            _permit: permit,
        };
        slot.become_idle(&mut slot.state());
        Arc::new(slot)
    }

    fn evict_longest_idle(&self) {
        if let Some((_, evict)) = self.idle().waiting.pop_first() {
            evict.notify_one();
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // A map and a counter are whole after any panic.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of one connection. It is idle while it has no [`BusyGuard`].
pub(super) struct ConnectionSlot {
    limiter: Arc<ConnectionLimiter>,
    evict: Arc<Notify>,
    state: Mutex<State>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    /// How many reasons there are to stay open.
    busy: u32,
    /// Its turn among the idle ones, while it is one of them.
    turn: Option<u64>,
}

impl ConnectionSlot {
    /// Keeps the connection from being evicted for as long as the guard lives.
    pub(super) fn keep_busy(self: &Arc<Self>) -> BusyGuard {
        let mut state = self.state();
        state.busy += 1;
        if let Some(turn) = state.turn.take() {
            self.limiter.idle().waiting.remove(&turn);
        }
        drop(state);
        BusyGuard(self.clone())
    }

    fn become_idle(&self, state: &mut State) {
        let mut idle = self.limiter.idle();
        let turn = idle.next;
        idle.next += 1;
        idle.waiting.insert(turn, self.evict.clone());
        state.turn = Some(turn);
        self.limiter.changed.notify_waiters();
    }

    /// Whether nothing keeps it open.
    pub(super) fn is_idle(&self) -> bool {
        self.state().busy == 0
    }

    /// Whether it closes now that it was evicted: not when a request came first.
    pub(super) fn accept_eviction(&self) -> bool {
        let closes = self.is_idle();
        if !closes {
            self.limiter.changed.notify_waiters();
        }
        closes
    }

    /// Returns when it has to make room.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.limiter.activity.notify_one();
        if let Some(turn) = self.state().turn.take() {
            self.limiter.idle().waiting.remove(&turn);
        }
    }
}

/// A request that is being answered, or bytes that its client has not taken yet.
pub(super) struct BusyGuard(Arc<ConnectionSlot>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        if state.busy == 0 {
            self.0.limiter.activity.notify_one();
            self.0.become_idle(&mut state);
        }
    }
}
