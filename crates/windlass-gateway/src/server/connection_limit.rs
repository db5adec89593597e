//! How many connections are open, and which one goes when there are too many.
//!
//! A bound alone would let a few hundred silent connections lock everybody out until their
//! time is over. So at the bound a connection makes room for the next: of those that are not kept for a known
//! caller, the one that has been so longest. It is idle, or is answered something that needs no token, however
//! slowly its client reads. One that is being answered to a known caller never makes room. The
//! [`busy_connections`](super::busy_connections) bound their number, so that some are always left.
//!
//! Making room takes until the connection's task runs, which under load is a while. So a sixteenth is kept free: each
//! newcomer that takes of it has another one go at once, and waits for none.
//!
//! One address has at most fifteen of sixteen connections. Beyond it its own make room, so that it does not
//! drive out those of others; when none can, the new one is closed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use windlass_core::jobs::Caller;

use super::busy_connections::{BusyConnections, TooManyBusy};
use crate::protocol::address::network_of;

/// What a worker is called as a caller. No user has a name with a space.
const WORKER: &str = "a worker";

pub(super) struct ConnectionLimiter {
    permits: Arc<Semaphore>,
    most_of_address: usize,
    /// So many are kept free.
    reserve: usize,
    open: Mutex<Open>,
    /// A connection has ended, may be evicted now, or has refused to be.
    changed: Notify,
    /// Told of each answer that was handed over, and of each connection that was closed.
    activity: Arc<Notify>,
}

/// What is open.
struct Open {
    next: u64,
    /// The connections that are kept for nobody, by the order in which they became so.
    evictable: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    by_address: HashMap<IpAddr, usize>,
    busy: BusyConnections,
}

impl ConnectionLimiter {
    pub(super) fn new(max: usize, activity: Arc<Notify>) -> Self {
        let open = Open {
            next: 0,
            evictable: BTreeMap::new(),
            by_address: HashMap::new(),
            busy: BusyConnections::among(max),
        };
        Self {
            permits: Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))),
            reserve: max / 16,
            // Where it is all of them, the connections that are there wait for each other.
            most_of_address: if max < 16 { usize::MAX } else { max - max / 16 },
            open: Mutex::new(open),
            changed: Notify::new(),
            activity,
        }
    }

    /// A slot for one more connection of this address, once one is free. `None` when the address has too
    /// many that cannot make room.
    pub(super) async fn acquire(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<ConnectionSlot>> {
        let address = network_of(peer);
        let permit = loop {
            // Made before the questions, so that no answer to them is missed.
            let changed = self.changed.notified();
            if self.open().connections_of(address) >= self.most_of_address {
                if !self.open().evict(|other| other == address) {
                    return None;
                }
            } else {
                if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                    break permit;
                }
                self.open().evict(|_| true);
            }
            changed.await;
        };
        let slot = ConnectionSlot {
            limiter: self.clone(),
            address,
            evict: Arc::new(Notify::new()),
            client_closed: Notify::new(),
            state: Mutex::default(),
            permit: Some(permit),
        };
        *self.open().by_address.entry(address).or_default() += 1;
        self.make_room(address);
        slot.become_evictable(&mut slot.state());
        Some(Arc::new(slot))
    }

    /// Has one go for the next newcomer: of this address when it nears its bound.
    fn make_room(&self, address: IpAddr) {
        let mut open = self.open();
        if open.connections_of(address).saturating_add(self.reserve) > self.most_of_address {
            open.evict(|other| other == address);
        } else if self.permits.available_permits() < self.reserve {
            open.evict(|_| true);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Maps and counters are whole after any panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn connections_of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    /// Tells the connection to go that has been kept for nobody longest, of the addresses that are meant.
    fn evict(&mut self, is_meant: impl Fn(IpAddr) -> bool) -> bool {
        let mut turns = self.evictable.iter();
        let turn = turns.find(|(_, (address, _))| is_meant(*address)).map(|(turn, _)| *turn);
        match turn.and_then(|turn| self.evictable.remove(&turn)) {
            Some((_, evict)) => {
                evict.notify_one();
                true
            }
            None => false,
        }
    }
}

/// The slot of one connection. It is idle while it has no [`BusyGuard`].
pub(crate) struct ConnectionSlot {
    limiter: Arc<ConnectionLimiter>,
    address: IpAddr,
    evict: Arc<Notify>,
    client_closed: Notify,
    state: Mutex<State>,
    /// Given back before the others are told.
    permit: Option<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct State {
    /// How many reasons there are to stay open.
    busy: u32,
    /// Its turn among those that may be evicted, while it is one of them.
    turn: Option<u64>,
    /// Whether there was a request.
    has_asked: bool,
    /// Whose request was the last.
    caller: Option<Caller>,
    /// The turn of a request of nobody known, until its caller is known or it is answered.
    request_turn: Option<OwnedSemaphorePermit>,
    /// Whether it counts among the busy ones of the caller: while it is busy.
    counts_as_busy: bool,
    /// What is known of the client's side.
    client: ClientSide,
}

/// Whether the client sends more. One that has closed its side may be gone, or read on: nobody can tell before
/// something is written to it. So it is told what it asked for.
#[derive(Default)]
struct ClientSide {
    has_closed: bool,
    /// The close came before the end of a request.
    broke_off: bool,
    /// Wakes the connection, which is told of the close once there is nothing more to answer.
    reader: Option<Waker>,
    /// Wakes who awaits more of a request.
    awaiting: Option<Waker>,
}

impl ClientSide {
    fn wake_reader(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

impl ConnectionSlot {
    /// A request has arrived, of nobody until its caller is known. It is busy for as long as the guard lives.
    /// Whether it has to wait in line: it is not the first, and the one before was nobody's.
    pub(super) fn begin_request(self: &Arc<Self>) -> (BusyGuard, bool) {
        let mut state = self.state();
        let waits = state.has_asked && state.caller.is_none();
        state.has_asked = true;
        if !state.counts_as_busy {
            state.caller = None;
        }
        state.busy += 1;
        drop(state);
        (BusyGuard(self.clone()), waits)
    }

    /// Keeps the connection busy with what its last caller was answered.
    pub(super) fn keep_busy(self: &Arc<Self>) -> BusyGuard {
        let mut state = self.state();
        state.busy += 1;
        if let (false, Some(caller)) = (state.counts_as_busy, &state.caller) {
            self.limiter.open().busy.take_again(caller);
            self.counted(&mut state);
        }
        drop(state);
        BusyGuard(self.clone())
    }

    /// A request has its turn, of those that wait in line. Whose answer takes long gives it back as soon as the
    /// caller is known.
    pub(super) fn hold_turn(&self, turn: OwnedSemaphorePermit) {
        self.state().request_turn = Some(turn);
    }

    /// The turn, if there is one, is somebody else's.
    pub(super) fn end_turn(&self) {
        self.state().request_turn = None;
    }

    /// A worker has shown a good token: its next request does not wait in line.
    pub(crate) fn is_workers(&self) {
        let mut state = self.state();
        if !state.counts_as_busy {
            state.caller = Some(Caller { name: WORKER.into(), is_admin: false });
        }
    }

    /// Keeps the connection for this caller until it is not busy any more.
    pub(crate) fn count_as_busy(&self, caller: Caller) -> Result<(), TooManyBusy> {
        let mut state = self.state();
        if state.counts_as_busy && state.caller.as_ref() == Some(&caller) {
            return Ok(());
        }
        self.limiter.open().busy.take(&caller)?;
        self.count_no_more(&mut state);
        state.request_turn = None;
        state.caller = Some(caller);
        self.counted(&mut state);
        Ok(())
    }

    fn counted(&self, state: &mut State) {
        state.counts_as_busy = true;
        if let Some(turn) = state.turn.take() {
            self.limiter.open().evictable.remove(&turn);
        }
    }

    fn count_no_more(&self, state: &mut State) {
        if let (true, Some(caller)) = (state.counts_as_busy, &state.caller) {
            self.limiter.open().busy.leave(caller);
        }
        state.counts_as_busy = false;
    }

    fn become_evictable(&self, state: &mut State) {
        let mut open = self.limiter.open();
        let turn = open.next;
        open.next += 1;
        open.evictable.insert(turn, (self.address, self.evict.clone()));
        state.turn = Some(turn);
        self.limiter.changed.notify_waiters();
    }

    /// The client has closed its side. Ready when the connection is to know: when nothing is answered, or
    /// the rest of a request never comes.
    pub(super) fn close_client_side(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.client.has_closed {
            state.client.has_closed = true;
            self.client_closed.notify_waiters();
            // Perhaps what is awaited was read just before.
            state.client.awaiting.take().into_iter().for_each(Waker::wake);
        }
        if state.busy == 0 || state.client.broke_off {
            return Poll::Ready(());
        }
        state.client.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// More of a request is awaited than was read.
    pub(super) fn await_request(&self, cx: &Context<'_>) {
        let client = &mut self.state().client;
        if client.has_closed {
            client.broke_off = true;
            client.wake_reader();
        } else {
            client.awaiting = Some(cx.waker().clone());
        }
    }

    /// Returns once the client has closed its side.
    pub(crate) async fn client_closed(&self) {
        // Made before the question, so that no close is missed.
        let closed = self.client_closed.notified();
        if !self.state().client.has_closed {
            closed.await;
        }
    }

    /// Whether nothing keeps it open.
    pub(super) fn is_idle(&self) -> bool {
        self.state().busy == 0
    }

    /// Whether it closes now that it was evicted: not when a known caller came first.
    pub(super) fn accept_eviction(&self) -> bool {
        let closes = !self.state().counts_as_busy;
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
        drop(self.permit.take());
        let mut state = self.state();
        self.count_no_more(&mut state);
        let mut open = self.limiter.open();
        if let Some(turn) = state.turn.take() {
            open.evictable.remove(&turn);
        }
        if let Some(taken) = open.by_address.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                open.by_address.remove(&self.address);
            }
        }
        drop(open);
        self.limiter.changed.notify_waiters();
    }
}

/// A request that is being answered, or bytes that its client has not taken yet.
pub(super) struct BusyGuard(Arc<ConnectionSlot>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        if state.busy > 0 {
            return;
        }
        self.0.limiter.activity.notify_one();
        state.client.wake_reader();
        if state.counts_as_busy {
            self.0.count_no_more(&mut state);
            self.0.become_evictable(&mut state);
        }
    }
}
