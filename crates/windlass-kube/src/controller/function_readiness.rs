//! Says on each ComputeFunction whether its pods can be made: when it changes, and not at the first job.
//!
//! What Windlass itself refuses is told with its path. The rest the API server is asked, by dry runs of a batch Job and a pod.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;
use windlass_core::error::clip;
use windlass_core::{Error, FunctionSpec};

use super::context::Context;
use super::refused_status::is_refusal;
use crate::attempt::build_standby::StandbyTemplate;
use crate::crd::ComputeFunction;
use crate::error::{call, exceeds_quota, from_kube, within_deadline};
use crate::function_status::{FunctionCondition, READY};

/// How often is looked for functions that have changed.
const TICK: Duration = Duration::from_secs(1);
/// When a function is looked at again after an answer that said nothing of it.
const AGAIN: Duration = Duration::from_secs(5);
/// When the API server is asked again whether it still refuses. The cause may be outside the function.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);

const ACCEPTED: &str = "Accepted";
/// Windlass itself refuses it.
const INVALID: &str = "Invalid";
/// The API server does.
const REFUSED: &str = "Refused";
/// Most bytes of a message.
const MAX_MESSAGE: usize = 1024;

/// A function as it was at one time: its UID, and its generation.
type Seen = (String, i64);

/// Keeps the conditions true, as long as it runs and this process leads.
pub(crate) async fn run(ctx: &Context) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked: HashMap<Seen, Instant> = HashMap::new();
    loop {
        tick.tick().await;
        if !ctx.is_leading() || !ctx.synced.has_synced() {
            continue;
        }
        let functions = ctx.stores.functions.state();
        let functions: HashMap<Seen, _> =
            functions.into_iter().filter_map(|one| Some((seen_of(&one)?, one))).collect();
        asked.retain(|seen, _| functions.contains_key(seen));
        for (seen, function) in functions {
            if !is_due(&function, asked.get(&seen).map(Instant::elapsed)) {
                continue;
            }
            asked.insert(seen, Instant::now());
            if let Err(error) = tell(ctx, &function).await {
                let function = function.name_any();
                warn!(function, %error, "whether its pods can be made is not known");
            }
        }
    }
}

fn seen_of(function: &ComputeFunction) -> Option<Seen> {
    Some((function.uid()?, function.metadata.generation?))
}

/// What was told of a function.
fn ready(function: &ComputeFunction) -> Option<&FunctionCondition> {
    function.status.as_ref()?.ready()
}

/// Whether a function is to be looked at, which was looked at so long ago.
fn is_due(function: &ComputeFunction, asked: Option<Duration>) -> bool {
    let is_past = |pause| asked.is_none_or(|elapsed| elapsed >= pause);
    let told = ready(function)
        .filter(|ready| Some(ready.observed_generation) == function.metadata.generation);
    match told {
        None => is_past(AGAIN),
        Some(ready) => ready.reason == REFUSED && is_past(REFUSED_AGAIN),
    }
}

/// Writes the condition, if it is another one.
async fn tell(ctx: &Context, function: &ComputeFunction) -> Result<(), Error> {
    let (reason, message) = judge(ctx, function).await?;
    let before = ready(function);
    let Some(condition) = condition(function, reason, message, ctx.now()) else { return Ok(()) };
    if before == Some(&condition) {
        return Ok(());
    }
    let functions: Api<ComputeFunction> =
        Api::namespaced(ctx.client.clone(), &function.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({
        "metadata": { "uid": function.uid(), "resourceVersion": function.resource_version() },
        "status": { "conditions": [condition] },
    }));
    let (name, params) = (function.name_any(), PatchParams::default());
    call(functions.patch_status(&name, &params, &patch)).await.map(drop)
}

/// A reason, and a sentence.
async fn judge(ctx: &Context, function: &ComputeFunction) -> Result<(&'static str, String), Error> {
    let worker = ctx.worker.source(&ctx.client).await;
    let function = function.to_core();
    let built = StandbyTemplate::new(&function, &ctx.settings.report, worker.as_ref());
    let template = match built {
        Ok(template) => template,
        Err(why @ (Error::Invalid(_) | Error::Conflict(_))) => {
            return Ok((INVALID, why.to_string()));
        }
        Err(error) => return Err(error),
    };
    let namespace = &function.metadata.namespace;
    let mut batch_job = template.batch_job(String::new(), None);
    let pod = batch_job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = Pod { metadata: pod.metadata.unwrap_or_default(), spec: pod.spec, status: None };
    for metadata in [&mut batch_job.metadata, &mut pod.metadata] {
        metadata.name = None;
        metadata.generate_name = Some("dry-run-".into());
    }
    // What a namespace lets in is asked only of pods, such as Pod Security's levels; other rules are of batch Jobs.
    let refused = match dry_run(&ctx.client, namespace, &batch_job).await? {
        Some(refused) => Some(refused),
        None => dry_run(&ctx.client, namespace, &pod).await?,
    };
    Ok(match refused {
        Some(message) => (REFUSED, message),
        None => (ACCEPTED, remark(&function.spec).to_owned()),
    })
}

/// What is said of a function whose pods can be made.
fn remark(function: &FunctionSpec) -> &'static str {
    match function.pass_env.as_slice() {
        [] => "",
        _ => {
            "passEnv has no meaning on a cluster: say the variables in podTemplate, such as from a Secret"
        }
    }
}

/// What the API server says against an object, if it would not create it.
async fn dry_run<K>(client: &Client, namespace: &str, object: &K) -> Result<Option<String>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    let objects: Api<K> = Api::namespaced(client.clone(), namespace);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match within_deadline(objects.create(&params, object)).await? {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if is_refusal(&status) => {
            Ok((!is_no_fault(&status.message)).then_some(status.message))
        }
        Err(error) => Err(from_kube(error)),
    }
}

/// Whether a refusal says nothing of the function: a quota is used up for now, or a webhook cannot be asked so.
fn is_no_fault(message: &str) -> bool {
    exceeds_quota(message) || message.contains("does not support dry run")
}

/// The condition of a function that was judged so. `None` of one that no API server has stored.
fn condition(
    function: &ComputeFunction,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Option<FunctionCondition> {
    let status = (reason == ACCEPTED).into();
    let before = ready(function).filter(|ready| ready.status == status);
    Some(FunctionCondition {
        kind: READY.into(),
        status,
        reason: reason.into(),
        message: clip(message, MAX_MESSAGE),
        observed_generation: function.metadata.generation?,
        last_transition_time: before.map_or(now, |ready| ready.last_transition_time),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_core::status::Truth;

    use super::*;

    fn function(conditions: Value) -> ComputeFunction {
        serde_json::from_value(json!({ "apiVersion": "windlass.dev/v1alpha1",
            "kind": "ComputeFunction", "metadata": { "name": "f", "uid": "u", "generation": 2 },
            "spec": { "command": ["f"] }, "status": { "conditions": conditions } }))
        .unwrap()
    }

    fn told(reason: &str, generation: i64) -> Value {
        let status = if reason == ACCEPTED { "True" } else { "False" };
        json!([{ "type": "Ready", "status": status, "reason": reason, "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z" }])
    }

    #[test]
    fn a_function_is_looked_at_once_it_has_changed_and_while_it_is_refused() {
        let seconds = Duration::from_secs;
        let table = [
            (json!([]), None, true),
            (json!([]), Some(seconds(1)), false),
            (json!([]), Some(seconds(5)), true),
            (told(ACCEPTED, 1), None, true),
            (told(ACCEPTED, 2), None, false),
            (told(ACCEPTED, 2), Some(seconds(600)), false),
            (told(INVALID, 2), Some(seconds(600)), false),
            (told(REFUSED, 2), Some(seconds(59)), false),
            (told(REFUSED, 2), Some(seconds(60)), true),
        ];
        for (conditions, asked, expected) in table {
            let function = function(conditions);
            assert_eq!(is_due(&function, asked), expected, "{:?} {asked:?}", function.status);
        }
    }

    #[test]
    fn what_says_nothing_of_the_function_is_no_refusal_of_it() {
        let table = [
            ("pods \"p\" is forbidden: exceeded quota: q, requested: cpu=4", true),
            ("admission webhook \"w\" does not support dry run", true),
            ("pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\"", false),
            ("pods \"p\" is forbidden: error looking up service account n/robot", false),
        ];
        for (message, expected) in table {
            assert_eq!(is_no_fault(message), expected, "{message}");
        }
    }

    #[test]
    fn a_function_that_is_accepted_is_told_what_nobody_looks_at() {
        let mut function = function(json!([])).to_core();
        assert_eq!(remark(&function.spec), "");
        function.spec.pass_env = vec!["KEY".into()];
        assert!(remark(&function.spec).contains("passEnv has no meaning"));
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_truth_is_the_same() {
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let refused = function(told(REFUSED, 1));
        let still = condition(&refused, INVALID, "x".repeat(5000), now).unwrap();
        assert_eq!((still.status, still.observed_generation), (Truth::False, 2));
        assert!(still.last_transition_time < now);
        assert!(still.message.len() <= MAX_MESSAGE);
        let accepted = condition(&refused, ACCEPTED, String::new(), now).unwrap();
        assert_eq!((accepted.status, accepted.last_transition_time), (Truth::True, now));
    }
}
