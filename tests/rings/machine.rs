//! The command line on this machine, as a user would type it.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::Server;
use crate::support::{checkout, eventually, processes_of, run, text, windlass};

/// Finite-difference values of Longstaff and Schwartz 2001, Table 1, in the order of the example.
const FINITE_DIFFERENCE: [f64; 20] = [
    4.478, 4.840, 7.101, 8.508, 3.250, 3.745, 6.148, 7.670, 2.314, 2.885, 5.312, 6.920, 1.617,
    2.212, 4.582, 6.248, 1.110, 1.690, 3.948, 5.647,
];

#[test]
fn the_papers_table_is_priced_within_three_standard_errors_and_the_same_on_any_parallelism() {
    let input = "@examples/longstaff-schwartz.json";
    let outputs = ["1", "2"].map(|n| run(&["run", "price", "--input", input, "-p", n]));
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    let result: Value = serde_json::from_slice(&outputs[0].stdout).unwrap();
    let prices = result["prices"].as_array().unwrap();
    assert_eq!(prices.len(), FINITE_DIFFERENCE.len());
    for (row, (price, expected)) in prices.iter().zip(FINITE_DIFFERENCE).enumerate() {
        let (value, error) = (&price["price"], &price["standardError"]);
        let (value, error) = (value.as_f64().unwrap(), error.as_f64().unwrap());
        assert!(error > 0.0 && error < 0.02, "row {row}: standard error {error}");
        let z = (value - expected) / error;
        assert!(z.abs() <= 3.0, "row {row}: {value} against {expected}, {z:.2} standard errors");
    }
}

#[test]
fn a_scene_becomes_a_picture_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("picture.png");
    let output = run(&[
        "run",
        "render",
        "--input",
        "@examples/scene.json",
        "--output",
        picture.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    let bytes = fs::read(picture).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    // More than an inline result holds, so that it went through the result directory.
    assert!(bytes.len() > 32 * 1024, "{} bytes", bytes.len());
}

#[test]
fn a_manifest_runs_as_kubectl_would_apply_it() {
    let output = run(&["run", "-f", "manifests/samples/echo.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["input"]["hello"], "world");
}

#[test]
fn a_builtin_function_serves_as_well_as_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let mark = format!("MARK-{}", directory.path().display());
    let function = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction", "metadata": { "name": "warm" },
        "spec": {
            "command": [windlass(), "function", "echo"], "warm": { "min": 0 },
            "parallelism": { "default": 1, "max": 2 }, "env": [{ "name": "MARK", "value": mark }],
        },
    });
    fs::write(directory.path().join("warm.yaml"), function.to_string()).unwrap();
    let server = Server::beside(directory.path(), &["--cpus", "2"]);
    let mut before = Vec::new();
    for (number, parallelism) in [1, 2, 1, 2, 2].into_iter().enumerate() {
        let input = json!({ "number": number });
        let job = json!({ "function": "warm", "parallelism": parallelism, "input": input });
        let job = server.client.run(&job);
        let told = job["status"]["result"]["text"].as_str().unwrap_or_default();
        let told: Value =
            serde_json::from_str(told).unwrap_or_else(|error| panic!("{error}: {job}"));
        let expected =
            json!({ "input": input, "parallelism": parallelism, "threads": parallelism });
        assert_eq!(told, expected, "{job}");
        let now = processes_of(&mark);
        assert!(now.len() == 1 && (number == 0 || now == before), "{now:?} after {before:?}");
        before = now;
    }
}

#[test]
fn a_python_program_is_a_function_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = fs::read_to_string(checkout().join("examples/python/job.yaml")).unwrap();
    // The example counts for some seconds; a test needs no more than the same path.
    let small = manifest.replace("1000000000", "2000000");
    assert_ne!(small, manifest, "the example's limit has changed");
    let job = directory.path().join("job.yaml");
    fs::write(&job, small).unwrap();
    let output = run(&["run", "-f", job.to_str().unwrap(), "--functions", "examples/python"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The number of primes below two million.
    assert_eq!(result["primes"], 148_933);
}

#[test]
fn bad_usage_and_input_exit_2_and_name_the_field() {
    let large = format!("{{\"text\": \"{}\"}}", "x".repeat(128 * 1024));
    let directory = tempfile::tempdir().unwrap();
    let manifest = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let head = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeJob\nmetadata: {name: x}\n";
    let large = format!("@{}", manifest("large.json", &large));
    let unknown = manifest("unknown.yaml", &format!("{head}spec: {{function: echo, cpus: 2}}\n"));
    let torn = manifest("torn.yaml", "apiVersion: [\n");
    let other = manifest("other.yaml", "apiVersion: v1\nkind: Pod\n");
    let named = manifest("named.yaml", &head.replace("x}", "X_Y}"));
    let table: [(&[&str], &str); 14] = [
        (&["run"], "required"),
        (&["run", "nothing"], "no function \"nothing\""),
        (&["run", "echo", "--parallelism", "0"], "/parallelism"),
        (&["run", "echo", "--parallelism", "65"], "1 to 64"),
        (&["run", "echo", "--input", "{"], "not JSON"),
        (&["run", "echo", "--input", "[1]"], "must be a JSON object"),
        (&["run", "echo", "--input", "@nowhere.json"], "nowhere.json"),
        (&["run", "price", "--input", "{\"paths\": 0}"], "/input"),
        (&["run", "echo", "--input", &large], "128 KiB"),
        (&["run", "echo", "--queue", "nightly"], "there is no queue \"nightly\""),
        (&["run", "-f", &unknown], "/spec/cpus"),
        (&["run", "-f", &torn], "torn.yaml"),
        (&["run", "-f", &other], "ComputeJob"),
        (&["run", "-f", &named], "name"),
    ];
    for (arguments, expected) in table {
        let output = run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

/// A manifest of a function that runs this shell script.
fn shell_function(directory: &std::path::Path, name: &str, script: &str) {
    let manifest = serde_json::json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction",
        "metadata": { "name": name },
        "spec": { "command": ["/bin/sh", "-c", script], "contentType": "text/plain", "retries": 0 },
    });
    fs::write(directory.join(format!("{name}.json")), manifest.to_string()).unwrap();
}

#[test]
fn a_failed_function_exits_1_and_says_how_it_failed() {
    let directory = tempfile::tempdir().unwrap();
    let table = [
        ("crash", "echo the reason >&2; exit 3", ["Crashed", "exited with code 3", "the reason"]),
        ("refuse", "echo no strike >&2; exit 65", ["BadInput", "exit code 65", "no strike"]),
        ("killed", "kill -KILL $$", ["Killed", "signal 9", ""]),
        ("silent", "exit 0", ["NoOutput", "without writing its output", ""]),
    ];
    for (name, script, _) in &table {
        shell_function(directory.path(), name, script);
    }
    for (name, _, expected) in &table {
        let functions = directory.path().to_str().unwrap();
        let output = run(&["run", name, "--functions", functions]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        for part in expected {
            assert!(said.contains(part), "{name}: {said}");
        }
    }
}

#[test]
fn an_interrupted_run_exits_130_and_leaves_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    // A function with a child of its own.
    let script = format!("sleep 300 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    shell_function(directory.path(), "slow", &script);
    let mut child = Command::new(windlass())
        .args(["run", "slow", "--functions", directory.path().to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pids =
        eventually("the function runs", Duration::from_secs(20), || fs::read_to_string(&pids).ok());
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    for pid in pids.split_whitespace() {
        let alive = fs::exists(format!("/proc/{pid}")).unwrap();
        assert!(!alive, "process {pid} is left: {said}");
    }
}

#[test]
fn what_a_function_prints_never_mixes_with_its_result() {
    let directory = tempfile::tempdir().unwrap();
    let script = "echo noise; echo more >&2; printf result > \"$WINDLASS_OUTPUT\"";
    shell_function(directory.path(), "noisy", script);
    let functions = directory.path().to_str().unwrap();
    let output = run(&["run", "noisy", "--functions", functions]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "result"));
    let said = text(&output.stderr);
    assert!(said.contains("noise") && said.contains("more"), "{said}");
}

#[test]
fn a_function_can_be_named_on_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "pwd > \"$WINDLASS_OUTPUT\"; echo \"$1 $WINDLASS_PARALLELISM\" >> \"$WINDLASS_OUTPUT\"";
    fs::write(directory.path().join("count.sh"), script).unwrap();
    let definition = "count=sh ./count.sh 'two words'";
    let output = Command::new(windlass())
        .args(["run", "count", "--function", definition, "--cpus", "2"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let here = directory.path().canonicalize().unwrap();
    assert_eq!(text(&output.stdout), format!("{}\ntwo words 2\n", here.display()));
    for (definition, expected) in
        [("count", "'='"), ("A=b", "lower-case"), ("a='b", "not complete")]
    {
        let output = run(&["run", "count", "--function", definition]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
