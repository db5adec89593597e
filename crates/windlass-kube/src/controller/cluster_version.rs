//! What the cluster is, as far as something here depends on it: asked now and then, because it is upgraded under a
//! controller that runs.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use kube::Client;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use windlass_core::Error;

use crate::error::call;

/// It is asked again after this time.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Longest wait for an answer: jobs wait to start meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// When it is asked again after there was no answer.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// An answer, and when to ask again.
pub(super) struct NowAndThen<T> {
    /// Whoever asks holds it, and the others wait for the answer.
    known: Mutex<Known<T>>,
}

struct Known<T> {
    /// `None` until there was an answer.
    answer: Option<T>,
    ask_at: Option<Instant>,
}

impl<T> Default for NowAndThen<T> {
    fn default() -> Self {
        Self { known: Mutex::new(Known { answer: None, ask_at: None }) }
    }
}

impl<T: Copy + PartialEq + Debug> NowAndThen<T> {
    /// The answer. Asks if that is due; while nobody answers, what was told last holds. `what` is for the log.
    pub(super) async fn get(
        &self,
        what: &str,
        ask: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        let mut known = self.known.lock().await;
        if known.ask_at.is_none_or(|at| at <= Instant::now()) {
            let asked = timeout(PATIENCE, ask).await;
            let pause = match asked.unwrap_or_else(|_| Err(Error::unavailable("no answer"))) {
                Ok(answer) => {
                    if known.answer != Some(answer) {
                        info!(?answer, "{what}");
                    }
                    known.answer = Some(answer);
                    MAX_AGE
                }
                Err(error) => {
                    warn!(%error, "{what}: the API server does not tell");
                    ASK_AGAIN
                }
            };
            known.ask_at = Some(Instant::now() + pause);
        }
        known.answer
    }
}

/// A major and a minor version.
pub(super) type Version = (u32, u32);

/// The API server's version.
pub(super) async fn api_server_version(client: &Client) -> Result<Version, Error> {
    let version = call(client.apiserver_version()).await?;
    let told = format!("{}.{}", version.major, version.minor);
    // Some add a sign: `33+`.
    let read = read_version(told.trim_end_matches(|c: char| !c.is_ascii_digit()));
    read.ok_or_else(|| Error::unavailable(format!("its version is {told:?}")))
}

/// The first two of numbers between dots. `None` when anything else is among them: the builds of distributions may lack
/// what the version has.
pub(super) fn read_version(text: &str) -> Option<Version> {
    let numbers: Option<Vec<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
    match numbers?[..] {
        [major, minor, ..] => Some((major, minor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_numbers_and_nothing_else() {
        assert_eq!(read_version("1.35.4"), Some((1, 35)));
        assert_eq!(read_version("1.33"), Some((1, 33)));
        for other in ["", "1", "1.", "1.35-k3s1", "2.2.3-k3s1", "v1.35.4", "1.-2"] {
            assert_eq!(read_version(other), None, "{other}");
        }
    }
}
