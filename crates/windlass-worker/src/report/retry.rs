//! Tries again what the gateway has not answered.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep, timeout_at};

use crate::stdio::log_line;

/// First and longest pause between two tries.
pub(super) const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// How long a gateway may say nothing but that it does not know this pod (401) until that is believed. After a node was cut
/// off for longer than its pods' tokens live, its kubelet renews them within two minutes. A token whose service account was
/// deleted is never known again, nor is a pod whose batch Job was deleted without it.
const UNKNOWN: Duration = Duration::from_secs(300);

/// What the gateway answered.
#[derive(Debug)]
pub(super) enum GatewayResponse<T> {
    /// It counts.
    Accepted(T),
    /// It never will.
    Rejected(StatusCode, Option<String>),
    /// Trying again is right.
    RetryLater(StatusCode),
}

/// Whether a status that is no success is final.
pub(super) fn rejection<T>(status: StatusCode, why: Option<String>) -> GatewayResponse<T> {
    match status {
        // Conflict: the job was cancelled or has ended. The rest cannot become right either.
        StatusCode::CONFLICT
        | StatusCode::GONE
        | StatusCode::FORBIDDEN
        | StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => GatewayResponse::Rejected(status, why),
        status => GatewayResponse::RetryLater(status),
    }
}

/// Since when gateways have said nothing else than that they do not know this pod.
#[derive(Default)]
struct Unknown(Option<Instant>);

impl Unknown {
    /// What came of a try now: `None` without an answer. Whether it is to be believed that no gateway will know this pod.
    fn is_believed(&mut self, status: Option<StatusCode>, now: Instant) -> bool {
        if status != Some(StatusCode::UNAUTHORIZED) {
            self.0 = None;
            return false;
        }
        now.duration_since(*self.0.get_or_insert(now)) >= UNKNOWN
    }
}

/// Tries until the gateway takes or refuses what it is told, with growing pauses; `None` when it did
/// neither until the deadline.
pub(super) async fn retry_until<T, F: Future<Output = Result<GatewayResponse<T>, String>>>(
    deadline: Instant,
    mut one_try: impl FnMut() -> F,
) -> Option<Result<T, (StatusCode, Option<String>)>> {
    let mut pause = BACKOFF[0];
    let mut unknown = Unknown::default();
    loop {
        match timeout_at(deadline, one_try()).await {
            Ok(Ok(GatewayResponse::Accepted(taken))) => return Some(Ok(taken)),
            Ok(Ok(GatewayResponse::Rejected(status, why))) => return Some(Err((status, why))),
            Ok(Ok(GatewayResponse::RetryLater(status))) => {
                if unknown.is_believed(Some(status), Instant::now()) {
                    return Some(Err((status, None)));
                }
                log_line(&format!("windlass worker: the gateway is not ready ({status})"));
            }
            Ok(Err(error)) => {
                unknown.is_believed(None, Instant::now());
                log_line(&format!("windlass worker: {error}"));
            }
            Err(_) => return None,
        }
        if Instant::now() + pause >= deadline {
            return None;
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(BACKOFF[1]);
    }
}

/// Between half of the pause and all of it, by the clock's last digits: workers that lost the same
/// gateway must not come back at the same instant.
fn jittered(pause: Duration) -> Duration {
    let random = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    pause / 2 + (pause / 2) * (random % 1000) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_does_not_know_the_pod_is_believed_after_five_minutes_of_nothing_else() {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let mut unknown = Unknown::default();
        let mut is_believed = |code: Option<u16>, seconds| {
            unknown.is_believed(code.map(|code| StatusCode::from_u16(code).unwrap()), at(seconds))
        };
        assert!(!is_believed(Some(401), 0));
        assert!(!is_believed(Some(401), 299));
        assert!(!is_believed(Some(503), 301), "it is not ready, and may know the pod when it is");
        assert!(!is_believed(Some(401), 302));
        assert!(!is_believed(None, 601), "nobody answers");
        assert!(!is_believed(Some(401), 602));
        assert!(!is_believed(Some(401), 901));
        assert!(is_believed(Some(401), 902));
    }
}
