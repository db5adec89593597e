//! The ClusterComputeQueue whose CPUs the queues of a namespace share.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use windlass_core::{Error, SharedCpus};

use crate::crd::ClusterComputeQueue;
use crate::error::call_where_permitted;
use crate::queueing::cluster_queues::precedence;

/// Cluster admins make few of them.
const MOST: u32 = 500;

/// What it has and how much of it is in use. `None` when the namespace shares none, or nobody may see that.
pub(super) async fn shared_cpus(
    client: &Client,
    namespace: &str,
) -> Result<Option<SharedCpus>, Error> {
    let queues: Api<ClusterComputeQueue> = Api::all(client.clone());
    let params = ListParams::default().limit(MOST);
    let listed = call_where_permitted(queues.list(&params)).await?;
    let queues = listed.map(|list| list.items).unwrap_or_default();
    if queues.is_empty() {
        return Ok(None);
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = call_where_permitted(namespaces.get_opt(namespace)).await?.flatten();
    Ok(found.and_then(|found| of_namespace(&found, &queues)))
}

fn of_namespace(namespace: &Namespace, queues: &[ClusterComputeQueue]) -> Option<SharedCpus> {
    let selects =
        |queue: &ClusterComputeQueue| queue.spec.0.namespace_selector.selects(namespace.labels());
    let created = |queue: &ClusterComputeQueue| {
        queue.creation_timestamp().map(|time| time.0).unwrap_or_default()
    };
    let first = queues.iter().filter(|queue| selects(queue)).min_by(|a, b| {
        precedence(created(a), &a.name_any()).cmp(&precedence(created(b), &b.name_any()))
    });
    let queue = first?;
    let usage = queue.status.as_ref().map(|status| &status.usage);
    Some(SharedCpus {
        name: queue.name_any(),
        cpus: queue.spec.0.cpus,
        hold: queue.spec.0.hold,
        granted: usage.map_or(0, |usage| usage.granted),
        waiting: usage.map_or(0, |usage| usage.waiting),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn queue(name: &str, created: &str, selector: Value) -> ClusterComputeQueue {
        serde_json::from_value(json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ClusterComputeQueue",
            "metadata": { "name": name, "creationTimestamp": created },
            "spec": { "cpus": 16, "namespaceSelector": selector },
            "status": { "granted": 10, "waiting": 3 },
        }))
        .unwrap()
    }

    #[test]
    fn a_namespace_shares_the_cpus_of_the_oldest_that_selects_it() {
        let namespace: Namespace =
            serde_json::from_value(json!({ "metadata": { "labels": { "team": "a" } } })).unwrap();
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let mine = json!({ "matchLabels": { "team": "a" } });
        let others = json!({ "matchLabels": { "team": "b" } });
        let all = [
            queue("late", late, json!({})),
            queue("other", early, others),
            queue("mine-too", early, json!({})),
            queue("mine", early, mine),
        ];
        let shared = of_namespace(&namespace, &all).unwrap();
        let expected =
            SharedCpus { name: "mine".into(), cpus: 16, hold: false, granted: 10, waiting: 3 };
        assert_eq!(shared, expected);
        assert_eq!(of_namespace(&Namespace::default(), &[]), None);
        let others = json!({ "matchLabels": { "team": "b" } });
        assert_eq!(of_namespace(&namespace, &[queue("other", early, others)]), None);
    }
}
