//! What is generated is what is committed. `tests/accept` writes the files anew.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{checkout, run, text};

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn assert_golden(path: &str, now: &str) {
    let committed = fs::read_to_string(checkout().join(path)).unwrap_or_default();
    if committed != now {
        let line = committed.lines().zip(now.lines()).position(|(a, b)| a != b);
        panic!("{path} is not what the program prints (line {line:?}); run tests/accept");
    }
}

#[test]
fn the_crds_are_those_of_the_types() {
    let now = printed(&["print", "crds"]);
    assert_golden("manifests/crds.yaml", &now);
    assert_golden("charts/windlass/crds/crds.yaml", &now);
}

#[test]
fn the_openapi_document_is_that_of_the_types_and_routes() {
    assert_golden("docs/openapi.json", &printed(&["print", "openapi"]));
}

#[test]
fn the_charts_functions_are_the_built_in_ones() {
    let now = printed(&["print", "functions", "--output", "json"]);
    assert_golden("charts/windlass/files/functions.json", &now);
}

#[test]
fn the_reference_pages_are_those_of_the_sources() {
    let check =
        Command::new(checkout().join("docs/reference/make")).arg("--check").output().unwrap();
    assert!(check.status.success(), "{}", text(&check.stderr));
}

/// Every command that a user types, in the order of the help.
const COMMANDS: [&str; 30] = [
    "",
    "run",
    "call",
    "submit",
    "get",
    "list",
    "watch",
    "cancel",
    "delete",
    "retry",
    "result",
    "logs",
    "explain",
    "dashboard",
    "blobs",
    "functions",
    "functions check",
    "queues",
    "serve",
    "config",
    "config check",
    "config print",
    "drain",
    "keys",
    "backup",
    "restore",
    "gateway",
    "controller",
    "print",
    "completion",
];

#[test]
fn the_help_of_every_command_is_the_committed_one() {
    let mut help = String::new();
    for command in COMMANDS {
        let arguments: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        help += &format!("$ windlass {}\n{}\n", arguments.join(" "), printed(&arguments));
    }
    assert_golden("tests/rings/golden/help.txt", &help);
}

#[test]
fn every_string_list_and_map_of_the_crds_is_bounded() {
    let crds: Vec<Value> =
        serde_json::from_str(&printed(&["print", "crds", "--output", "json"])).unwrap();
    for crd in crds {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            let kind = &crd["spec"]["names"]["kind"];
            assert_bounded(&schema["properties"][part], &format!("{kind}.{part}"));
        }
    }
}

fn assert_bounded(schema: &Value, at: &str) {
    match schema["type"].as_str() {
        Some("string") => {
            let bounded = schema.get("maxLength").is_some()
                || schema.get("enum").is_some()
                || schema["format"] == "date-time";
            assert!(bounded, "{at}: a string without maxLength");
        }
        Some("array") => {
            assert!(schema.get("maxItems").is_some(), "{at}: a list without maxItems");
            assert_bounded(&schema["items"], &format!("{at}[]"));
        }
        Some("object") => {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                assert_bounded(field, &format!("{at}.{name}"));
                let described = field.get("description").is_some();
                assert!(described, "{at}.{name}: no description for kubectl explain");
            }
            if let Some(values) = schema.get("additionalProperties") {
                let bounded = schema.get("maxProperties").is_some();
                assert!(bounded, "{at}: a map without maxProperties");
                assert_bounded(values, &format!("{at}{{}}"));
            }
        }
        _ => {}
    }
}
