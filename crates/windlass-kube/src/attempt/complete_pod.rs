//! Completes the pod that a function's template says with what Windlass says of it. Pure.

use k8s_openapi::api::core::v1 as core_v1;
use serde_json::Value;
use windlass_core::Error;

use crate::labels::CONTAINER;

/// This pod of ours with what the function's template says beside. What is only a default of ours, the template may
/// change.
pub(super) fn complete_pod(
    template: &core_v1::PodTemplateSpec,
    mut ours: core_v1::PodSpec,
) -> Result<core_v1::PodSpec, Error> {
    let Some(theirs) = &template.spec else { return Ok(ours) };
    let is_bug = |error: serde_json::Error| Error::Bug(format!("a pod: {error}"));
    adapt_user(&mut ours, theirs);
    let mut pod = serde_json::to_value(&ours).map_err(is_bug)?;
    merge(&mut pod, serde_json::to_value(theirs).map_err(is_bug)?, "");
    serde_json::from_value(pod).map_err(is_bug)
}

/// Takes back those of our defaults that would contradict the template.
fn adapt_user(ours: &mut core_v1::PodSpec, theirs: &core_v1::PodSpec) {
    if let (Some(ours), Some(theirs)) = (&mut ours.security_context, &theirs.security_context) {
        ours.run_as_non_root = ours.run_as_non_root.filter(|_| theirs.run_as_user != Some(0));
        // So that the user may write to the volumes.
        ours.fs_group = theirs.run_as_group.or(ours.fs_group);
    }
    let of_function = theirs.containers.iter().find(|container| container.name == CONTAINER);
    let Some(theirs) = of_function.and_then(|container| container.security_context.as_ref()) else {
        return;
    };
    for ours in ours.containers.iter_mut().filter_map(|own| own.security_context.as_mut()) {
        if theirs.run_as_user == Some(0) {
            ours.run_as_non_root = Some(false);
        }
        let added = theirs.capabilities.as_ref().and_then(|all| all.add.as_ref());
        let gets_all = added.is_some_and(|all| all.iter().any(|name| name == "SYS_ADMIN"));
        // An API server refuses the two together.
        if theirs.privileged == Some(true) || gets_all {
            ours.allow_privilege_escalation = None;
        }
    }
}

/// Lays one JSON value over another. Lists are put together; what has the same name in both is one.
fn merge(ours: &mut Value, theirs: Value, field: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in theirs {
                match ours.get_mut(&key) {
                    Some(own) => merge(own, value, &key),
                    None => drop(ours.insert(key, value)),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => match field {
            "containers" => theirs.into_iter().for_each(|item| merge_by_name(ours, item)),
            "env" => replace_by("name", ours, theirs),
            "volumeMounts" => replace_by("mountPath", ours, theirs),
            // Who says which capabilities are dropped says all of them.
            "drop" => *ours = theirs,
            _ => ours.extend(theirs),
        },
        (ours, theirs) => *ours = theirs,
    }
}

fn merge_by_name(ours: &mut Vec<Value>, item: Value) {
    match ours.iter_mut().find(|own| own["name"] == item["name"]) {
        Some(own) => merge(own, item, ""),
        None => ours.push(item),
    }
}

fn replace_by(key: &str, ours: &mut Vec<Value>, theirs: Vec<Value>) {
    let id = |item: &Value| item[key].as_str().map(|id| id.trim_end_matches('/').to_owned());
    ours.retain(|own| theirs.iter().all(|item| id(item) != id(own)));
    ours.extend(theirs);
}
