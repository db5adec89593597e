//! Bounds of time and size, each with its reason.

use std::time::Duration;

/// Bounds of time and size. The defaults are for a small machine behind no proxy.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Open connections; at the bound the one that has been idle longest is closed for the next.
    /// Each costs a file descriptor, so stay below the process's limit.
    pub connections: usize,
    /// For a TLS handshake. With `head` it is the longest time of a connection that never asks.
    pub handshake: Duration,
    /// From the first byte awaited to the end of a request's head; also the longest idle time of
    /// a connection between two requests.
    pub head: Duration,
    /// Until a request's body has arrived.
    pub body: Duration,
    /// For the back end to answer one request, waiting for a job's end not included.
    pub request: Duration,
    /// Until a client takes the next bytes of an answer.
    pub stalled_write: Duration,
    /// Longest `Prefer: wait`; a longer one is cut to this.
    pub wait: Duration,
    /// How long such a wait goes on for a client that has closed its side. It may be gone, or read on.
    pub wait_of_closed: Duration,
    /// Longest stream of events; its client then connects, and is authorized, again.
    pub stream: Duration,
    /// Between two checks whether the caller of a long answer may still have it.
    pub recheck: Duration,
    /// Silence on a stream of events before a comment is sent, so that proxies keep it open.
    pub keep_alive: Duration,
    /// For running requests to end, once a shutdown has started.
    pub drain: Duration,
    /// How often somebody may ask.
    pub rates: RequestRates,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 768, // Below the usual 1024 descriptors, with room for the rest.
            handshake: Duration::from_secs(4),
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            request: Duration::from_secs(30),
            stalled_write: Duration::from_secs(30),
            wait: Duration::from_secs(3_600),
            wait_of_closed: Duration::from_secs(10),
            stream: Duration::from_secs(3_600),
            recheck: Duration::from_secs(5),
            keep_alive: Duration::from_secs(15),
            drain: Duration::from_secs(10),
            rates: RequestRates::default(),
        }
    }
}

/// How often somebody may ask, in a second. `None` counts none.
#[derive(Clone, Debug)]
pub struct RequestRates {
    /// Requests of one caller, twice as many in a burst.
    pub caller_requests: Option<u32>,
    /// Requests of one pod's worker, twice as many in a burst.
    pub worker_requests: Option<u32>,
    /// Requests of workers from one address, twice as many in a burst. Loopback has no such bound.
    pub worker_address_requests: Option<u32>,
    /// Bad tokens from one address, ten times as many in a burst. Loopback has no such bound.
    pub bad_tokens: Option<u32>,
}

impl Default for RequestRates {
    fn default() -> Self {
        Self {
            caller_requests: None,
            worker_requests: Some(100), // Ten are usual: one for each 100 ms of progress.
            worker_address_requests: Some(2_000), // A hundred pods of a node behind one address.
            bad_tokens: Some(10),
        }
    }
}

/// Largest body of a submit: the input's 128 KiB, and 64 KiB for white space and the rest.
pub(crate) const MAX_SUBMIT_BYTES: usize = windlass_core::job::MAX_INPUT_BYTES + 64 * 1024;

/// Largest body of a report: 32 KiB of result, which JSON escapes may make six times as long,
/// and 64 KiB for messages and the rest.
pub(crate) const MAX_REPORT_BYTES: usize = 6 * 32 * 1024 + 64 * 1024;

/// Largest body of a batch of progress from another replica; see `live::outbox`.
pub(crate) const MAX_BATCH_BYTES: usize = 1 << 20;

/// Most header lines of a request; hyper answers 431 to more.
pub(crate) const MAX_HEADERS: usize = 64;

/// Largest head of a request, in bytes; hyper answers 431 to more. A Kubernetes token has 1-2 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;
