//! Says on each ComputeFunction and ClusterComputeFunction whether its pods can be made: when it changes, and not at the
//! first job.
//!
//! What Windlass itself refuses is told with its path. The rest the API server is asked, by dry runs of a batch Job and a pod,
//! for a ClusterComputeFunction in the namespace of the controller.

use std::collections::HashMap;
use std::fmt::Debug;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;
use windlass_core::error::clip;
use windlass_core::status::Truth;
use windlass_core::{Error, Function};

use super::context::Context;
use super::refused_status::is_refusal;
use crate::attempt::build_standby::StandbyTemplate;
use crate::condition::{Condition, READY, STALLED};
use crate::crd::{ClusterComputeFunction, ComputeFunction};
use crate::error::{call, exceeds_quota, from_kube, within_deadline};
use crate::function_status::FunctionStatus;

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

/// An object whose condition is told.
trait FunctionObject: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {
    fn function(&self) -> Function;
    fn told(&self) -> Option<&FunctionStatus>;
    /// Where such an object is.
    fn api(&self, client: Client) -> Api<Self>;

    /// What was told of it.
    fn ready(&self) -> Option<&Condition> {
        self.told()?.ready()
    }

    fn seen(&self) -> Option<Seen> {
        Some((self.uid()?, self.meta().generation?))
    }
}

impl FunctionObject for ComputeFunction {
    fn function(&self) -> Function {
        self.to_core()
    }

    fn told(&self) -> Option<&FunctionStatus> {
        self.status.as_ref()
    }

    fn api(&self, client: Client) -> Api<Self> {
        Api::namespaced(client, &self.namespace().unwrap_or_default())
    }
}

impl FunctionObject for ClusterComputeFunction {
    fn function(&self) -> Function {
        self.to_core()
    }

    fn told(&self) -> Option<&FunctionStatus> {
        self.status.as_ref()
    }

    fn api(&self, client: Client) -> Api<Self> {
        Api::all(client)
    }
}

/// Keeps the conditions true, as long as it runs and this process leads.
pub(crate) async fn run(ctx: &Context) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut asked, mut asked_of_all) = (HashMap::new(), HashMap::new());
    loop {
        tick.tick().await;
        if !ctx.is_leading() || !ctx.synced.has_synced() {
            continue;
        }
        tell_all(ctx, ctx.stores.functions.state(), &mut asked).await;
        tell_all(ctx, ctx.stores.cluster_functions.state(), &mut asked_of_all).await;
    }
}

/// Looks at those of the functions that are due. `asked` is when each was looked at.
async fn tell_all<K: FunctionObject>(
    ctx: &Context,
    functions: Vec<Arc<K>>,
    asked: &mut HashMap<Seen, Instant>,
) {
    let functions: HashMap<Seen, _> =
        functions.into_iter().filter_map(|one| Some((one.seen()?, one))).collect();
    asked.retain(|seen, _| functions.contains_key(seen));
    for (seen, function) in functions {
        if !is_due(function.as_ref(), asked.get(&seen).map(Instant::elapsed)) {
            continue;
        }
        asked.insert(seen, Instant::now());
        if let Err(error) = tell_readiness(ctx, function.as_ref()).await {
            let function = function.name_any();
            warn!(function, %error, "whether its pods can be made is not known");
        }
    }
}

/// Whether a function is to be looked at, which was looked at so long ago.
fn is_due(function: &impl FunctionObject, asked: Option<Duration>) -> bool {
    let is_past = |pause| asked.is_none_or(|elapsed| elapsed >= pause);
    let told = function.ready().filter(|ready| is_told(function, ready));
    match told {
        None => is_past(AGAIN),
        Some(ready) => ready.reason == REFUSED && is_past(REFUSED_AGAIN),
    }
}

/// Whether the status says all that follows from this condition, of the function as it is now.
fn is_told(function: &impl FunctionObject, ready: &Condition) -> bool {
    let generation = function.meta().generation;
    Some(ready.observed_generation) == generation
        && function.told().is_some_and(|told| {
            told.observed_generation == generation && told.conditions == all(ready.clone())
        })
}

/// Writes the condition, if it is another one.
async fn tell_readiness<K: FunctionObject>(ctx: &Context, function: &K) -> Result<(), Error> {
    let (reason, message) = judge(ctx, function.function()).await?;
    let Some(condition) = condition(function, reason, message, ctx.now()) else { return Ok(()) };
    if is_told(function, &condition) {
        return Ok(());
    }
    let generation = condition.observed_generation;
    let functions = function.api(ctx.client.clone());
    let patch = Patch::Merge(json!({
        "metadata": { "uid": function.uid(), "resourceVersion": function.resource_version() },
        "status": { "observedGeneration": generation, "conditions": all(condition) },
    }));
    let (name, params) = (function.name_any(), PatchParams::default());
    call(functions.patch_status(&name, &params, &patch)).await.map(drop)
}

/// A reason, and a sentence.
async fn judge(ctx: &Context, mut function: Function) -> Result<(&'static str, String), Error> {
    let worker = ctx.worker.source(&ctx.client).await;
    let remark = remark(&function);
    if function.is_for_all() {
        let settings = &ctx.settings;
        let own = settings.namespaces.first().or(settings.lease_namespace.as_ref());
        function.metadata.namespace = own.cloned().unwrap_or_else(|| "default".into());
    }
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
        None => (ACCEPTED, remark),
    })
}

/// What is said of a function whose pods can be made.
fn remark(function: &Function) -> String {
    const PASSES: &str = "passEnv has no meaning on a cluster: say the variables in podTemplate, such as from a Secret";
    const WAITS: &str = "warm has no meaning here: standbys are those of a ComputeFunction";
    let said = [
        (PASSES, !function.spec.pass_env.is_empty()),
        (WAITS, function.is_for_all() && function.spec.warm.is_some()),
    ];
    let said = said.iter().filter_map(|(remark, is_said)| is_said.then_some(*remark));
    said.collect::<Vec<_>>().join("; ")
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
    function: &impl FunctionObject,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Option<Condition> {
    let status = (reason == ACCEPTED).into();
    let before = function.ready().filter(|ready| ready.status == status);
    Some(Condition {
        kind: READY.into(),
        status,
        reason: reason.into(),
        message: clip(message, MAX_MESSAGE),
        observed_generation: function.meta().generation?,
        last_transition_time: before.map_or(now, |ready| ready.last_transition_time),
    })
}

/// All that is told of a function. What Windlass refuses stays refused until somebody changes the function.
fn all(ready: Condition) -> Vec<Condition> {
    let is_stalled = ready.reason == INVALID;
    let stalled = Condition { kind: STALLED.into(), status: Truth::True, ..ready.clone() };
    iter::once(ready).chain(is_stalled.then_some(stalled)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn function(conditions: Value) -> ComputeFunction {
        observed(2, conditions)
    }

    fn observed(generation: i64, conditions: Value) -> ComputeFunction {
        serde_json::from_value(json!({ "apiVersion": "windlass.dev/v1alpha1",
            "kind": "ComputeFunction", "metadata": { "name": "f", "uid": "u", "generation": 2 },
            "spec": { "command": ["f"] },
            "status": { "observedGeneration": generation, "conditions": conditions } }))
        .unwrap()
    }

    fn told(reason: &str, generation: i64) -> Value {
        let status = if reason == ACCEPTED { "True" } else { "False" };
        let ready = json!({ "type": "Ready", "status": status, "reason": reason, "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let mut stalled = ready.clone();
        stalled["type"] = "Stalled".into();
        stalled["status"] = "True".into();
        if reason == INVALID { json!([ready, stalled]) } else { json!([ready]) }
    }

    #[test]
    fn what_an_older_controller_has_told_is_told_anew() {
        assert!(is_due(&observed(-1, told(ACCEPTED, 2)), None), "the CRD's default");
        assert!(is_due(&observed(1, told(ACCEPTED, 2)), None));
        let mut without_stalled = told(INVALID, 2);
        without_stalled.as_array_mut().unwrap().pop();
        assert!(is_due(&observed(2, without_stalled), None));
        assert!(!is_due(&observed(2, told(INVALID, 2)), None));
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
        function.spec.warm = Some(Default::default());
        assert_eq!(remark(&function), "");
        function.spec.pass_env = vec!["KEY".into()];
        assert!(remark(&function).starts_with("passEnv has no meaning"));
        function.kind = Function::CLUSTER_KIND.into();
        assert!(remark(&function).contains("; warm has no meaning"));
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
