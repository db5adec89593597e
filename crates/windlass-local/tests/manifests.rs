//! Functions and queues from files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use windlass_core::Function;
use windlass_core::status::FailureReason;
use windlass_local::Functions;

use crate::support::{failure, function, machine_with};

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ComputeFunction\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

/// What is wrong with this text as a manifest.
fn problem(directory: &Path, text: &str) -> String {
    let file = directory.join("wrong.yaml");
    fs::write(&file, text).unwrap();
    Functions::default().load(&file).unwrap_err().to_string()
}

#[tokio::test]
async fn a_function_runs_in_the_directory_of_its_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    fs::write(&program, "#!/bin/sh\n{ pwd; cat data; } > \"$WINDLASS_OUTPUT\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("data"), "beside it\n").unwrap();
    let text = format!(
        "{}---\napiVersion: v1\nkind: Service\n---\n{}",
        manifest("here", "{command: [./program], contentType: text/plain}"),
        manifest("other", "{command: [./program], contentType: text/plain}"),
    );
    fs::write(directory.path().join("functions.yaml"), text).unwrap();
    fs::write(directory.path().join("README.md"), "not a manifest").unwrap();
    let mut functions = Functions::default();
    functions.load(directory.path()).unwrap();
    let names: Vec<_> = functions.all().map(|function| function.metadata.name.clone()).collect();
    assert_eq!(names, ["here", "other"]);
    let expected = format!("{}\nbeside it\n", directory.path().canonicalize().unwrap().display());
    let machine = machine_with(1, directory, functions);
    let name = machine.start("here").await;
    assert_eq!(String::from_utf8(machine.result(&name).await.bytes).unwrap(), expected);
}

#[tokio::test]
async fn a_relative_working_directory_is_below_the_manifests_and_holds_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("below");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("program"), "#!/bin/sh\npwd > \"$WINDLASS_OUTPUT\"\n").unwrap();
    fs::set_permissions(below.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let spec = "{command: [./program], contentType: text/plain, workingDirectory: below}";
    fs::write(directory.path().join("f.yaml"), manifest("f", spec)).unwrap();
    let mut functions = Functions::default();
    functions.load(directory.path()).unwrap();
    assert_eq!(functions.directory_problem("f"), None);
    let expected = format!("{}\n", below.canonicalize().unwrap().display());
    let machine = machine_with(1, directory, functions);
    let name = machine.start("f").await;
    assert_eq!(String::from_utf8(machine.result(&name).await.bytes).unwrap(), expected);
    // It is gone when a job starts.
    fs::remove_dir_all(&below).unwrap();
    let name = machine.start("f").await;
    let job = machine.finished(&name).await;
    let (reason, message) = failure(&job);
    assert_eq!(reason, FailureReason::CannotStart);
    assert!(message.contains(below.to_str().unwrap()), "{message}");
}

#[test]
fn a_function_that_is_defined_twice_is_refused_with_both_places() {
    let directory = tempfile::tempdir().unwrap();
    let text = manifest("twice", "{command: [a]}");
    for name in ["one.yaml", "two.yml"] {
        fs::write(directory.path().join(name), &text).unwrap();
    }
    let error = Functions::default().load(directory.path()).unwrap_err().to_string();
    for part in ["one.yaml", "two.yml", "\"twice\""] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_an_api_server_would_refuse_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let function = manifest("f", "{command: [f], retries: 101, maxResultBytes: 0}");
    let said = problem(directory.path(), &function);
    for part in ["/spec/retries: 101", "/spec/maxResultBytes: 0"] {
        assert!(said.contains(part), "{said}");
    }
    let queue = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\nmetadata: {name: q}\n\
                 spec: {cpus: 1, weight: 0}\n";
    let said = problem(directory.path(), queue);
    assert!(said.contains("/spec/weight: 0"), "{said}");
    // Not even read: this is no end of it.
    let said = Functions::default().load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(said.contains("is larger than 4194304 bytes"), "{said}");
}

#[test]
fn a_function_for_all_gives_way_to_one_of_the_namespace() {
    let directory = tempfile::tempdir().unwrap();
    let (own, for_all) = (manifest("f", "{command: [own]}"), manifest("f", "{command: [all]}"));
    let for_all = for_all.replace("ComputeFunction", "ClusterComputeFunction");
    for (first, second) in [(&own, &for_all), (&for_all, &own)] {
        fs::write(directory.path().join("1.yaml"), first).unwrap();
        fs::write(directory.path().join("2.yaml"), second).unwrap();
        let mut functions = Functions::default();
        functions.load(directory.path()).unwrap();
        assert_eq!(functions.get("f").unwrap().spec.command, ["own"]);
    }
    fs::write(directory.path().join("2.yaml"), &for_all).unwrap();
    fs::write(directory.path().join("1.yaml"), &for_all).unwrap();
    let twice = Functions::default().load(directory.path()).unwrap_err().to_string();
    assert!(twice.contains("1.yaml too"), "{twice}");
    fs::remove_file(directory.path().join("2.yaml")).unwrap();
    let mut functions = Functions::default();
    functions.load(directory.path()).unwrap();
    assert_eq!(functions.get("f").unwrap().kind, "ClusterComputeFunction");
}

#[test]
fn a_manifest_may_replace_a_built_in_function() {
    let directory = tempfile::tempdir().unwrap();
    let builtin: Function = function("f", directory.path(), json!({ "command": ["built-in"] }));
    let file = directory.path().join("f.yaml");
    fs::write(&file, manifest("f", "{command: [mine]}")).unwrap();
    let mut functions = Functions::builtin(vec![builtin]);
    functions.load(&file).unwrap();
    assert_eq!(functions.get("f").unwrap().spec.command, ["mine"]);
}

#[test]
fn a_manifest_that_is_wrong_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let queue = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\nmetadata: {name: q}\nspec: {cpus: 1}\n";
    let table = [
        (manifest("f", "{command: [a], comand: [b]}"), "/spec/comand"),
        (manifest("f", "{command: []}"), "/spec/command"),
        (manifest("f", "{}"), "command"),
        (manifest("F_F", "{command: [a]}"), "/metadata/name"),
        (manifest("f", "{command: [a]}").replace("v1alpha1", "v1"), "/apiVersion"),
        ("a: [".to_owned(), "wrong.yaml"),
        (format!("{queue}---\n{queue}"), "queue \"q\" is defined in"),
    ];
    for (text, expected) in table {
        let problem = problem(directory.path(), &text);
        assert!(problem.contains(expected) && problem.contains("wrong.yaml"), "{problem}");
    }
    let missing = Functions::default().load(&directory.path().join("nowhere")).unwrap_err();
    assert!(missing.to_string().contains("nowhere"), "{missing}");
}

#[test]
fn a_function_of_the_command_line_replaces_a_built_in_one_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let here = || directory.path().to_owned();
    let named = |name: &str| function(name, directory.path(), json!({ "command": ["true"] }));
    let mut functions = Functions::builtin(vec![named("count")]);
    functions.register(named("count"), here()).unwrap();
    let again = functions.register(named("count"), here()).unwrap_err();
    assert!(again.contains("--function too"), "{again}");
    let file = directory.path().join("count.yaml");
    fs::write(&file, manifest("count", "{command: [a]}")).unwrap();
    let error = functions.load(&file).unwrap_err().to_string();
    assert!(error.contains("count.yaml") && error.contains("--function too"), "{error}");
    let misnamed = functions.register(named("Count"), here()).unwrap_err();
    assert!(misnamed.contains("lower-case"), "{misnamed}");
}

#[test]
fn a_variable_that_is_no_functions_to_set_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (name, words) in [
        ("WINDLASS_ATTEMPT_HOME", "Windlass' own"),
        ("WINDLASS_OUTPUT", "Windlass' own"),
        ("A=B", "is no name"),
        ("", "is no name"),
        ("1A", "is no name"),
        ("A B", "is no name"),
    ] {
        let spec = json!({ "command": ["x"], "env": [{ "name": "OK_1", "value": "" },
            { "name": name, "value": "v" }] });
        let why = problem(directory.path(), &manifest("f", &spec.to_string()));
        assert!(why.contains("/spec/env/1/name") && why.contains(words), "{name:?}: {why}");
    }
}

#[test]
fn an_input_type_that_names_no_types_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for bad in ["png", "*/png", "image/png; q=1", ""] {
        let spec = json!({ "command": ["x"], "inputTypes": ["*/*", bad] });
        let why = problem(directory.path(), &manifest("f", &spec.to_string()));
        assert!(why.contains("/spec/inputTypes/1"), "{bad:?}: {why}");
    }
}
