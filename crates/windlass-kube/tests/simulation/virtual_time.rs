//! Time that stands still while anybody has something to do. When all wait, it goes on to the next moment at which somebody
//! acts. What takes a minute is played in less than a second, and a busy machine changes nothing.

use std::cell::Cell;

use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::time::Instant;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs this in virtual time, to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        BEGAN.set(Some(Instant::now()));
        future.await
    })
}

/// What the clock on the wall shows. It begins at the same time in each test.
pub(crate) fn now() -> Timestamp {
    let began = BEGAN.get().unwrap();
    let at_begin = Timestamp::from_second(1_767_225_600).unwrap();
    at_begin + began.elapsed()
}
