//! A pool for one job, of which the main thread is part, and which leaves no thread.
//!
//! Rayon's own `use_current_thread` makes a thread part of a pool for the rest of its life. A process that serves needs
//! another size for each job, so here the main thread runs a worker's loop until the pool ends.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rayon::ThreadBuilder;

use crate::error::Error;

/// The name that people see in `top -H`.
pub(crate) fn thread_name(index: usize) -> String {
    format!("compute-{index}")
}

/// Does `work` on a pool of exactly this many threads: the calling one, which does it and has index 0, and new ones.
/// Returns when all that was given to the pool is over and its threads have ended. The inner error is a panic.
pub(crate) fn compute<T: Send + 'static>(
    threads: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::Result<T>, Error> {
    let mut waiting = Vec::with_capacity(threads);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .spawn_handler(|thread| {
            waiting.push(thread);
            Ok(())
        })
        .build()?;
    let mut waiting = waiting.into_iter();
    let first = waiting.next().ok_or_else(|| Error::failed("rayon made a pool of no threads"))?;
    let (sender, receiver) = mpsc::channel();
    // While there is no other thread, the main thread is the one that takes this.
    pool.spawn(move || {
        let (threads, error) = start(waiting);
        let outcome = error.map_or_else(|| Ok(catch_unwind(AssertUnwindSafe(work))), Err);
        // The receiver waits below.
        sender.send((threads, outcome)).unwrap_or_default();
    });
    // Ends when all that it was given is over.
    drop(pool);
    first.run();
    let (threads, outcome) = receiver.recv()?;
    for thread in threads {
        thread.join().map_err(|_| Error::failed("a thread of the pool panicked"))?;
    }
    Ok(outcome?)
}

/// Starts the threads beside the main one, as many as the kernel lets.
fn start(waiting: impl Iterator<Item = ThreadBuilder>) -> (Vec<JoinHandle<()>>, Option<io::Error>) {
    let mut threads = Vec::new();
    for thread in waiting {
        let builder = thread::Builder::new().name(thread_name(thread.index()));
        match builder.spawn(|| thread.run()) {
            Ok(thread) => threads.push(thread),
            Err(error) => return (threads, Some(error)),
        }
    }
    (threads, None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn the_calling_thread_works_in_pools_of_any_size_one_after_the_other() {
        let caller = thread::current().id();
        for threads in [1, 3, 2, 8, 1] {
            let told = compute(threads, || {
                let ids = rayon::broadcast(|_| thread::current().id());
                (rayon::current_num_threads(), rayon::current_thread_index(), ids)
            });
            let (number, index, ids) = told.unwrap().unwrap();
            assert_eq!((number, index, ids[0], ids.len()), (threads, Some(0), caller, threads));
        }
    }

    #[test]
    fn what_was_given_to_the_pool_is_over_at_the_end() {
        let counter = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&counter);
        let outcome = compute(2, move || {
            for _ in 0..100 {
                let counted = Arc::clone(&counted);
                rayon::spawn(move || {
                    counted.fetch_add(1, SeqCst);
                });
            }
        });
        assert!(outcome.unwrap().is_ok());
        assert_eq!(counter.load(SeqCst), 100);
    }

    #[test]
    fn a_panic_anywhere_in_the_pool_ends_that_job_alone() {
        for threads in [1, 4] {
            let outcome = compute(threads, || {
                rayon::broadcast(|context| assert!(context.index() != context.num_threads() - 1));
            });
            assert!(outcome.unwrap().is_err());
            assert_eq!(compute(threads, || 5).unwrap().unwrap(), 5);
        }
    }
}
