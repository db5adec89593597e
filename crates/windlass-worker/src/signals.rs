//! What a worker's process is told by signals.

use std::io;

use tokio::signal::unix::Signal;

use crate::stop_signals::{StopSignals, heed_children};

/// What this process is told by signals.
pub(crate) struct Signals {
    /// To stop.
    pub(crate) stop: StopSignals,
    /// That a child has ended.
    pub(crate) children: Signal,
}

impl Signals {
    /// Before the function starts, so that no signal is missed.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { stop: StopSignals::listen()?, children: heed_children()? })
    }
}
