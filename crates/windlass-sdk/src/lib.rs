//! What a Rust function of Windlass links: read the input, compute on exactly the CPUs that were granted, tell the
//! progress, stop when asked, leave the result.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use windlass_sdk::{Error, Run, rayon::prelude::*};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Input {
//!     numbers: Vec<f64>,
//! }
//!
//! fn sum_of_squares(input: Input, run: &Run) -> Result<f64, Error> {
//!     if input.numbers.is_empty() {
//!         return Err(Error::bad_input("/numbers", "is empty"));
//!     }
//!     run.progress().set_total(input.numbers.len() as u64);
//!     let chunk = |chunk: &[f64]| {
//!         run.check()?;
//!         run.progress().add(chunk.len() as u64);
//!         Ok(chunk.iter().map(|number| number * number).sum::<f64>())
//!     };
//!     // Fixed chunks, collected in order: the same result to the last bit for every parallelism.
//!     let sums = input.numbers.par_chunks(1024).map(chunk).collect::<Result<Vec<_>, Error>>()?;
//!     Ok(sums.iter().sum())
//! }
//!
//! fn main() -> ExitCode {
//!     windlass_sdk::main(sum_of_squares)
//! }
//! ```
//!
//! In: the environment variables and files of the worker contract ([`windlass_contract`]). Out: the output
//! file, progress lines, an exit status, and one line on stderr if there is no result.
//!
//! The process has as many threads as CPUs were granted, exactly: the thread that calls [`main`] is one of rayon's
//! pool, signals set a flag, progress is written by the computing threads. Deliberately absent: a ticker
//! thread, an async runtime, logging, the network.
//!
//! The same program is started once for each job, or once for many where its manifest says `warm`. Then each job has a
//! rayon pool of its own, of the size that was granted to it. The next job begins when all that was given to that pool
//! is over, [`rayon::spawn`] included. What is in `static` variables, and in thread-local ones of the main thread,
//! stays: a table that is loaded once, for example. A process whose function panicked, left a thread or an open file,
//! or changed the environment, the working directory or the file mode mask gets no other job.

mod coarse_clock;
mod connection;
mod error;
mod output;
mod pool;
mod progress;
mod run;
mod serve;
mod surroundings;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::Error;
pub use progress::Progress;
pub use rayon;
pub use run::Run;

use windlass_contract as contract;

use output::{MAX_ANSWERED_BYTES, OutputWriter, write_output};
use run::WorkerEnvironment;

/// The largest input that is read: 1 GiB, which is far more than JSON is good for. It only keeps a wrong path from filling
/// the memory.
const MAX_INPUT_BYTES: u64 = 1 << 30;

/// Runs a function that takes JSON and returns JSON. The whole `main` of its program; call it once per process.
///
/// Started for one job, it returns 0 after the result was written, 65 for input that is not what `I` wants or that the
/// function refused, 143 when asked to stop, 2 when not started by a worker, and 1 for everything else. A panic ends
/// with Rust's 101. A run that was asked to stop writes no result, even if it could have.
///
/// Started to serve, it calls the function for one job after another and returns 0 when the worker wants no more.
pub fn main<I, O, F>(function: F) -> ExitCode
where
    I: DeserializeOwned,
    O: Serialize,
    F: Fn(I, &Run) -> Result<O, Error> + Send + Sync + 'static,
{
    start(move |environment, run| {
        compute(&function, environment, run, |output, file| {
            serde_json::to_writer(&mut *file, &output)?;
            file.write_all(b"\n")
        })
    })
}

/// Runs a function that takes JSON and returns bytes, a picture for example. Else like [`main`].
pub fn main_bytes<I, F>(function: F) -> ExitCode
where
    I: DeserializeOwned,
    F: Fn(I, &Run) -> Result<Vec<u8>, Error> + Send + Sync + 'static,
{
    start(move |environment, run| {
        compute(&function, environment, run, |output, file| file.write_all(&output))
    })
}

/// One job, or one after another: as the worker wants it.
fn start(
    attempt: impl Fn(&WorkerEnvironment, &Run) -> Result<Option<String>, Error> + Send + Sync + 'static,
) -> ExitCode {
    let socket = std::env::var_os(contract::SERVE).filter(|socket| !socket.is_empty());
    let ended = match socket {
        Some(socket) => {
            serve::serve(Path::new(&socket), &(Arc::new(attempt) as Arc<serve::Attempt>))
        }
        None => once(attempt).map(|()| ExitCode::SUCCESS),
    };
    ended.unwrap_or_else(|error| {
        error.print();
        ExitCode::from(error.exit_status())
    })
}

/// The one job that the environment tells of.
fn once(
    attempt: impl Fn(&WorkerEnvironment, &Run) -> Result<Option<String>, Error>,
) -> Result<(), Error> {
    let environment = WorkerEnvironment::read(|name| std::env::var(name).ok())?;
    let run = environment.start()?;
    attempt(&environment, &run).map(drop)
}

/// Everything between the input of a job and its output; the result, if it goes into an answer.
fn compute<I, O>(
    function: impl Fn(I, &Run) -> Result<O, Error>,
    environment: &WorkerEnvironment,
    run: &Run,
    write: impl FnOnce(O, &mut OutputWriter<'_>) -> io::Result<()>,
) -> Result<Option<String>, Error>
where
    I: DeserializeOwned,
{
    let input = parse_input(&read_input(&environment.input)?)?;
    let output = function(input, run)?;
    run.check()?;
    let most = if run.has_answer() { MAX_ANSWERED_BYTES } else { 0 };
    let answered = write_output(&environment.output, most, |file| write(output, file))?;
    run.progress().finish();
    Ok(answered)
}

fn read_input(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Error::failed(format!("cannot read the input {}: {error}", path.display()))
    })?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        return Err(Error::bad_input("", format!("larger than {MAX_INPUT_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Reads the input as one JSON value, as [`main`] does, and blames the part that does not fit by its JSON pointer.
///
/// # Errors
/// [`Error::bad_input`] when the text is not JSON, goes on after the value, or is not what `I` wants.
pub fn parse_input<I: DeserializeOwned>(json: &[u8]) -> Result<I, Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let input = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| Error::bad_input(pointer(error.path()), error.inner().to_string()))?;
    reader.end().map_err(|error| Error::bad_input("", error.to_string()))?;
    Ok(input)
}

/// A JSON pointer (RFC 6901) from the way that the deserializer took.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            // Not a place in the document: an enum's variant is its content.
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Portfolio {
        options: Vec<Contract>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Contract {
        strike: f64,
    }

    fn refusal(json: &str) -> String {
        let error = parse_input::<Portfolio>(json.as_bytes()).unwrap_err();
        assert_eq!(error.exit_status(), 65);
        error.to_string()
    }

    #[test]
    fn bad_input_is_blamed_by_its_json_pointer() {
        let message = refusal(r#"{"options": [{"strike": 1}, {"strike": "x"}]}"#);
        assert!(
            message.starts_with("bad input at /options/1/strike: invalid type: string"),
            "{message}"
        );
        let message = refusal(r#"{"options": [{"strike": 1, "a/b": 1}]}"#);
        assert!(
            message.starts_with("bad input at /options/0/a~1b: unknown field `a/b`"),
            "{message}"
        );
        let message = refusal(r#"{"options": [{}]}"#);
        assert!(
            message.starts_with("bad input at /options/0: missing field `strike`"),
            "{message}"
        );
    }

    #[test]
    fn what_is_not_one_json_value_is_bad_input() {
        for json in ["", "{", "{\"options\": []} {}", "\u{0}", "[", "nul"] {
            assert!(refusal(json).starts_with("bad input"), "{json:?}");
        }
        let error = parse_input::<Portfolio>(&[b'"', 0xff, b'"']).unwrap_err();
        assert_eq!(error.exit_status(), 65, "not UTF-8");
        let deep = "[".repeat(100_000);
        assert_eq!(
            parse_input::<serde_json::Value>(deep.as_bytes()).unwrap_err().exit_status(),
            65
        );
    }

    #[test]
    fn any_error_becomes_a_failed_attempt_with_its_causes() {
        fn fails() -> Result<(), Error> {
            Err(io::Error::other("socket closed"))?;
            Ok(())
        }
        let error = fails().unwrap_err();
        assert_eq!((error.exit_status(), error.to_string().as_str()), (1, "socket closed"));
    }
}
