//! ComputeFunction: what may run. Written by admins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_with_macros::skip_serializing_none;

use crate::warm::Warm;
use crate::{Cpus, Metadata, blob, media_type, quantity, schema};

/// A program that requests may name. It follows the worker contract: reads its input from the file
/// in `WINDLASS_INPUT`, uses `WINDLASS_PARALLELISM` threads and writes its result to the file in
/// `WINDLASS_OUTPUT`.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionSpec {
    /// One line for a list of functions.
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Container image. Needed on a cluster, ignored on one machine. Any image will do where the
    /// controller brings the worker to it; otherwise it must have the `windlass` program on its PATH.
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Program and first arguments; never a shell string. A relative path is resolved from the
    /// `workingDirectory`.
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Further arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Environment of the function beside the contract's. Names that begin with `WINDLASS_` are
    /// refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
    /// Variables of the server's environment that the function gets on one machine, by their names. One that is not
    /// set there is not set here. On a cluster nobody looks at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 256),
            regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$")
        ),
        extend("x-kubernetes-validations" = schema::rules(&[
            ("self.all(name, !name.startsWith('WINDLASS_'))", RESERVED_NAME),
        ]))
    )]
    pub pass_env: Vec<String>,
    /// Directory in which the function starts. On one machine a relative one is below the manifest's directory, which
    /// is the default. On a cluster it is the container's `workingDir` and must be absolute; the default is an empty
    /// directory.
    #[schemars(length(min = 1, max = 4096))]
    pub working_directory: Option<String>,
    /// JSON Schema (draft 2020-12) that a job's `input` must meet. Default: any JSON object.
    #[serde(default)]
    #[schemars(schema_with = "schema::any_object")]
    pub input_schema: Option<Map<String, Value>>,
    /// Media types of the input that are taken, such as `image/png`, `image/*` or `*/*`. Default
    /// `application/json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 3, max = 128),
            regex(pattern = r"^[!-)+-.0-~]+/([!-)+-.0-~]+|\*)$|^\*/\*$")
        )
    )]
    pub input_types: Vec<String>,
    /// Most bytes of an input that is no inline JSON, and of each file. Default 1 GiB.
    #[schemars(range(min = 1, max = 1_099_511_627_776_u64))]
    pub max_input_bytes: Option<u64>,
    /// Media type of the result, or `*/*` for what it is found to be: JSON, text or bytes. Default
    /// `application/json`.
    #[serde(default = "json_type")]
    #[schemars(length(min = 3, max = 128))]
    pub content_type: String,
    /// How many CPUs a job of this function gets.
    #[serde(default)]
    pub parallelism: Parallelism,
    /// Memory of one attempt: `base + perCpu * parallelism`.
    #[serde(default)]
    pub memory: Memory,
    /// How long one attempt may run.
    #[serde(default)]
    pub timeout_seconds: Timeout,
    /// Longest time from a grant to a running function, in seconds: scheduling, image pull and
    /// quota of the namespace included. What has not started by then fails, with the reason.
    /// Default 600. Ignored on one machine.
    #[serde(default = "number::<DEFAULT_START_DEADLINE_SECONDS>")]
    #[schemars(range(min = 1, max = 604_800))]
    pub start_deadline_seconds: u32,
    /// Further attempts after the first one failed, for jobs that do not say. Default 2.
    #[schemars(range(max = 100))]
    pub retries: Option<u32>,
    /// Largest result in bytes; a larger one fails the job with `ResultTooLarge`. Default 1 GiB,
    /// and never more than where the result goes can hold.
    #[serde(default = "one_gib")]
    #[schemars(range(min = 1, max = 1_099_511_627_776_u64))]
    pub max_result_bytes: u64,
    /// Processes that stay between jobs. Absent for a process of its own for each attempt. On a
    /// cluster this needs standbys, which are off by default.
    pub warm: Option<Warm>,
    /// What the function's pods are on a cluster, beside what Windlass says of them. Ignored on one machine.
    pub pod_template: Option<PodTemplate>,
}

impl FunctionSpec {
    /// Media types of the input that are taken.
    pub fn input_types(&self) -> Vec<&str> {
        match self.input_types.is_empty() {
            true => vec![media_type::JSON],
            false => self.input_types.iter().map(String::as_str).collect(),
        }
    }

    /// Whether an input of this media type is taken.
    pub fn takes(&self, media_type: &str) -> bool {
        self.input_types().into_iter().any(|range| media_type::is_in(media_type, range))
    }

    /// Most bytes of an input that is no inline JSON, and of each file.
    pub fn max_input_bytes(&self) -> u64 {
        self.max_input_bytes.unwrap_or(blob::MAX_BYTES)
    }
}

/// Bounds of a job's parallelism.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parallelism {
    /// CPUs of a job that does not say. Default 1.
    #[serde(default = "number::<1>")]
    #[schemars(range(min = 1, max = 1024))]
    pub default: Cpus,
    /// Most CPUs a job may ask for. Default 64.
    #[serde(default = "number::<64>")]
    #[schemars(range(min = 1, max = 1024))]
    pub max: Cpus,
}

/// The longest time to a running function, of one that does not say.
pub const DEFAULT_START_DEADLINE_SECONDS: u32 = 600;

impl Default for Parallelism {
    fn default() -> Self {
        Self { default: 1, max: 64 }
    }
}

/// Memory of one attempt, as Kubernetes quantities (`64Mi`, `1Gi`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Independent of the parallelism. Default `128Mi`.
    #[serde(default = "base_memory")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$"))]
    pub base: String,
    /// For each CPU. Default `128Mi`.
    #[serde(default = "base_memory")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$"))]
    pub per_cpu: String,
}

impl Default for Memory {
    fn default() -> Self {
        Self { base: base_memory(), per_cpu: base_memory() }
    }
}

impl Memory {
    /// Bytes for one attempt of `cpus` CPUs: `base + perCpu * cpus`. `None` when a quantity cannot
    /// be read or the sum overflows.
    pub fn bytes(&self, cpus: Cpus) -> Option<u64> {
        let per_cpu = quantity::bytes(&self.per_cpu)?.checked_mul(u64::from(cpus))?;
        quantity::bytes(&self.base)?.checked_add(per_cpu)
    }
}

/// Bounds of the running time of one attempt, in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeout {
    /// For a job that does not say. Default 3600.
    #[serde(default = "number::<3_600>")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub default: u32,
    /// Most a job may ask for. Default 86400.
    #[serde(default = "number::<86_400>")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max: u32,
}

impl Default for Timeout {
    fn default() -> Self {
        Self { default: 3_600, max: 86_400 }
    }
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"),
        extend("x-kubernetes-validations" = schema::rules(&[
            ("!self.startsWith('WINDLASS_')", RESERVED_NAME),
        ]))
    )]
    pub name: String,
    /// Its value, as it is; nothing is expanded.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// How the names of Windlass' own variables begin.
pub const RESERVED_PREFIX: &str = "WINDLASS_";

/// Why nobody else's may begin so.
pub const RESERVED_NAME: &str = "names that begin with WINDLASS_ are Windlass' own";

/// What stands for the value of a variable before whoever may not write its function: people put secrets there.
pub const HIDDEN_VALUE: &str = "(hidden)";

/// Metadata and specification of the function's pods, as in a Deployment. Its container `function` is the one that
/// Windlass completes. It is read by the controller alone, which knows Kubernetes' types: their schema would make this
/// definition too large to be applied with kubectl.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::any_object")]
    pub metadata: Map<String, Value>,
    /// A PodSpec, without what Windlass says.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::any_object")]
    pub spec: Map<String, Value>,
}

impl PodTemplate {
    /// The values of the variables of all its containers.
    fn values_of_variables(&mut self) -> impl Iterator<Item = &mut Value> {
        let lists = self.spec.iter_mut().filter(|(key, _)| key.ends_with("ontainers"));
        let containers = lists.flat_map(|(_, list)| list.as_array_mut()).flatten();
        let variables = containers.filter_map(|container| container.get_mut("env")?.as_array_mut());
        variables.flatten().filter_map(|variable| variable.get_mut("value"))
    }
}

/// A ComputeFunction object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    /// Always `windlass.dev/v1alpha1`.
    pub api_version: String,
    /// `ComputeFunction`, or `ClusterComputeFunction` of one that is for all namespaces.
    pub kind: String,
    /// Name, and namespace of one that has one.
    pub metadata: Metadata,
    /// The program and its bounds.
    pub spec: FunctionSpec,
}

impl Function {
    /// Kind of the resource.
    pub const KIND: &'static str = "ComputeFunction";

    /// Kind of one that is for all namespaces: it is used where a namespace has none of its name.
    pub const CLUSTER_KIND: &'static str = "ClusterComputeFunction";

    /// A function of this name, without a namespace.
    pub fn new(name: impl Into<String>, spec: FunctionSpec) -> Self {
        Self {
            api_version: crate::API_VERSION.into(),
            kind: Self::KIND.into(),
            metadata: Metadata { name: name.into(), ..Metadata::default() },
            spec,
        }
    }

    /// Whether it is for all namespaces.
    pub fn is_for_all(&self) -> bool {
        self.kind == Self::CLUSTER_KIND
    }

    /// The same for whoever may not write it: the names of its variables without their values.
    pub fn with_hidden_values(mut self) -> Self {
        for variable in &mut self.spec.env {
            HIDDEN_VALUE.clone_into(&mut variable.value);
        }
        let template = self.spec.pod_template.iter_mut();
        for value in template.flat_map(PodTemplate::values_of_variables) {
            *value = HIDDEN_VALUE.into();
        }
        self
    }
}

fn json_type() -> String {
    "application/json".into()
}
fn base_memory() -> String {
    "128Mi".into()
}
/// A default.
pub(crate) fn number<const N: u32>() -> u32 {
    N
}
fn one_gib() -> u64 {
    1 << 30
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_value_of_a_variable_is_shown_wherever_it_is_said() {
        let env = json!([{ "name": "KEY", "value": "hush" }]);
        let container = json!([{ "name": "c", "env": env }]);
        let spec = json!({ "command": ["f"], "env": env, "podTemplate": { "spec": {
            "containers": container, "initContainers": container } } });
        let function = Function::new("f", serde_json::from_value(spec).unwrap());
        let shown = serde_json::to_string(&function.with_hidden_values()).unwrap();
        assert_eq!((shown.contains("hush"), shown.matches(HIDDEN_VALUE).count()), (false, 3));
    }
}
