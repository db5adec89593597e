//! What systemd is told of a server that it has started (`sd_notify(3)`): that it is ready, that it lives and that it
//! stops. Without `NOTIFY_SOCKET` nobody is told.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::warn;
use windlass_core::Error;

/// The service manager that has started this process, if one wants to know.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that this process lives.
    interval: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says. Without one that can be told the server serves all the same: a socket may be inherited
    /// from a service that is gone.
    pub(crate) fn find() -> Self {
        let none = Self { socket: None, interval: None };
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return none;
        };
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket), interval: watchdog() },
            Err(error) => {
                warn!(%error, socket = ?name, "NOTIFY_SOCKET: the service manager cannot be told");
                none
            }
        }
    }

    /// The server answers.
    pub(crate) fn ready(&self) {
        self.notify("READY=1");
    }

    /// The server ends what runs, and then itself.
    pub(crate) fn stopping(&self) {
        self.notify("STOPPING=1");
    }

    /// Tells twice in each interval that the server lives, as long as what is behind it answers. A server that is drained
    /// lives.
    pub(crate) async fn keep_told(
        &self,
        answers: impl AsyncFn() -> Result<(), Error>,
    ) -> Infallible {
        let Some(interval) = self.interval else { return pending().await };
        // By the clock, however long an answer takes; at once when one was late.
        let mut ticks = tokio::time::interval(interval / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match answers().await {
                Ok(()) => self.notify("WATCHDOG=1"),
                Err(error) => {
                    warn!(%error, "the service manager is not told that the server lives")
                }
            }
        }
    }

    fn notify(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            warn!(%error, state, "the service manager cannot be told");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(name)?)?;
    // A service manager that reads nothing must not stop the server.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A path, or a name that begins with `@` and is in no directory.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// The interval of the watchdog, where it is this process that is watched.
fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_other = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|usec| *usec > 0 && !is_other).map(Duration::from_micros)
}
