//! How many connections each caller keeps busy: a stream, a wait, or an answer that is read slowly.
//!
//! Pure. Of all connections a caller may keep a quarter busy, and all callers but the admin five eighths
//! together. So a quarter is left for the admin, and an eighth for whoever has not said who they are, such as
//! health checks.

use std::collections::HashMap;

use windlass_core::jobs::Caller;

/// What is kept busy now, and its bounds.
pub(super) struct BusyConnections {
    each: usize,
    most: usize,
    by_caller: HashMap<String, usize>,
    /// Those of all callers but the admin.
    taken: usize,
}

/// Why a caller may keep no other connection busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooManyBusy {
    /// The caller has so many, and may have no more.
    OfCaller(usize),
    /// All callers together have as many as they may.
    OfAll,
}

impl BusyConnections {
    /// For so many connections.
    pub(super) fn among(connections: usize) -> Self {
        let part = |eighths: usize| (connections.saturating_mul(eighths) / 8).max(1);
        Self { each: part(2), most: part(5), by_caller: HashMap::new(), taken: 0 }
    }

    /// Counts a connection that this caller keeps busy, if it may.
    pub(super) fn take(&mut self, caller: &Caller) -> Result<(), TooManyBusy> {
        if self.by_caller.get(&caller.name).is_some_and(|taken| *taken >= self.each) {
            return Err(TooManyBusy::OfCaller(self.each));
        }
        if !caller.is_admin && self.taken >= self.most {
            return Err(TooManyBusy::OfAll);
        }
        self.take_again(caller);
        Ok(())
    }

    /// The same for an answer that was let through before and is still on its way.
    pub(super) fn take_again(&mut self, caller: &Caller) {
        *self.by_caller.entry(caller.name.clone()).or_default() += 1;
        self.taken += usize::from(!caller.is_admin);
    }

    pub(super) fn leave(&mut self, caller: &Caller) {
        self.taken -= usize::from(!caller.is_admin);
        if let Some(taken) = self.by_caller.get_mut(&caller.name) {
            *taken -= 1;
            if *taken == 0 {
                self.by_caller.remove(&caller.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Caller {
        Caller { name: name.into(), is_admin: name == "admin" }
    }

    #[test]
    fn no_caller_takes_more_than_a_quarter_and_room_is_left_for_the_admin() {
        let mut busy = BusyConnections::among(16);
        for taken in 0..4 {
            assert_eq!(busy.take(&caller("a")), Ok(()), "{taken}");
        }
        assert_eq!(busy.take(&caller("a")), Err(TooManyBusy::OfCaller(4)));
        for name in ["b", "b", "b", "b", "c", "d"] {
            assert_eq!(busy.take(&caller(name)), Ok(()), "{name}");
        }
        assert_eq!(busy.take(&caller("e")), Err(TooManyBusy::OfAll));
        for _ in 0..4 {
            assert_eq!(busy.take(&caller("admin")), Ok(()));
        }
        assert_eq!(busy.take(&caller("admin")), Err(TooManyBusy::OfCaller(4)));
        busy.leave(&caller("d"));
        assert_eq!(busy.take(&caller("e")), Ok(()));
    }

    #[test]
    fn the_smallest_server_lets_one_be_busy() {
        let mut busy = BusyConnections::among(1);
        assert_eq!(busy.take(&caller("a")), Ok(()));
        assert!(busy.take(&caller("a")).is_err());
        busy.leave(&caller("a"));
        assert!(busy.by_caller.is_empty());
    }
}
