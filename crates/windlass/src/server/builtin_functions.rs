//! The built-in functions as ComputeFunctions.

use windlass_core::function::{Memory, Parallelism, Timeout};
use windlass_core::{Function, FunctionSpec};
use windlass_functions::Builtin;

/// All built-in functions, with this image where they run on a cluster.
pub(crate) fn builtin(image: Option<&str>) -> Vec<Function> {
    windlass_functions::builtin().into_iter().map(|builtin| resource(builtin, image)).collect()
}

fn resource(builtin: Builtin, image: Option<&str>) -> Function {
    let Builtin {
        name,
        description,
        input_schema,
        content_type,
        default_parallelism,
        max_parallelism,
        memory_base_bytes,
        memory_per_cpu_bytes,
        default_timeout_seconds,
        max_timeout_seconds,
    } = builtin;
    let seconds = |seconds: u64| u32::try_from(seconds).unwrap_or(u32::MAX);
    let spec = FunctionSpec {
        description: Some(description.into()),
        image: image.map(str::to_owned),
        command: ["windlass", "function", name].map(str::to_owned).into(),
        input_schema: input_schema.as_object().cloned(),
        content_type: content_type.into(),
        parallelism: Parallelism { default: default_parallelism, max: max_parallelism },
        memory: Memory {
            base: mebibytes(memory_base_bytes),
            per_cpu: mebibytes(memory_per_cpu_bytes),
        },
        timeout_seconds: Timeout {
            default: seconds(default_timeout_seconds),
            max: seconds(max_timeout_seconds),
        },
        max_result_bytes: 1 << 30,
        start_deadline_seconds: 600,
        ..FunctionSpec::default()
    };
    Function::new(name, spec)
}

fn mebibytes(bytes: u64) -> String {
    format!("{}Mi", bytes.div_ceil(1 << 20))
}
