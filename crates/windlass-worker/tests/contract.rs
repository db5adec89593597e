//! What a function finds when it starts.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use windlass_core::contract::THREAD_COUNT_VARIABLES;
use windlass_core::result::inline_bytes;

use crate::bench::Bench;

#[test]
fn the_environment_of_the_contract_is_complete() {
    let bench = Bench::new();
    let before = Timestamp::now();
    let output = inline_bytes(&bench.sh(r#"env > "$WINDLASS_OUTPUT""#).result()).unwrap();
    let output = String::from_utf8(output).unwrap();
    let seen: BTreeMap<_, _> = output.lines().filter_map(|line| line.split_once('=')).collect();
    let path = |name: &str| bench.path(name).to_str().unwrap().to_owned();
    for (name, value) in [
        ("WINDLASS_INPUT", path("input.json")),
        ("WINDLASS_OUTPUT", path("work/output")),
        ("WINDLASS_PROGRESS", path("work/progress")),
        ("WINDLASS_PARALLELISM", "2".into()),
        ("WINDLASS_JOB", "job".into()),
        ("WINDLASS_ATTEMPT", "3".into()),
        ("TMPDIR", path("work")),
        // The rest of the environment is passed on.
        ("DIR", path("").trim_end_matches('/').to_owned()),
    ] {
        assert_eq!(seen.get(name), Some(&value.as_str()), "{name} in {seen:#?}");
    }
    for name in THREAD_COUNT_VARIABLES {
        assert_eq!(seen.get(name), Some(&"2"), "{name} in {seen:#?}");
    }
    let deadline: Timestamp = seen["WINDLASS_DEADLINE"].parse().unwrap();
    let left = deadline.duration_since(before);
    let range = SignedDuration::from_secs(600)..SignedDuration::from_secs(660);
    assert!(range.contains(&left), "{left}");
    assert!(!seen.contains_key("WINDLASS_ASSIGNMENT"), "{seen:#?}");
}

#[test]
fn the_files_are_as_the_contract_says() {
    let bench = Bench::new();
    let script = r#"
        [ -e "$WINDLASS_OUTPUT" ] && echo "there is an output" >&2
        [ -f "$WINDLASS_PROGRESS" ] && [ ! -s "$WINDLASS_PROGRESS" ] || echo "no progress file" >&2
        [ -z "$(cat)" ] || echo "something on stdin" >&2
        cat "$WINDLASS_INPUT" > "$WINDLASS_OUTPUT"
    "#;
    let exited = bench.sh(script).exited();
    assert_eq!((exited.code, exited.stderr.as_str()), (0, ""), "{exited:#?}");
    let word = bench.left_word().unwrap();
    let windlass_core::Outcome::Succeeded(result) = word.outcome else { panic!("{word:#?}") };
    assert_eq!(result.text.as_deref(), Some(r#"{"n":7}"#));
}

#[test]
fn arguments_arrive_as_they_are() {
    let script = r#"printf '%s|' "$@" > "$WINDLASS_OUTPUT""#;
    let result = Bench::new().start(&["sh", "-c", script, "sh", "--", "a b", "", "$HOME"]).result();
    assert_eq!(result.text.as_deref(), Some("--|a b||$HOME|"));
}

#[test]
fn a_function_finds_the_trace_of_its_job() {
    let mut bench = Bench::new();
    bench.assignment.job_uid = "0192f3a4-5b6c-7d8e-9f00-112233445566".into();
    let result = bench.sh(r#"printf %s "$TRACEPARENT" > "$WINDLASS_OUTPUT""#).result();
    let parent = result.text.unwrap();
    assert!(parent.starts_with("00-0192f3a45b6c7d8e9f00112233445566-"), "{parent}");
    assert_eq!((parent.len(), &parent[52..]), (55, "-01"));
}
