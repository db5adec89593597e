//! How an attempt ended, from how its process ended. Pure.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use windlass_core::contract::{EXIT_BAD_INPUT, EXIT_FUNCTION_ERROR};
use windlass_core::status::{FailureReason, JobResult, Usage};
use windlass_core::{Outcome, error::clip};

use crate::serving::protocol::Served;

/// Between what is said of the function and what it has said itself.
const END_OF_STDERR: &str = "; the end of its stderr:\n";

/// What is told of a function of which the kernel has killed a process.
const KILLED_BY_KERNEL: &str = "was killed by the kernel for want of memory";

/// How the function's process ended.
#[derive(Debug)]
pub(crate) enum FunctionEnd {
    /// By itself, or by a signal that is not ours.
    Exited(ExitStatus),
    /// By us, after this time.
    TimedOut {
        limit: Duration,
        /// It serves, and has not said that it is ready.
        was_starting: bool,
    },
    /// By us, because all its processes together used so many bytes of memory.
    OutOfMemory(u64),
    /// By us, because its directory took so many bytes of the disk.
    DiskExceeded(u64),
    /// By us, because we were told to stop.
    Stopped,
    /// It serves, and has answered in time after its job was cancelled.
    Cancelled,
    /// It serves, and has answered for its job.
    Answered(Served),
    /// It serves, and does not keep to the contract; a sentence about the function.
    Broken(String),
}

impl FunctionEnd {
    /// Whether it may have left what it had computed before it failed.
    pub(crate) fn may_be_partial(&self) -> bool {
        match self {
            Self::Exited(status) => status.code().is_some_and(|code| {
                [EXIT_BAD_INPUT, EXIT_FUNCTION_ERROR].map(i32::from).contains(&code)
            }),
            Self::Answered(served) => matches!(served, Served::BadInput(_) | Served::Raised(_)),
            _ => false,
        }
    }

    /// Whether there is to be a result.
    pub(crate) fn is_success(&self) -> bool {
        match self {
            Self::Exited(status) => status.success(),
            Self::Answered(served) => matches!(served, Served::Done(_)),
            _ => false,
        }
    }
}

/// What was found at the output path.
#[derive(Debug)]
pub(crate) enum FunctionOutput {
    /// A result.
    Result(JobResult),
    /// Nothing.
    None,
    /// More than is allowed, with a sentence that says how much is.
    TooLarge(String),
    /// Something that cannot be read or stored.
    Unusable(String),
    /// A result that nobody has taken.
    Lost(String),
}

/// Decides how the attempt ended. `out_of_memory` is whether the kernel killed for want of memory meanwhile.
pub(crate) fn decide_outcome(
    end: FunctionEnd,
    output: FunctionOutput,
    stderr: &str,
    out_of_memory: bool,
) -> Outcome {
    let computed = match &output {
        FunctionOutput::Result(result) if end.may_be_partial() => Some(Box::new(result.clone())),
        _ => None,
    };
    let mut outcome = decide_by_end(end, output, stderr, out_of_memory);
    if let Outcome::Failed { partial, .. } = &mut outcome {
        *partial = computed;
    }
    outcome
}

/// Says of a function that needed more memory than it has how much that is, and where it is from. So much it has held:
/// what is counted of a process that the kernel has killed is what was seen before.
pub(crate) fn tell_limit(outcome: &mut Outcome, usage: &mut Usage, limit: Option<u64>) {
    let Outcome::Failed { reason: FailureReason::OutOfMemory, message, .. } = outcome else {
        return;
    };
    let Some(limit) = limit else { return };
    usage.peak_memory_bytes = usage.peak_memory_bytes.max(limit);
    let said = format!(
        ", of which it may have {} MiB by memory.base and memory.perCpu of its function",
        limit >> 20
    );
    let at = message.find(END_OF_STDERR).unwrap_or(message.len());
    message.insert_str(at, &said);
}

/// A sentence about a function that had no time left.
fn too_long(limit: Duration, was_starting: bool) -> String {
    let seconds = limit.as_secs();
    match was_starting {
        false => format!("ran longer than {seconds} s"),
        true => format!(
            "was not ready after {seconds} s: the time that it takes to start counts, such as that of its imports"
        ),
    }
}

/// The same, but for what a function that has failed had computed before.
fn decide_by_end(
    end: FunctionEnd,
    output: FunctionOutput,
    stderr: &str,
    out_of_memory: bool,
) -> Outcome {
    use FailureReason::{
        BadInput, CannotStart, Crashed, FunctionError, Killed, OutOfMemory, Timeout,
    };
    let status = match end {
        FunctionEnd::Exited(status) => status,
        FunctionEnd::TimedOut { limit, was_starting } => {
            let why = too_long(limit, was_starting);
            return failed(Timeout, why, None, stderr);
        }
        FunctionEnd::OutOfMemory(bytes) => {
            return failed(OutOfMemory, format!("used {bytes} bytes of memory"), None, stderr);
        }
        FunctionEnd::DiskExceeded(bytes) => {
            let why = format!("wrote more than its directory may take: {bytes} bytes of the disk");
            return failed(FailureReason::DiskExceeded, why, None, stderr);
        }
        FunctionEnd::Stopped | FunctionEnd::Cancelled => {
            return failed(FailureReason::Lost, "was told to stop".into(), None, stderr);
        }
        FunctionEnd::Answered(served) => return answered(served, output, stderr, out_of_memory),
        FunctionEnd::Broken(_) if out_of_memory => {
            return failed(OutOfMemory, KILLED_BY_KERNEL.into(), None, stderr);
        }
        FunctionEnd::Broken(why) => return failed(Crashed, why, None, stderr),
    };
    let code = status.code();
    match code {
        Some(0) => collected(output, "exited 0 without writing its output", code, stderr),
        Some(code) if code == i32::from(EXIT_BAD_INPUT) => {
            failed(BadInput, "refused its input (exit code 65)".into(), Some(code), stderr)
        }
        Some(code) if code == i32::from(EXIT_FUNCTION_ERROR) => {
            failed(FunctionError, "raised an error (exit code 70)".into(), Some(code), stderr)
        }
        // What a shell and env(1) say of a program that is not there or not executable.
        Some(code @ (126 | 127)) => failed(
            CannotStart,
            format!("could not be started (exit code {code})"),
            Some(code),
            stderr,
        ),
        // Also when it was a child whose death made the function give up.
        code if out_of_memory => failed(OutOfMemory, KILLED_BY_KERNEL.into(), code, stderr),
        Some(code) => failed(Crashed, format!("exited with code {code}"), Some(code), stderr),
        None => {
            let signal = status.signal().unwrap_or_default();
            let hint = hint(signal);
            failed(Killed, format!("was killed by signal {signal}{hint}"), None, stderr)
        }
    }
}

/// What a function that serves says of its job.
fn answered(served: Served, output: FunctionOutput, stderr: &str, out_of_memory: bool) -> Outcome {
    let with = |why: &str, message: String| match message.as_str() {
        "" => (why.to_owned(), stderr),
        // What it says itself is better than what it has printed.
        message => (format!("{why}: {message}"), ""),
    };
    let (reason, (why, stderr)) = match served {
        Served::Done(_) => {
            return collected(output, "was done without writing its output", None, stderr);
        }
        Served::BadInput(message) => (FailureReason::BadInput, with("refused its input", message)),
        Served::Raised(message) => (FailureReason::FunctionError, with("raised an error", message)),
        Served::Failed(_) if out_of_memory => {
            (FailureReason::OutOfMemory, with(KILLED_BY_KERNEL, String::new()))
        }
        Served::Failed(message) => (FailureReason::Crashed, with("failed", message)),
        Served::Cancelled => {
            (FailureReason::Crashed, with("cancelled its job itself", String::new()))
        }
    };
    failed(reason, why, None, stderr)
}

/// A function that says that it has succeeded, by what it has written.
fn collected(output: FunctionOutput, nothing: &str, code: Option<i32>, stderr: &str) -> Outcome {
    use FailureReason::{NoOutput, ResultLost, ResultTooLarge};
    match output {
        FunctionOutput::Result(result) => Outcome::Succeeded(result),
        FunctionOutput::None => failed(NoOutput, nothing.into(), code, stderr),
        FunctionOutput::TooLarge(why) => failed(ResultTooLarge, why, code, stderr),
        FunctionOutput::Unusable(why) => failed(NoOutput, why, code, stderr),
        FunctionOutput::Lost(why) => failed(ResultLost, why, code, stderr),
    }
}

/// What a signal often means, where its number does not say so.
fn hint(signal: i32) -> &'static str {
    if signal == rustix::process::Signal::BUS.as_raw() {
        " (SIGBUS: often a file in memory that has no room to grow, as when /dev/shm is full)"
    } else {
        ""
    }
}

fn failed(reason: FailureReason, why: String, exit_code: Option<i32>, stderr: &str) -> Outcome {
    let message = match stderr {
        "" => format!("the function {why}"),
        stderr => format!("the function {why}{END_OF_STDERR}{stderr}"),
    };
    Outcome::Failed { reason, message: clip(message, 5 * 1024), exit_code, partial: None }
}

#[cfg(test)]
mod tests {
    use windlass_core::result::inline_result;

    use super::*;

    fn exited(code: i32) -> FunctionEnd {
        FunctionEnd::Exited(ExitStatus::from_raw(code << 8))
    }

    fn reason(outcome: &Outcome) -> Option<FailureReason> {
        match outcome {
            Outcome::Succeeded(_) => None,
            Outcome::Failed { reason, .. } => Some(*reason),
        }
    }

    #[test]
    fn each_end_has_its_reason() {
        let result = || FunctionOutput::Result(inline_result(b"1", "text/plain").unwrap());
        let killed = || FunctionEnd::Exited(ExitStatus::from_raw(9));
        let table = [
            (exited(0), result(), false, None),
            (exited(0), FunctionOutput::None, false, Some(FailureReason::NoOutput)),
            (
                exited(0),
                FunctionOutput::TooLarge(String::new()),
                false,
                Some(FailureReason::ResultTooLarge),
            ),
            (exited(65), result(), false, Some(FailureReason::BadInput)),
            (exited(70), result(), false, Some(FailureReason::FunctionError)),
            (exited(1), result(), false, Some(FailureReason::Crashed)),
            (exited(127), FunctionOutput::None, false, Some(FailureReason::CannotStart)),
            (killed(), result(), false, Some(FailureReason::Killed)),
            (killed(), result(), true, Some(FailureReason::OutOfMemory)),
            (exited(1), result(), true, Some(FailureReason::OutOfMemory)),
            (exited(0), result(), true, None),
            (FunctionEnd::OutOfMemory(1), result(), false, Some(FailureReason::OutOfMemory)),
            (FunctionEnd::DiskExceeded(1), result(), false, Some(FailureReason::DiskExceeded)),
            (
                FunctionEnd::TimedOut { limit: Duration::from_secs(1), was_starting: false },
                result(),
                false,
                Some(FailureReason::Timeout),
            ),
        ];
        for (end, output, out_of_memory, expected) in table {
            let label = format!("{end:?} {output:?}");
            assert_eq!(
                reason(&decide_outcome(end, output, "", out_of_memory)),
                expected,
                "{label}"
            );
        }
    }

    #[test]
    fn a_want_of_memory_names_the_limit_and_its_fields() {
        let outcome = |stderr: &str| decide_outcome(exited(1), FunctionOutput::None, stderr, true);
        let mut usage = Usage { peak_memory_bytes: 17 << 20, ..Usage::default() };
        for (stderr, end) in
            [("", "its function"), ("killed", "its function; the end of its stderr:\nkilled")]
        {
            let mut told = outcome(stderr);
            tell_limit(&mut told, &mut usage, Some(300 << 20));
            let Outcome::Failed { message, .. } = told else { panic!() };
            let said = "killed by the kernel for want of memory, of which it may have 300 MiB by memory.base and";
            assert!(message.contains(said) && message.ends_with(end), "{message}");
            assert_eq!(usage.peak_memory_bytes, 300 << 20);
        }
        // Nothing is made up, and nothing said of another failure.
        let mut usage = Usage::default();
        let mut unknown = outcome("");
        tell_limit(&mut unknown, &mut usage, None);
        assert_eq!((unknown, usage.peak_memory_bytes), (outcome(""), 0));
        let mut crashed = decide_outcome(exited(1), FunctionOutput::None, "", false);
        tell_limit(&mut crashed, &mut usage, Some(1));
        assert_eq!(usage.peak_memory_bytes, 0);
    }

    #[test]
    fn what_was_computed_before_an_error_is_kept_with_it() {
        let left = || inline_result(b"[1]", "application/json").unwrap();
        let outcome = |end| decide_outcome(end, FunctionOutput::Result(left()), "", false);
        let served = FunctionEnd::Answered;
        for end in [
            exited(65),
            exited(70),
            served(Served::Raised(String::new())),
            served(Served::BadInput(String::new())),
        ] {
            assert_eq!(outcome(end).result(), Some(&left()));
        }
        for end in [exited(1), exited(127), served(Served::Failed(String::new()))] {
            assert_eq!(outcome(end).result(), None, "it may be half of one");
        }
    }

    #[test]
    fn a_failure_ends_with_the_end_of_stderr() {
        let Outcome::Failed { message, exit_code, .. } =
            decide_outcome(exited(3), FunctionOutput::None, "boom", false)
        else {
            panic!()
        };
        assert_eq!(exit_code, Some(3));
        assert_eq!(message, "the function exited with code 3; the end of its stderr:\nboom");
    }
}
