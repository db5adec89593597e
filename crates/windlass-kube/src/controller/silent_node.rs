//! Why a pod that has a node does not start, as the node tells: its kubelet may be gone.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tracing::warn;
use windlass_core::plan::{Attempt, AttemptState};
use windlass_core::status::reasons;

use super::context::Context;
use crate::error::call;

/// How long a pod may take to start before its node is asked for. A kubelet that is gone is noticed after forty seconds.
const PATIENCE: SignedDuration = SignedDuration::from_secs(40);

/// How long until it is asked again while it says that it is ready.
const PAUSE: Duration = Duration::from_secs(20);

/// Puts it into the attempt, if the node is not ready. It decides nothing: the start deadline does. When to ask again,
/// as nothing tells that a kubelet is silent.
pub(super) async fn explain_silent_node(
    attempts: &mut [Attempt],
    ctx: &Context,
    now: Timestamp,
) -> Option<Duration> {
    let attempt = attempts.last_mut()?;
    let AttemptState::Starting { reason: reason @ None, message } = &mut attempt.state else {
        return None;
    };
    let (Some(node), Some(since)) = (&attempt.node, attempt.startable_since) else { return None };
    let left = PATIENCE - now.duration_since(since);
    if left.is_positive() {
        return Duration::try_from(left).ok();
    }
    let nodes: Api<Node> = Api::all(ctx.client.clone());
    match call(nodes.get_opt(node)).await {
        Ok(None) => {}
        Ok(Some(found)) => {
            if let Some(why) = why_not_ready(&found) {
                *reason = Some(reasons::NODE_NOT_READY.into());
                *message = format!("node {node:?}: {why}");
            }
        }
        Err(error) => warn!(node, %error, "why a pod does not start cannot be asked"),
    }
    Some(PAUSE)
}

/// What the node says of itself, or the control plane of it, when it is not ready.
fn why_not_ready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status != "True")?;
    let reason = ready.reason.as_deref().unwrap_or("NotReady");
    Some(format!("{reason}: {}", ready.message.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_whose_kubelet_is_gone_says_so() {
        let node = |status: &str| -> Node {
            let ready = json!({ "type": "Ready", "status": status, "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status." });
            serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": [ready] } }))
                .unwrap()
        };
        assert_eq!(why_not_ready(&node("True")), None);
        let expected = "NodeStatusUnknown: Kubelet stopped posting node status.";
        assert_eq!(why_not_ready(&node("Unknown")).as_deref(), Some(expected));
    }
}
