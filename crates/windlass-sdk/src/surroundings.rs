//! What a job could leave in its process for the next one, as far as only the process itself can see it. The worker
//! looks from outside at files, processes and memory.

use std::ffi::OsString;
use std::os::linux::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use rustix::fs::Mode;
use rustix::process::umask;

/// How long a thread that has ended may still be listed. The kernel says that it ended a moment before.
const PATIENCE: Duration = Duration::from_millis(50);

/// The state of a process between two jobs.
pub(crate) struct Surroundings {
    threads: u64,
    descriptors: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    mask: Mode,
}

impl Surroundings {
    /// As they are now.
    pub(crate) fn now() -> io::Result<Self> {
        let mut environment: Vec<_> = env::vars_os().collect();
        environment.sort_unstable();
        Ok(Self {
            threads: threads()?,
            descriptors: descriptors()?,
            environment,
            directory: env::current_dir()?,
            mask: mask(),
        })
    }

    /// What a job has changed, as a sentence about the function.
    pub(crate) fn changed(&self) -> io::Result<Option<String>> {
        let start = Instant::now();
        let more = loop {
            let more = threads()?.saturating_sub(self.threads);
            if more == 0 || start.elapsed() > PATIENCE {
                break more;
            }
            thread::yield_now();
        };
        if more > 0 {
            return Ok(Some(format!("the function left {more} threads")));
        }
        let now = Self::now()?;
        let change = if now.descriptors != self.descriptors {
            "left files or connections open, or closed some that it found"
        } else if now.environment != self.environment {
            "changed the environment variables"
        } else if now.directory != self.directory {
            "changed the working directory"
        } else if now.mask != self.mask {
            "changed the file mode mask"
        } else {
            return Ok(None);
        };
        Ok(Some(format!("the function {change}")))
    }
}

/// The number of threads. The kernel counts the links of this directory: half the time of a list.
fn threads() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/task")?.st_nlink())
}

/// The numbers of all open descriptors, among them that of the list, which is the same each time.
fn descriptors() -> io::Result<Vec<String>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        numbers.push(entry?.file_name().to_string_lossy().into_owned());
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// There is no call that only reads it; between jobs there is no other thread to make files meanwhile.
fn mask() -> Mode {
    let mask = umask(Mode::RWXG | Mode::RWXO);
    umask(mask);
    mask
}
