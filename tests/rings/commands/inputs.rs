//! Inputs of other types, large ones, and files, as a user would type them.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use windlass_core::result::sha256;

use crate::support::server::Server;
use crate::support::{run, script, text, windlass};

const SEES: &str = "{ echo $WINDLASS_INPUT_TYPE; sha256sum < $WINDLASS_INPUT; cd ${WINDLASS_FILES:-/var/empty} && cat *; } \
                    > $WINDLASS_OUTPUT 2>/dev/null; exit 0";

/// A function that sees everything, a picture, a table and a large array.
fn here() -> tempfile::TempDir {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "sees", SEES, "retries: 0\n  inputTypes: ['*/*']");
    fs::write(here.path().join("photo.JPG"), [0xff, 0xd8, 0, 1]).unwrap();
    fs::write(here.path().join("big.csv"), "a,b\n").unwrap();
    let large: Vec<u32> = (0..200_000).collect();
    fs::write(here.path().join("large.json"), serde_json::to_vec(&large).unwrap()).unwrap();
    here
}

fn seen(media_type: &str, input: &[u8], files: &str) -> String {
    format!("{media_type}\n{}  -\n{files}", sha256(input))
}

fn assert_seen(output: &Output, expected: &str) {
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), expected);
}

/// What a command prints that gets these bytes on its standard input.
fn piped(arguments: &[&str], bytes: &Path) -> Output {
    let input = Stdio::from(fs::File::open(bytes).unwrap());
    Command::new(windlass()).args(arguments).stdin(input).output().unwrap()
}

/// The same through a pipe, which can be read once.
fn through_a_pipe(arguments: &[&str], bytes: &[u8]) -> Output {
    let mut command = Command::new(windlass());
    let [input, output, said] = [(); 3].map(|()| Stdio::piped());
    let mut child =
        command.args(arguments).stdin(input).stdout(output).stderr(said).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn files_and_inputs_of_any_type_go_to_a_server_and_to_a_run_of_its_own() {
    let here = here();
    let path = |name: &str| here.path().join(name).to_str().unwrap().to_owned();
    let server = Server::beside(here.path(), &[]);
    let url = format!("http://{}", server.client.address);
    let data = server.data().to_str().unwrap().to_owned();
    let functions = here.path().to_str().unwrap().to_owned();
    let there = ["call", "sees", "--server", &url, "--data", &data];
    let own = ["run", "sees", "--functions", &functions];
    let (photo, table) = (format!("@{}", path("photo.JPG")), format!("data={}", path("big.csv")));
    let large = fs::read(path("large.json")).unwrap();
    for place in [&there[..], &own[..]] {
        let call = |more: &[&str]| run(&[place, more].concat());
        let answer = call(&["--input", &photo, "--file", &table]);
        assert_seen(&answer, &seen("image/jpeg", &[0xff, 0xd8, 0, 1], "a,b\n"));
        let answer = call(&["--input", &photo, "--input-type", "image/x-raw"]);
        assert_seen(&answer, &seen("image/x-raw", &[0xff, 0xd8, 0, 1], ""));
        let answer = call(&["--input", &format!("@{}", path("large.json"))]);
        assert_seen(&answer, &seen("application/json", &large, ""));
        for standard_input in ["-", "@-"] {
            let small = ["--input", standard_input, "--input-type", "text/csv"];
            let answer = piped(&[place, &small].concat(), &here.path().join("big.csv"));
            assert_seen(&answer, &seen("text/csv", b"a,b\n", ""));
        }
        let from_a_pipe = [place, &["--input", "@/dev/stdin", "--input-type", "text/csv"]].concat();
        assert_seen(&through_a_pipe(&from_a_pipe, b"a,b\n"), &seen("text/csv", b"a,b\n", ""));
        for (more, words) in [
            (&["--file", "data"][..], "NAME=PATH"),
            (&["--file", "a/b=x"], "no name of a file"),
            (&["--file", "a=/nowhere/x"], "/nowhere/x"),
            (&["--input", "{}", "--input-type", "text/csv"], "@FILE"),
            (&["--input", &photo, "--input-type", "jpeg"], "media type"),
        ] {
            let answer = call(more);
            assert_eq!(answer.status.code(), Some(2), "{more:?}: {}", text(&answer.stderr));
            assert!(text(&answer.stderr).contains(words), "{more:?}: {}", text(&answer.stderr));
        }
    }
}

#[test]
fn what_was_sent_before_is_named_by_a_manifest() {
    let here = here();
    let server = Server::beside(here.path(), &[]);
    let url = format!("http://{}", server.client.address);
    let place = ["--server", &url, "--data", server.data().to_str().unwrap()];
    let table = here.path().join("big.csv");
    let put = || run(&[&["blobs", "put", table.to_str().unwrap()], &place[..]].concat());
    let printed = put();
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let blob: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(blob, json!({ "sha256": sha256(b"a,b\n"), "bytes": 4, "mediaType": "text/csv" }));
    assert_eq!(put().stdout, printed.stdout);
    let job = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob", "metadata": { "name": "named" },
        "spec": { "function": "sees", "files": { "data": blob } },
    });
    let manifest = here.path().join("job.json");
    fs::write(&manifest, job.to_string()).unwrap();
    let submitted =
        run(&[&["submit", "-f", manifest.to_str().unwrap(), "--wait"], &place[..]].concat());
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    let result = run(&[&["result", "named"], &place[..]].concat());
    assert_seen(&result, &seen("application/json", b"{}", "a,b\n"));

    // The same job again has the same files, as long as they are there.
    let retry = || run(&[&["retry", "named", "--wait"], &place[..]].concat());
    let again = retry();
    assert!(again.status.success(), "{}", text(&again.stderr));
    let result = run(&[&["result", text(&again.stdout).trim()], &place[..]].concat());
    assert_seen(&result, &seen("application/json", b"{}", "a,b\n"));
    fs::remove_file(server.data().join("blobs").join(sha256(b"a,b\n"))).unwrap();
    let gone = retry();
    assert_eq!(gone.status.code(), Some(2), "{}", text(&gone.stderr));
    let said = text(&gone.stderr);
    assert!(said.contains("/files/data/sha256: there is no such blob"), "{said}");
}
