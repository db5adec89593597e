//! Whether a namespace may use a function that is for all namespaces.
//!
//! Nobody tells who has created a ComputeJob. So the right is that of the namespace: what the service accounts of the
//! namespace may do, anybody may who can have a pod made there.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use moka::future::Cache;
use tokio::time::Instant;
use windlass_core::Error;

use crate::access_review::{Deed, is_allowed};

/// How long an answer is kept: the longest that a revoked right still works.
const KEPT: Duration = Duration::from_secs(5);
/// Most answers kept.
const MOST_KEPT: u64 = 10_000;

/// The API server's answers, and since when they are known, by namespace and function.
pub(crate) struct FunctionRights(Cache<(String, String), (Instant, bool)>);

impl Default for FunctionRights {
    fn default() -> Self {
        Self(Cache::new(MOST_KEPT))
    }
}

impl FunctionRights {
    /// Whether this namespace may use this function.
    pub(super) async fn may_use(
        &self,
        client: &Client,
        namespace: &str,
        function: &str,
    ) -> Result<bool, Error> {
        let key = (namespace.to_owned(), function.to_owned());
        let is_old = |(since, _): (Instant, bool)| since.elapsed() >= KEPT;
        if self.0.get(&key).await.is_some_and(is_old) {
            self.0.invalidate(&key).await;
        }
        let ask = async {
            let deed = Deed::use_of(function, namespace);
            Ok::<_, Error>((
                Instant::now(),
                is_allowed(client, service_account(namespace), deed).await?,
            ))
        };
        let asked = self.0.try_get_with(key, ask).await;
        asked.map(|(_, may_use)| may_use).map_err(|error| (*error).clone())
    }
}

/// The service account that every namespace has, with the groups of all those of the namespace.
fn service_account(namespace: &str) -> UserInfo {
    let of_namespace = format!("system:serviceaccounts:{namespace}");
    let groups = ["system:serviceaccounts", &of_namespace, "system:authenticated"];
    UserInfo {
        username: Some(format!("system:serviceaccount:{namespace}:default")),
        groups: Some(groups.map(str::to_owned).into()),
        ..UserInfo::default()
    }
}
