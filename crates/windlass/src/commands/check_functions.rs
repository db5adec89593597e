//! `windlass functions check`: what functions mean on one machine and on a cluster, before anybody calls them.
//!
//! In: manifests, or names of functions. Out: for each function and world whether it runs there, and which of its fields
//! nobody looks at. It asks no API server: that tells its own refusals by the condition `Ready`.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use windlass_core::function::DEFAULT_START_DEADLINE_SECONDS;
use windlass_core::{Error, Function, FunctionSpec, name};
use windlass_local::Functions;

use crate::backend::named_functions::named_functions;
use crate::backend::resolve::Backend;
use crate::flags::backend::BackendFlags;
use crate::flags::bad_usage::BadUsage;
use crate::output::{objects, terminal};

/// Say what manifests, or functions that are there, mean on one machine and on a cluster.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Manifests, or names of functions. What could be a name is one: `./price` is a file
    #[arg(required = true, value_name = "FILE|DIR|NAME")]
    functions: Vec<String>,
    #[command(flatten)]
    backend: BackendFlags,
}

pub(crate) async fn check(args: Check) -> anyhow::Result<ExitCode> {
    let (names, files): (Vec<_>, Vec<_>) =
        args.functions.into_iter().partition(|text| name::problem(text).is_none());
    let mut manifests = Functions::default();
    for file in files {
        manifests.load(Path::new(&file)).map_err(|error| BadUsage(error.to_string()))?;
    }
    let mut functions: Vec<_> = manifests.all().cloned().collect();
    if !names.is_empty() {
        let backend = Backend::find(&args.backend).await?;
        let found = backend.run(async |backend| named_functions(backend, &names).await).await?;
        functions.extend(found);
    }
    if functions.is_empty() {
        return Err(BadUsage("there is no ComputeFunction in them".into()).into());
    }
    let meanings: Vec<_> = functions
        .iter()
        .map(|function| {
            // Of a function that a server told, nobody here knows where it starts.
            let unplaced = manifests.directory_problem(&function.metadata.name);
            (function, meaning_of(function, unplaced))
        })
        .collect();
    let text: String =
        meanings.iter().map(|(function, meaning)| shown(function, meaning)).collect();
    objects::print(&text)?;
    let refused = meanings.iter().find_map(|(function, meaning)| {
        let is_refused = matches!(meaning.cluster, OnCluster::Refused(_));
        is_refused.then_some(&function.metadata.name)
    });
    match refused {
        Some(name) => Err(BadUsage(format!("function {name:?} is refused on a cluster")).into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// What a function means in each world.
struct Meaning {
    /// Fields that one machine does not look at.
    ignored: Vec<&'static str>,
    /// Why it does not start on this machine.
    unplaced: Option<String>,
    cluster: OnCluster,
}

enum OnCluster {
    Runs {
        /// Fields that nobody looks at there.
        ignored: Vec<&'static str>,
        /// What it needs there.
        needs: Vec<&'static str>,
    },
    NoImage,
    Refused(Error),
}

fn meaning_of(function: &Function, unplaced: Option<String>) -> Meaning {
    let cluster = match windlass_kube::check_function(function) {
        _ if function.spec.image.is_none() => OnCluster::NoImage,
        Ok(()) => {
            OnCluster::Runs { ignored: ignored_by_cluster(function), needs: needs_of(function) }
        }
        Err(error) => OnCluster::Refused(error),
    };
    Meaning { ignored: ignored_by_machine(&function.spec), unplaced, cluster }
}

fn ignored_by_machine(spec: &FunctionSpec) -> Vec<&'static str> {
    let said = [
        ("image", spec.image.is_some()),
        ("startDeadlineSeconds", spec.start_deadline_seconds != DEFAULT_START_DEADLINE_SECONDS),
        ("podTemplate", spec.pod_template.is_some()),
    ];
    said.into_iter().filter_map(|(field, is_said)| is_said.then_some(field)).collect()
}

fn ignored_by_cluster(function: &Function) -> Vec<&'static str> {
    let said = [
        ("passEnv", !function.spec.pass_env.is_empty()),
        ("warm", function.is_for_all() && function.spec.warm.is_some()),
    ];
    said.into_iter().filter_map(|(field, is_said)| is_said.then_some(field)).collect()
}

fn needs_of(function: &Function) -> Vec<&'static str> {
    let spec = &function.spec;
    let program = spec.command.first().map(String::as_str).unwrap_or_default();
    let is_lost = is_relative(program) && spec.working_directory.is_none();
    let said = [
        ("an absolute path in its command: it starts in an empty directory", is_lost),
        (
            "`controller.standbys` of the chart, to be warm",
            spec.warm.is_some() && !function.is_for_all(),
        ),
        ("the right to use it, in each namespace", function.is_for_all()),
    ];
    said.into_iter().filter_map(|(need, is_said)| is_said.then_some(need)).collect()
}

/// Whether a program is sought from the working directory, and not on the PATH.
fn is_relative(program: &str) -> bool {
    program.contains('/') && !program.starts_with('/')
}

fn shown(function: &Function, meaning: &Meaning) -> String {
    let machine = match &meaning.unplaced {
        Some(why) => format!("does not run on this one: {why}"),
        None => runs(&meaning.ignored, &[]),
    };
    let cluster = match &meaning.cluster {
        OnCluster::Runs { ignored, needs } => runs(ignored, needs),
        OnCluster::NoImage => "does not run: it has no image".to_owned(),
        OnCluster::Refused(why) => format!("refused: {why}"),
    };
    let texts = [&function.metadata.name, &machine, &cluster];
    let [name, machine, cluster] = texts.map(|text| terminal::line(text));
    format!("{name}\n  on one machine: {machine}\n  on a cluster: {cluster}\n")
}

/// That it runs, with the fields that nobody looks at and what it needs.
fn runs(ignored: &[&str], needs: &[&str]) -> String {
    let part = |what: &str, list: String| match list.as_str() {
        "" => list,
        list => format!("; {what} {list}"),
    };
    let ignored = part("nobody looks at", ignored.join(", "));
    format!("runs{ignored}{}", part("needs", needs.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is told of a function `f` with this specification, without its name.
    fn told(spec: Value) -> [String; 2] {
        let function = Function::new("f", serde_json::from_value(spec).unwrap());
        let text = shown(&function, &meaning_of(&function, None));
        let lines = text.strip_prefix("f\n  on one machine: ").unwrap();
        let (machine, cluster) = lines.trim_end().split_once("\n  on a cluster: ").unwrap();
        [machine.to_owned(), cluster.to_owned()]
    }

    #[test]
    fn one_for_all_namespaces_needs_a_right_and_is_never_warm() {
        let spec = json!({ "command": ["f"], "image": "i", "warm": {} });
        let mut function = Function::new("f", serde_json::from_value(spec).unwrap());
        function.kind = Function::CLUSTER_KIND.into();
        let told = shown(&function, &meaning_of(&function, None));
        let cluster = "runs; nobody looks at warm; needs the right to use it, in each namespace";
        assert!(told.ends_with(&format!("on a cluster: {cluster}\n")), "{told}");
    }

    #[test]
    fn each_world_is_told() {
        let runs = "runs";
        let table = [
            (json!({ "command": ["f"] }), [runs, "does not run: it has no image"]),
            (json!({ "command": ["f"], "image": "i" }), ["runs; nobody looks at image", runs]),
            (
                json!({ "command": ["/f"], "image": "i", "startDeadlineSeconds": 5,
                    "podTemplate": { "spec": { "nodeSelector": { "a": "b" } } } }),
                ["runs; nobody looks at image, startDeadlineSeconds, podTemplate", runs],
            ),
            (
                json!({ "command": ["bin/f"], "image": "i", "warm": {} }),
                [
                    "runs; nobody looks at image",
                    "runs; needs an absolute path in its command: it starts in an empty directory; \
                     `controller.standbys` of the chart, to be warm",
                ],
            ),
            (
                json!({ "command": ["f"], "image": "i",
                    "podTemplate": { "spec": { "restartPolicy": "Never" } } }),
                [
                    "runs; nobody looks at image, podTemplate",
                    "refused: /podTemplate/spec/restartPolicy: is said by Windlass",
                ],
            ),
        ];
        let absolute = "refused: /workingDirectory: must be absolute on a cluster, where no manifest has \
                        a directory";
        let table = table.into_iter().chain([
            (
                json!({ "command": ["bin/f"], "image": "i", "workingDirectory": "/app",
                    "passEnv": ["KEY"] }),
                ["runs; nobody looks at image", "runs; nobody looks at passEnv"],
            ),
            (
                json!({ "command": ["f"], "image": "i", "workingDirectory": "app" }),
                ["runs; nobody looks at image", absolute],
            ),
        ]);
        for (spec, expected) in table {
            assert_eq!(told(spec.clone()), expected, "{spec}");
        }
    }
}
