//! How the worker comes into the pods of functions.

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};
use windlass_core::Error;

use super::cluster_version::{NowAndThen, Version, api_server_version, read_version};
use crate::attempt::worker_source::{Way, WorkerImage, WorkerSource};
use crate::error::call;

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WorkerSettings {
    /// Every function's image has it.
    #[default]
    InImages,
    /// It is brought out of this image.
    Brought(WorkerImage, Injection),
}

/// By what it is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    /// An image volume where every node has them, an init container elsewhere.
    Auto,
    /// An image volume.
    ImageVolume,
    /// An init container.
    InitContainer,
}

/// From this version of Kubernetes on, API servers and kubelets have image volumes unless somebody switches them off.
const KUBERNETES: Version = (1, 35);
/// The container runtimes that have them, by the names that nodes say, and the first versions whose volumes may hold
/// programs.
const RUNTIMES: [(&str, Version); 2] = [("containerd", (2, 1)), ("cri-o", (1, 35))];
/// Nodes that are asked for at a time.
const PAGE: u32 = 500;

/// Brings the worker to pods.
pub(crate) struct WorkerInjection {
    settings: WorkerSettings,
    /// Whether all nodes have image volumes.
    known: NowAndThen<bool>,
}

impl WorkerInjection {
    /// As the command line says.
    pub(crate) fn new(settings: WorkerSettings) -> Self {
        Self { settings, known: NowAndThen::default() }
    }

    /// What brings the worker to a pod that is made now; `None` where images have it. Asks the API server now and then.
    pub(crate) async fn source(&self, client: &Client) -> Option<WorkerSource> {
        let WorkerSettings::Brought(image, injection) = &self.settings else { return None };
        let way = match injection {
            Injection::ImageVolume => Way::ImageVolume,
            Injection::InitContainer => Way::InitContainer,
            Injection::Auto => {
                let ask = have_image_volumes(client);
                match self.known.get("whether all nodes have image volumes", ask).await {
                    Some(true) => Way::ImageVolume,
                    // It works everywhere.
                    Some(false) | None => Way::InitContainer,
                }
            }
        };
        Some(WorkerSource { image: image.clone(), way })
    }
}

/// Whether the API server and all nodes have image volumes. The version of the API server alone does not say: a kubelet may
/// be older, and Kubernetes 1.35 runs with container runtimes that ignore such a volume, so that it is empty.
async fn have_image_volumes(client: &Client) -> Result<bool, Error> {
    if api_server_version(client).await? < KUBERNETES {
        return Ok(false);
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    let mut seen = false;
    loop {
        let page = call(nodes.list(&params)).await?;
        if !page.items.iter().all(has_image_volumes) {
            return Ok(false);
        }
        seen |= !page.items.is_empty();
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(seen),
        }
    }
}

/// Whether a node says that it is new enough. One of another system than Linux runs no function.
fn has_image_volumes(node: &Node) -> bool {
    let Some(info) = node.status.as_ref().and_then(|status| status.node_info.as_ref()) else {
        return false;
    };
    // Clouds add a word of theirs to their kubelets.
    let kubelet = info.kubelet_version.split(['-', '+']).next().unwrap_or_default();
    let kubelet = kubelet.strip_prefix('v').and_then(read_version);
    let runtime = info.container_runtime_version.split_once("://");
    let runtime_has_them = runtime.is_some_and(|(name, version)| {
        let first = RUNTIMES.iter().find(|(known, _)| *known == name).map(|(_, first)| *first);
        let version = read_version(version.strip_prefix('v').unwrap_or(version));
        first.is_some_and(|first| version >= Some(first))
    });
    info.operating_system != "linux" || (kubelet >= Some(KUBERNETES) && runtime_has_them)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(kubelet: &str, runtime: &str) -> Node {
        let info = json!({ "kubeletVersion": kubelet, "containerRuntimeVersion": runtime,
            "operatingSystem": "linux", "architecture": "amd64", "bootID": "", "kernelVersion": "",
            "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "" });
        serde_json::from_value(json!({ "status": { "nodeInfo": info } })).unwrap()
    }

    #[test]
    fn a_node_has_image_volumes_if_both_its_kubelet_and_its_runtime_do() {
        let table = [
            ("v1.35.4", "containerd://2.1.9", true),
            ("v1.36.0", "containerd://v2.2.0", true),
            ("v1.35.2-eks-1a2b3c4", "containerd://2.1.5", true),
            ("v1.35.0", "cri-o://1.35.1", true),
            ("v1.34.4", "containerd://2.1.9", false),
            ("v1.35.4", "containerd://1.7.28", false),
            ("v1.35.4", "containerd://1.6.20~ds1", false),
            ("v1.35.4", "cri-o://1.34.2", false),
            // Such a build has ignored them: https://github.com/k3s-io/k3s/issues/14323.
            ("v1.36.1+k3s1", "containerd://2.2.3-k3s1", false),
            ("v1.35.4", "docker://28.0.0", false),
            ("kwok-v0.8.0", "", false),
        ];
        for (kubelet, runtime, expected) in table {
            assert_eq!(has_image_volumes(&node(kubelet, runtime)), expected, "{kubelet} {runtime}");
        }
        assert!(!has_image_volumes(&Node::default()), "a node that has not said yet");
    }
}
