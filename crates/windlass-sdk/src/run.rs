//! One run of a function: what the worker granted, and whether it wants to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use jiff::Timestamp;
use windlass_contract as contract;

use crate::connection::Connection;
use crate::error::Error;
use crate::pool::thread_name;
use crate::progress::Progress;

/// More CPUs than any machine has; above it the variable is taken for a mistake.
const MAX_PARALLELISM: usize = 4096;

/// One run of a function: what was granted, and whether to go on. Shared by all threads.
pub struct Run {
    parallelism: usize,
    deadline: Option<Timestamp>,
    job: Option<String>,
    attempt: Option<u32>,
    stop: Arc<AtomicBool>,
    /// Where the worker says it, to a function that serves.
    connection: Option<Arc<Connection>>,
    progress: Progress,
}

impl Run {
    /// The CPUs granted: the size of the rayon pool, the calling thread included. Always >= 1.
    #[must_use]
    pub fn parallelism(&self) -> usize {
        self.parallelism
    }

    /// Where to tell how far the run has come.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the worker asked to stop. A few nanoseconds: look once per chunk of about a millisecond. Whoever asks
    /// a function that serves also looks at the socket, at most a hundred times a second.
    /// After it the function has [`contract::STOP_GRACE_SECONDS`] to end.
    #[must_use]
    #[inline]
    pub fn cancelled(&self) -> bool {
        if self.stop.load(Relaxed) {
            return true;
        }
        let said = self.connection.as_ref().is_some_and(|said| said.wants_end(self.job()));
        if said {
            self.stop();
        }
        said
    }

    /// The same for `?`.
    ///
    /// # Errors
    /// [`Error::cancelled`] once the worker asked to stop.
    #[inline]
    pub fn check(&self) -> Result<(), Error> {
        if self.cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// When the worker will stop this attempt, if it said. For information, to choose an accuracy that fits for
    /// example: the worker keeps the time.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The name of the job, if the worker said.
    #[must_use]
    pub fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// Which attempt of the job this is, counted from 1, if the worker said.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        self.attempt
    }

    /// A run without a worker, for tests of a function and for use as a library: nothing is written, and only
    /// [`stop`](Self::stop) cancels it. Starts no thread: the caller's current rayon pool does the work.
    #[must_use]
    pub fn detached(parallelism: usize) -> Self {
        Self {
            parallelism: parallelism.max(1),
            deadline: None,
            job: None,
            attempt: None,
            stop: Arc::default(),
            connection: None,
            progress: Progress::new(parallelism, None),
        }
    }

    /// Asks the run to stop, as the worker does.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Whether it is answered over a connection.
    pub(crate) fn has_answer(&self) -> bool {
        self.connection.is_some()
    }

    /// Hears over this connection that it should stop.
    pub(crate) fn told_by(mut self, connection: Arc<Connection>) -> Self {
        self.connection = Some(connection);
        self
    }
}

/// What the worker said of a job, checked: in environment variables, or in the line of a job.
pub(crate) struct WorkerEnvironment {
    pub(crate) input: PathBuf,
    pub(crate) output: PathBuf,
    progress: Option<PathBuf>,
    parallelism: usize,
    deadline: Option<Timestamp>,
    job: Option<String>,
    attempt: Option<u32>,
}

impl WorkerEnvironment {
    /// Reads the variables through `variable`, which a function that serves finds in the line of its job.
    /// Input, output and parallelism must be there; the others may be missing but not malformed.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let present = |name: &str| variable(name).filter(|value| !value.is_empty());
        let required = |name: &str| {
            present(name).ok_or_else(|| {
                Error::no_contract(format!(
                    "{name} is not set: this program is a function of Windlass and expects to be started by a \
                     worker. To run one by hand set {}, {} and {} (see the worker contract).",
                    contract::INPUT,
                    contract::OUTPUT,
                    contract::PARALLELISM
                ))
            })
        };
        let malformed = |name: &str, value: &str, want: &str| {
            Error::no_contract(format!("{name} is {value:?}, expected {want}"))
        };
        let input = required(contract::INPUT)?.into();
        let output = required(contract::OUTPUT)?.into();
        let parallelism = required(contract::PARALLELISM)?;
        let parallelism = parallelism
            .parse()
            .ok()
            .filter(|count| (1..=MAX_PARALLELISM).contains(count))
            .ok_or_else(|| {
                malformed(contract::PARALLELISM, &parallelism, "a whole number from 1 to 4096")
            })?;
        let deadline = present(contract::DEADLINE)
            .map(|text| {
                text.parse()
                    .map_err(|_| malformed(contract::DEADLINE, &text, "an RFC 3339 timestamp"))
            })
            .transpose()?;
        let attempt = present(contract::ATTEMPT)
            .map(|text| {
                text.parse().map_err(|_| malformed(contract::ATTEMPT, &text, "a whole number"))
            })
            .transpose()?;
        let progress = present(contract::PROGRESS).map(PathBuf::from);
        Ok(Self {
            input,
            output,
            progress,
            parallelism,
            deadline,
            job: present(contract::JOB),
            attempt,
        })
    }

    /// The size of the pool.
    pub(crate) fn parallelism(&self) -> usize {
        self.parallelism
    }

    /// Makes the calling thread one of a global rayon pool of the granted size, and catches SIGTERM. Once a process.
    pub(crate) fn start(&self) -> Result<Run, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        // A flag set in the handler: no thread waits for signals.
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
        // The thread that calls is worker 0: the process has as many threads as CPUs, not one more that waits.
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.parallelism)
            .use_current_thread()
            .thread_name(thread_name)
            .build_global()?;
        Ok(self.run(stop))
    }

    /// What the function sees; `stop` is set when the worker asks to stop.
    pub(crate) fn run(&self, stop: Arc<AtomicBool>) -> Run {
        // A progress file that cannot be opened is no reason not to compute.
        let file = self.progress.as_deref().and_then(|path| Progress::open(path).ok());
        Run {
            parallelism: self.parallelism,
            deadline: self.deadline,
            job: self.job.clone(),
            attempt: self.attempt,
            stop,
            connection: None,
            progress: Progress::new(self.parallelism, file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<WorkerEnvironment, Error> {
        WorkerEnvironment::read(|name| {
            variables
                .iter()
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    const ENOUGH: [(&str, &str); 3] =
        [("WINDLASS_INPUT", "/in"), ("WINDLASS_OUTPUT", "/out"), ("WINDLASS_PARALLELISM", "3")];

    #[test]
    fn input_output_and_parallelism_are_enough() {
        let environment = environment(&ENOUGH).unwrap();
        assert_eq!(
            (environment.parallelism, environment.deadline, environment.attempt, environment.job),
            (3, None, None, None)
        );
    }

    #[test]
    fn a_missing_variable_is_named_and_is_not_the_inputs_fault() {
        for missing in 0..ENOUGH.len() {
            let mut variables = ENOUGH.to_vec();
            let (name, _) = variables.remove(missing);
            let Err(error) = environment(&variables) else { panic!("accepted without {name}") };
            assert!(error.to_string().starts_with(&format!("{name} is not set")), "{error}");
            assert_eq!(error.exit_status(), 2);
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for (name, value) in [
            ("WINDLASS_PARALLELISM", "0"),
            ("WINDLASS_PARALLELISM", "-1"),
            ("WINDLASS_PARALLELISM", "1.5"),
            ("WINDLASS_PARALLELISM", "100000"),
            ("WINDLASS_DEADLINE", "tomorrow"),
            ("WINDLASS_ATTEMPT", "first"),
        ] {
            let variables = [ENOUGH.as_slice(), &[(name, value)]].concat();
            let Err(error) = environment(&variables) else { panic!("accepted {name}={value}") };
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn a_stopped_run_fails_its_next_check() {
        let run = Run::detached(2);
        assert!(run.check().is_ok());
        run.stop();
        assert!(run.cancelled() && run.check().is_err_and(|error| error.is_cancelled()));
    }
}
