//! A function that is defined on the command line: `--function NAME="PROGRAM ARGS"`.
//!
//! In: the text. Out: a ComputeFunction with the defaults of a manifest, but for what the machine itself
//! bounds. Deliberately absent: a shell. Quotes group words as in one, and nothing is expanded.

use std::str::FromStr;

use windlass_core::function::{Memory, Parallelism};
use windlass_core::result::ANY_TYPE;
use windlass_core::warm::Warm;
use windlass_core::{Cpus, Function, FunctionSpec, name};
use windlass_local::is_python_worker;

use crate::server::memory::machine_memory_bytes;

/// What was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionFlag {
    /// Name of the function.
    pub(crate) name: String,
    /// Program and arguments; not empty.
    command: Vec<String>,
}

impl FromStr for FunctionFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or(
            "a name, '=' and a program with its arguments are needed, such as \
             count=\"python3 count.py\"",
        )?;
        if let Some(why) = name::problem(name) {
            return Err(format!("the name {name:?} {why}"));
        }
        let command = shlex::split(command)
            .ok_or_else(|| format!("a quote or a backslash in {command:?} is not complete"))?;
        if command.first().is_none_or(String::is_empty) {
            return Err(format!("function {name:?} has no program"));
        }
        Ok(Self { name: name.to_owned(), command })
    }
}

impl FunctionFlag {
    /// The function on a machine with so many CPUs, which are all its own unless a job asks for fewer.
    /// Of the machine's memory each CPU brings its share: nobody has said how much is needed.
    pub(crate) fn function(&self, cpus: Cpus) -> Function {
        let per_cpu = format!("{}Mi", (machine_memory_bytes() >> 20) / u64::from(cpus.max(1)));
        let spec = FunctionSpec {
            command: self.command.clone(),
            // Nobody has said what it writes.
            content_type: ANY_TYPE.into(),
            // Python's client looks itself whether the function takes what has come.
            input_types: if is_python_worker(&self.command) {
                vec![ANY_TYPE.into()]
            } else {
                vec![]
            },
            parallelism: Parallelism { default: cpus, max: cpus },
            memory: Memory { base: "0".into(), per_cpu },
            warm: self.serves().then(|| Warm { max: cpus.max(1), ..Warm::default() }),
            ..defaults()
        };
        Function::new(&self.name, spec)
    }
}

impl FunctionFlag {
    /// Whether the program is known to serve: that of Python's client does, unless it is told not to.
    fn serves(&self) -> bool {
        is_python_worker(&self.command) && !self.command.iter().any(|word| word == "--cold")
    }
}

/// Those of a manifest that says nothing.
fn defaults() -> FunctionSpec {
    // A command is the one field that a manifest must have.
    serde_json::from_value(serde_json::json!({ "command": [] })).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would_and_nothing_is_expanded() {
        for (text, expected) in [
            (
                "count=python -m windlass.worker a.b:f",
                &["python", "-m", "windlass.worker", "a.b:f"][..],
            ),
            ("a=sh -c 'echo \"$HOME\" > x; b=c'", &["sh", "-c", "echo \"$HOME\" > x; b=c"]),
            ("x-1=  /opt/my\\ tool  $HOME *.c", &["/opt/my tool", "$HOME", "*.c"]),
        ] {
            let definition: FunctionFlag = text.parse().unwrap();
            assert_eq!(definition.command, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_function_is_refused_with_the_reason() {
        for (text, expected) in [
            ("count", "'='"),
            ("=python", "is empty"),
            ("Count=python", "lower-case"),
            ("count=", "no program"),
            ("count=''", "no program"),
            ("count=  ", "no program"),
            ("count='python", "not complete"),
        ] {
            let error = text.parse::<FunctionFlag>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_python_function_is_warm_unless_it_is_told_not_to_be() {
        for (text, expected) in [
            ("f=python -m windlass.worker a:f", true),
            ("f=/opt/venv/bin/python3 -X dev -m windlass.worker --chunk 2 a:f", true),
            ("f=python -m windlass.worker --cold a:f", false),
            ("f=python -m other a:f", false),
            ("f=python windlass.worker", false),
        ] {
            let definition: FunctionFlag = text.parse().unwrap();
            let warm = definition.function(4).spec.warm;
            assert_eq!(warm.map(|warm| (warm.min, warm.max)), expected.then_some((1, 4)), "{text}");
        }
    }

    #[test]
    fn a_python_function_takes_inputs_of_all_types_and_another_program_json() {
        for (text, expected) in [
            ("f=python -m windlass.worker a:f", &["*/*"][..]),
            ("f=python f.py", &["application/json"]),
        ] {
            let definition: FunctionFlag = text.parse().unwrap();
            assert_eq!(definition.function(4).spec.input_types(), expected, "{text}");
        }
    }

    #[test]
    fn what_it_may_use_is_the_machines() {
        let definition: FunctionFlag = "count=python3".parse().unwrap();
        let Function { metadata, spec, .. } = definition.function(4);
        assert_eq!((metadata.name.as_str(), spec.content_type.as_str()), ("count", "*/*"));
        assert_eq!(spec.parallelism, Parallelism { default: 4, max: 4 });
        let (one, four) = (spec.memory.bytes(1).unwrap(), spec.memory.bytes(4).unwrap());
        assert!(one > 0 && four == 4 * one, "{:?}", spec.memory);
    }
}
