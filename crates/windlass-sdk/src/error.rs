//! Why a function ended without a result.

use std::fmt;
use std::io::{self, Write as _};

use windlass_contract as contract;

/// Why a function ended without a result; decides the exit status and so whether the attempt is retried.
///
/// Like `anyhow::Error`, this type is not itself a [`std::error::Error`], so that `?` turns every other error into a
/// failed attempt. Say [`Error::bad_input`] where the input is to blame: only that is never retried.
pub struct Error(Kind);

/// What an error means to the worker.
enum Kind {
    /// The input can never work.
    BadInput { pointer: String, message: String },
    /// Asked to stop.
    Cancelled,
    /// The contract's variables are missing or make no sense: not the input's fault and not the function's.
    NoContract(String),
    /// Everything else: a full disk, a bug, a service that is down.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The input can never work: exit status 65, never retried.
    ///
    /// `pointer` is the JSON pointer (RFC 6901) of the part to blame, such as `/options/3/strike`, or "" for all of
    /// the input. Both arguments reach the requester.
    #[must_use]
    pub fn bad_input(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Kind::BadInput { pointer: pointer.into(), message: message.into() })
    }

    /// Anything else went wrong: exit status 1, retried under the job's policy.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self(Kind::Failed(message.into().into()))
    }

    /// The function was asked to stop and did. [`crate::Run::check`] returns this.
    #[must_use]
    pub fn cancelled() -> Self {
        Self(Kind::Cancelled)
    }

    /// Not started by a worker, or by one that speaks nonsense.
    pub(crate) fn no_contract(message: impl Into<String>) -> Self {
        Self(Kind::NoContract(message.into()))
    }

    /// Whether this is [`Error::bad_input`].
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        matches!(self.0, Kind::BadInput { .. })
    }

    /// Whether this is [`Error::cancelled`].
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Kind::Cancelled)
    }

    /// Tells it on stderr, whose end the worker puts into the failure message.
    pub(crate) fn print(&self) {
        // Nobody left to tell if stderr is closed.
        writeln!(io::stderr(), "{self}").unwrap_or_default();
    }

    /// The exit status that tells the worker: 65 bad input, 143 cancelled, 2 not started by a worker, else 1.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self.0 {
            Kind::BadInput { .. } => contract::EXIT_BAD_INPUT,
            Kind::Cancelled => contract::EXIT_CANCELLED,
            Kind::NoContract(_) => 2,
            Kind::Failed(_) => 1,
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Kind::Failed(Box::new(error)))
    }
}

impl fmt::Display for Error {
    /// One line for people, causes included: nothing prints the chain later.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::BadInput { pointer, message } if pointer.is_empty() => {
                write!(formatter, "bad input: {message}")
            }
            Kind::BadInput { pointer, message } => {
                write!(formatter, "bad input at {pointer}: {message}")
            }
            Kind::Cancelled => write!(formatter, "stopped as asked"),
            Kind::NoContract(message) => write!(formatter, "{message}"),
            Kind::Failed(error) => {
                write!(formatter, "{error}")?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    write!(formatter, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
