//! The built-in functions, written with the SDK as any user would.
//!
//! Each is a module with a pure heart, `fn(input, &Run) -> Result<output, Error>`, that a test calls directly. [`run`]
//! makes a process of one; [`builtin`] describes all of them, for registering them as ComputeFunctions. Deliberately
//! absent: anything that knows of the server, of resources or of Kubernetes.

pub mod echo;
pub mod price;
pub mod render;

use std::io::{self, Write};
use std::process::ExitCode;

use schemars::generate::SchemaSettings;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// What an admin would write about a function in a ComputeFunction.
#[derive(Clone, Debug)]
pub struct Builtin {
    /// Its name, a DNS label; the argument of [`run`].
    pub name: &'static str,
    /// One line for a list of functions.
    pub description: &'static str,
    /// JSON Schema (draft 2020-12, no references) of the input. What it accepts, the function may still refuse, never the
    /// other way round.
    pub input_schema: Value,
    /// Media type of the result.
    pub content_type: &'static str,
    /// CPUs of a job that asks for none.
    pub default_parallelism: u32,
    /// Most CPUs a job may ask for.
    pub max_parallelism: u32,
    /// Memory in bytes whatever the parallelism.
    pub memory_base_bytes: u64,
    /// Further memory in bytes for each CPU.
    pub memory_per_cpu_bytes: u64,
    /// Seconds an attempt may take if the job does not say.
    pub default_timeout_seconds: u64,
    /// Most seconds a job may ask for.
    pub max_timeout_seconds: u64,
}

/// All built-in functions, sorted by name.
#[must_use]
pub fn builtin() -> Vec<Builtin> {
    vec![
        Builtin {
            name: "echo",
            description: "Gives back its input and the CPUs it was granted, at once",
            input_schema: serde_json::json!({
                "type": "object",
                "description": "Any JSON object.",
            }),
            content_type: "application/json",
            default_parallelism: 1,
            max_parallelism: 64,
            memory_base_bytes: 32 * MIB,
            memory_per_cpu_bytes: MIB,
            default_timeout_seconds: 60,
            max_timeout_seconds: 600,
        },
        Builtin {
            name: "price",
            description: "American put options by least-squares Monte Carlo (Longstaff and Schwartz, 2001)",
            input_schema: schema::<price::Portfolio>(),
            content_type: "application/json",
            default_parallelism: 2,
            max_parallelism: 64,
            // One option of the most paths takes 160 MB; then only one is in memory at a time.
            memory_base_bytes: 256 * MIB,
            memory_per_cpu_bytes: 16 * MIB,
            default_timeout_seconds: 600,
            max_timeout_seconds: 86_400,
        },
        Builtin {
            name: "render",
            description: "A path-traced picture (PNG) of a scene of spheres and planes",
            input_schema: schema::<render::Scene>(),
            content_type: "image/png",
            default_parallelism: 2,
            max_parallelism: 64,
            // Pixels twice, as tiles and as a picture, and the PNG: 75 MB for the largest.
            memory_base_bytes: 128 * MIB,
            memory_per_cpu_bytes: 8 * MIB,
            default_timeout_seconds: 600,
            max_timeout_seconds: 86_400,
        },
    ]
}

/// Runs a built-in function as this process: the whole `main` of `windlass function NAME`. See
/// [`windlass_sdk::main`] for the exit status; a name that is none is 2.
#[must_use]
pub fn run(name: &str) -> ExitCode {
    match name {
        "echo" => windlass_sdk::main(echo::echo),
        "price" => windlass_sdk::main(price::price),
        "render" => windlass_sdk::main_bytes(render::render),
        _ => {
            let names: Vec<_> = builtin().iter().map(|function| function.name).collect();
            // Nobody left to tell if stderr is closed.
            writeln!(
                io::stderr(),
                "no built-in function is called {name:?}; there are: {}",
                names.join(", ")
            )
            .unwrap_or_default();
            ExitCode::from(2)
        }
    }
}

/// The schema of an input type, everything in one piece.
fn schema<I: schemars::JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<I>();
    schema.remove("$schema");
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_labels_in_order() {
        let names: Vec<_> = builtin().iter().map(|function| function.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())));
    }

    #[test]
    fn schemas_refuse_unknown_fields_and_bound_every_list_and_number() {
        fn walk(schema: &Value, at: &str) {
            let kind = schema["type"].as_str().unwrap_or_default();
            assert!(schema.get("$ref").is_none(), "{at} is a reference");
            match kind {
                "object" => {
                    assert_eq!(schema["additionalProperties"], Value::Bool(false), "{at}");
                    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                        walk(property, &format!("{at}/{name}"));
                    }
                }
                "array" => {
                    assert!(schema.get("maxItems").is_some(), "{at} has no bound");
                    walk(&schema["items"], &format!("{at}/items"));
                }
                "number" | "integer" => {
                    let bounded =
                        schema.get("minimum").is_some() && schema.get("maximum").is_some();
                    assert!(bounded, "{at} has no bounds");
                }
                _ => {}
            }
            for branch in ["oneOf", "anyOf", "allOf"] {
                for branch in schema[branch].as_array().into_iter().flatten() {
                    walk(branch, at);
                }
            }
        }
        for function in builtin().iter().filter(|function| function.name != "echo") {
            walk(&function.input_schema, function.name);
        }
    }
}
