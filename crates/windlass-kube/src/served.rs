//! The namespaces that this process serves.

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// Objects of one namespace, or of all.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Each of these namespaces, or all of the cluster at once where none is named.
pub(crate) fn each(namespaces: &[String]) -> Vec<Option<&str>> {
    if namespaces.is_empty() {
        return vec![None];
    }
    namespaces.iter().map(|namespace| Some(&**namespace)).collect()
}

/// Their objects.
pub(crate) fn apis<K>(client: &Client, namespaces: &[String]) -> Vec<Api<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    each(namespaces).into_iter().map(|namespace| api(client, namespace)).collect()
}
