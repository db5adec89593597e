//! Progress: counted by every thread for itself, written by whichever thread finds that a line is due.
//!
//! There is no ticker thread: the process has exactly as many threads as CPUs were granted. A function that adds
//! nothing for a minute therefore writes nothing for a minute.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use windlass_contract as contract;

use crate::coarse_clock;

/// Shortest time between two progress lines. Ten lines a second is smooth to watch, and nothing to write.
const INTERVAL_NANOSECONDS: u64 = 100_000_000;

/// How far a run has come. Shared by all threads; every method may be called from any of them.
///
/// Counts are in whatever unit the function likes. Equal units make the estimate of the remaining time good. An
/// [`add`](Self::add) costs about 10 ns, so add once per chunk of a microsecond or more.
pub struct Progress {
    /// Units in all; 0 is unknown.
    total: AtomicU64,
    /// Units done, by pool thread. On cache lines of their own: a shared counter would bounce between all CPUs.
    done: Box<[CachePadded<AtomicU64>]>,
    /// When the next line is due, in nanoseconds of the coarse monotonic clock.
    due: AtomicU64,
    /// Held while a line is summed and written, so that lines are in order.
    line: Mutex<Line>,
}

/// What only the thread that writes a line needs.
struct Line {
    file: Option<File>,
    message: String,
}

impl Progress {
    /// Counts for a pool of `threads` and appends lines to `file`; without a file it only counts.
    pub(crate) fn new(threads: usize, file: Option<File>) -> Self {
        Self {
            total: AtomicU64::new(0),
            done: (0..threads.max(1)).map(|_| CachePadded::default()).collect(),
            due: AtomicU64::new(0),
            line: Mutex::new(Line { file, message: String::new() }),
        }
    }

    /// Opens the progress file for whole-line appends.
    pub(crate) fn open(path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).open(path)
    }

    /// Says how many units there are in all. Call it once, before the first [`add`](Self::add); until then nothing
    /// is known and `0 0` is told. It may grow later.
    pub fn set_total(&self, units: u64) {
        self.total.store(units, Relaxed);
        self.write_if_due();
    }

    /// Counts `units` as done, and writes a line if none was written for 100 ms.
    #[inline]
    pub fn add(&self, units: u64) {
        let thread = rayon::current_thread_index().unwrap_or(0);
        let counter = self.done.get(thread).unwrap_or(&self.done[0]);
        counter.fetch_add(units, Relaxed);
        self.write_if_due();
    }

    /// Says what is being done now, in one short line; shown with the next counts. At most 1 KiB is kept, control
    /// characters become spaces.
    pub fn message(&self, text: impl Into<String>) {
        self.line().message = text.into();
        self.write_if_due();
    }

    /// Units done so far, summed over the threads. Exact when no other thread is adding.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.iter().fold(0, |sum: u64, counter| sum.saturating_add(counter.load(Relaxed)))
    }

    /// Units in all, 0 while unknown.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Writes the last line of a run that worked, due or not. A function that counted nothing was one unit of work.
    pub(crate) fn finish(&self) {
        if self.total() == 0 {
            self.total.store(1, Relaxed);
            self.done[0].store(1, Relaxed);
        }
        self.write(&mut self.line());
    }

    #[inline]
    fn write_if_due(&self) {
        // All of an add takes 7 ns with it (`an_add_costs_nanoseconds`).
        let now = coarse_clock::nanoseconds();
        let due = self.due.load(Relaxed);
        if now >= due {
            self.write_due(due, now);
        }
    }

    /// One thread wins the exchange and writes; the others go on computing.
    #[cold]
    fn write_due(&self, due: u64, now: u64) {
        let won =
            self.due.compare_exchange(due, now + INTERVAL_NANOSECONDS, Relaxed, Relaxed).is_ok();
        if won && let Ok(mut line) = self.line.try_lock() {
            self.write(&mut line);
        }
    }

    /// Counters only grow and are read under the lock, so later lines never tell less than earlier ones.
    fn write(&self, line: &mut Line) {
        if let Some(file) = &mut line.file {
            let text = contract::progress_line(self.done(), self.total(), &line.message);
            // A full disk may cost the progress, not the result: stop telling.
            if file.write_all(text.as_bytes()).is_err() {
                line.file = None;
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rayon::prelude::*;

    use super::*;

    fn progress(threads: usize) -> (Progress, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        (Progress::new(threads, Some(Progress::open(file.path()).unwrap())), file)
    }

    fn lines(file: &tempfile::NamedTempFile) -> Vec<contract::ProgressLine> {
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| contract::parse_progress_line(line).expect("a progress line"))
            .collect()
    }

    #[test]
    fn nothing_is_lost_between_threads_and_lines_never_go_back() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let (progress, file) = progress(4);
        progress.set_total(400_000);
        pool.install(|| {
            (0..400_000).into_par_iter().for_each(|unit| {
                if unit % 1000 == 0 {
                    std::thread::sleep(Duration::from_millis(3));
                }
                progress.add(1);
            });
        });
        progress.finish();
        let lines = lines(&file);
        assert!(lines.len() >= 3, "{} lines", lines.len());
        assert!(lines.windows(2).all(|pair| pair[0].done <= pair[1].done));
        assert_eq!(lines.last().map(|line| (line.done, line.total)), Some((400_000, 400_000)));
    }

    #[test]
    fn lines_are_at_least_100_ms_apart() {
        let (progress, file) = progress(1);
        progress.set_total(u64::MAX);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(450) {
            progress.add(1);
        }
        let count = lines(&file).len();
        assert!((2..=6).contains(&count), "{count} lines in 450 ms");
    }

    #[test]
    fn a_message_goes_out_with_the_next_line() {
        let (progress, file) = progress(1);
        progress.set_total(2);
        progress.message("half\nway");
        progress.add(1);
        progress.finish();
        let last = lines(&file).pop().unwrap();
        assert_eq!((last.done, last.total, last.message.as_str()), (1, 2, "half way"));
    }

    #[test]
    fn a_function_that_counts_nothing_still_ends_complete() {
        let (progress, file) = progress(1);
        progress.finish();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "1 1\n");
    }

    #[test]
    fn a_thread_of_another_pool_is_counted_too() {
        let (progress, _file) = progress(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.broadcast(|_| progress.add(5));
        assert_eq!(progress.done(), 15);
    }

    /// The number in the documentation of [`Progress`]. The bound is loose: the machine may be busy.
    #[test]
    fn an_add_costs_nanoseconds() {
        let (progress, _file) = progress(1);
        progress.set_total(u64::MAX);
        let best = (0..20)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..100_000 {
                    progress.add(1);
                }
                start.elapsed().as_nanos() / 100_000
            })
            .min();
        println!("add: {best:?} ns");
        assert!(best < Some(200), "{best:?} ns");
    }
}
