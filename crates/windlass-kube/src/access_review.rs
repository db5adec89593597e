//! What somebody may do, as the API server's SubjectAccessReview says.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use windlass_core::Error;

use crate::error::call;

/// The resource of functions that are for all namespaces.
const CLUSTER_FUNCTIONS: &str = "clustercomputefunctions";

/// The verb of whoever may have a function for all run.
const USE: &str = "use";

/// What is to be done.
pub(crate) enum Deed {
    /// Something with a resource.
    Resource(Box<ResourceAttributes>),
    /// Getting a path.
    Get(&'static str),
}

impl Deed {
    /// Doing this with all the objects of one of our resources, in a namespace.
    pub(crate) fn on(resource: &str, verb: &str, namespace: &str) -> Self {
        Self::Resource(attributes(resource, verb, namespace).into())
    }

    /// Using this function, which is for all namespaces, in this one. So a RoleBinding there can grant it.
    pub(crate) fn use_of(function: &str, namespace: &str) -> Self {
        let all = attributes(CLUSTER_FUNCTIONS, USE, namespace);
        let one = ResourceAttributes { name: Some(function.to_owned()), ..all };
        Self::Resource(one.into())
    }
}

fn attributes(resource: &str, verb: &str, namespace: &str) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(windlass_core::GROUP.into()),
        resource: Some(resource.into()),
        namespace: Some(namespace.to_owned()),
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    }
}

/// Whether the API server lets this user do this.
pub(crate) async fn is_allowed(client: &Client, user: UserInfo, deed: Deed) -> Result<bool, Error> {
    let (resource_attributes, non_resource_attributes) = match deed {
        Deed::Resource(attributes) => (Some(*attributes), None),
        Deed::Get(path) => {
            let (path, verb) = (Some(path.into()), Some("get".into()));
            (None, Some(NonResourceAttributes { path, verb }))
        }
    };
    let extra: BTreeMap<_, _> = user.extra.unwrap_or_default().into_iter().collect();
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: Some(extra),
            resource_attributes,
            non_resource_attributes,
        },
        ..SubjectAccessReview::default()
    };
    // A review is a POST that creates nothing.
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = call(reviews.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}
