//! Inputs of any size and type, and files beside them, on one machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_core::result::sha256;

use crate::support::http::{Answer, Client};
use crate::support::server::Server;
use crate::support::{eventually, script};

/// Says the type of its input, and its digest.
pub(crate) const SEES: &str =
    "{ echo $WINDLASS_INPUT_TYPE; sha256sum < $WINDLASS_INPUT; } > $WINDLASS_OUTPUT; exit 0";

/// Says what is in its files.
const LISTS: &str = "cd $WINDLASS_FILES && for file in $(ls -A); do echo \"$file $(cat $file)\"; done > $WINDLASS_OUTPUT";

pub(crate) fn call(client: &Client, function: &str, media_type: &str, body: &[u8]) -> Answer {
    let path = format!("/v1/namespaces/{}/functions/{function}/call", client.namespace);
    client.post(&path, &[("Content-Type", media_type)], body)
}

pub(crate) fn put_blob(client: &Client, bytes: &[u8]) -> Answer {
    let path = format!("/v1/namespaces/{}/blobs/sha256:{}", client.namespace, sha256(bytes));
    client.send("PUT", &path, &[], bytes)
}

/// A reference to a blob that was sent.
pub(crate) fn sent(client: &Client, bytes: &[u8], media_type: &str) -> Value {
    let stored = put_blob(client, bytes);
    assert!(matches!(stored.status, 200 | 201), "{stored:?}");
    json!({ "sha256": sha256(bytes), "bytes": bytes.len(), "mediaType": media_type })
}

pub(crate) fn text_of(job: &Value) -> String {
    let text = job["status"]["result"]["text"].as_str();
    text.unwrap_or_else(|| panic!("{job}")).to_owned()
}

pub(crate) fn pointers(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 422, "{answer:?}");
    let problems = answer.json()["problems"].as_array().unwrap().clone();
    problems.iter().map(|problem| problem["pointer"].as_str().unwrap().to_owned()).collect()
}

/// Bytes of which no two parts are alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

pub(crate) fn blobs_of(data: &Path) -> usize {
    let entries = fs::read_dir(data.join("blobs")).unwrap();
    entries.filter(|entry| entry.as_ref().is_ok_and(|found| found.path().is_file())).count()
}

/// Waits until nothing is left of what was refused or broke off: it is deleted beside the answer.
pub(crate) fn nothing_is_half_sent(data: &Path) {
    eventually("nothing half sent is left", Duration::from_secs(30), || {
        (fs::read_dir(data.join("blobs/new")).unwrap().count() == 0).then_some(())
    });
}

#[test]
fn a_call_of_any_type_gives_its_function_exactly_these_bytes() {
    let here = tempfile::tempdir().unwrap();
    let takes = "retries: 0\n  inputTypes: [image/*, application/json]\n  maxInputBytes: 5000000";
    script(here.path(), "sees", SEES, takes);
    let server = Server::beside(here.path(), &[]);
    let client = &server.client;
    let picture = noise(5_000_000);
    let large = serde_json::to_vec(&(0..100_000).collect::<Vec<_>>()).unwrap();
    for (media_type, body) in [
        ("image/jpeg", picture.as_slice()),
        ("image/png; q=1", b""),
        ("application/json", br#"{"small":1}"#),
        ("application/json", b"[1, 2]"),
        ("application/json", &large),
    ] {
        let answer = call(client, "sees", media_type, body);
        let expected = format!("{media_type}\n{}  -\n", sha256(body));
        assert_eq!(crate::support::text(&answer.body), expected, "{answer:?}");
    }
    // What is small and an object is in the job, the rest is not.
    let jobs = client.get(&client.jobs("")).json();
    let inline = jobs["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|job| !job["spec"]["input"].is_null() && job["spec"]["inputBlob"].is_null());
    assert_eq!(inline.count(), 1, "{jobs}");
    assert_eq!(call(client, "sees", "text/csv", b"a,b").status, 415);
    assert_eq!(call(client, "sees", "image/jpeg", &noise(5_000_001)).status, 413);
    assert_eq!(call(client, "sees", "application/json", b"{\"a\":1,\"a\":2}").status, 400);
    let mut twice = large.clone();
    twice.truncate(large.len() - 1);
    twice.extend_from_slice(b",{\"a\":1,\"a\":2}]");
    assert_eq!(call(client, "sees", "application/json", &twice).status, 400);
    assert_eq!(call(client, "nothing", "image/jpeg", b"x").status, 404);
    assert_eq!(blobs_of(server.data()), 4);
    nothing_is_half_sent(server.data());
}

/// Bytes that nobody has sent before are stored once, however often they are sent, and read. Their path.
pub(crate) fn is_sent_once_and_read(client: &Client, bytes: &[u8]) -> String {
    let (sha256, length) = (sha256(bytes), bytes.len());
    let first = put_blob(client, bytes);
    let told = json!({ "sha256": sha256, "bytes": length });
    assert_eq!((first.status, first.json()), (201, told));
    assert_eq!(put_blob(client, bytes).status, 200);
    let path = first.header("location").unwrap().to_owned();
    let head = client.send("HEAD", &path, &[("Connection", "close")], b"");
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
    assert_eq!(client.get(&path).body, bytes);
    path
}

#[test]
fn files_are_sent_before_and_found_by_their_names() {
    let here = tempfile::tempdir().unwrap();
    let server = Server::beside(here.path(), &[]);
    let client = &server.client;
    let path = is_sent_once_and_read(client, b"one");
    let nameless = client.post("/v1/namespaces/default/blobs", &[], b"two");
    assert_eq!(
        (nameless.status, nameless.json()["sha256"].as_str()),
        (201, Some(sha256(b"two").as_str()))
    );
    // Nothing comes of what is wrong.
    let three = path.replace(&sha256(b"one"), &sha256(b"three"));
    assert_eq!(pointers(&client.send("PUT", &three, &[], b"other")), ["/sha256"]);
    for bad in ["sha256:xyz", "..", "md5:00", "sha256:"] {
        let path = format!("/v1/namespaces/default/blobs/{bad}");
        assert_eq!(pointers(&client.send("PUT", &path, &[], b"x")), ["/sha256"], "{bad}");
    }
    assert_eq!(client.get(&three).status, 404);
    let elsewhere = path.replace("default", "other");
    assert_eq!(client.get(&elsewhere).status, 404);
    assert_eq!(client.send("PUT", &elsewhere, &[], b"one").status, 404);
    assert_eq!(blobs_of(server.data()), 2);
}

#[test]
fn a_function_harms_its_own_copy_alone() {
    let here = tempfile::tempdir().unwrap();
    let harms = "cat $WINDLASS_INPUT $WINDLASS_FILES/a > $WINDLASS_OUTPUT; \
                 for file in $WINDLASS_INPUT $WINDLASS_FILES/a; do \
                 chmod 600 $file; echo bad > $file; truncate -s 1 $file; touch -d 2001-01-01 $file; chmod 000 $file; \
                 ln $file $TMPDIR/other; rm -f $file $TMPDIR/other; done 2>/dev/null; exit 0";
    script(here.path(), "harms", harms, "retries: 0\n  inputTypes: [text/plain]");
    for landlock in ["on", "off"] {
        let server = Server::beside(here.path(), &["--landlock", landlock]);
        let client = &server.client;
        let input = sent(client, b"in", "text/plain");
        let file = sent(client, b"file", "text/plain");
        let job = json!({ "function": "harms", "inputBlob": input, "files": { "a": file } });
        for _ in 0..3 {
            assert_eq!(text_of(&client.run(&job)), "infile");
        }
        for bytes in [&b"in"[..], b"file"] {
            let path = format!("/v1/namespaces/default/blobs/sha256:{}", sha256(bytes));
            assert_eq!(client.get(&path).body, bytes);
            let blob = server.data().join("blobs").join(sha256(bytes));
            assert_eq!(fs::metadata(blob).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn a_retry_gets_what_the_attempt_before_it_has_deleted() {
    let here = tempfile::tempdir().unwrap();
    let deletes = "[ $WINDLASS_ATTEMPT = 2 ] || { rm $WINDLASS_INPUT $WINDLASS_FILES/a; exit 1; }; \
                   cat $WINDLASS_INPUT $WINDLASS_FILES/a > $WINDLASS_OUTPUT";
    let takes = "retries: 1\n  inputTypes: [text/plain, application/json]";
    script(here.path(), "deletes", deletes, takes);
    let server = Server::beside(here.path(), &[]);
    let client = &server.client;
    let files = json!({ "a": sent(client, b"file", "text/plain") });
    let input = sent(client, b"in", "text/plain");
    let job = json!({ "function": "deletes", "inputBlob": input, "files": files });
    assert_eq!(text_of(&client.run(&job)), "infile");
    let job = json!({ "function": "deletes", "input": { "n": 7 }, "files": files });
    assert_eq!(text_of(&client.run(&job)), "{\"n\":7}file");
}

#[test]
fn a_job_names_blobs_that_are_there_as_it_says() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "lists", LISTS, "retries: 0");
    let server = Server::beside(here.path(), &[]);
    let client = &server.client;
    let (one, two) = (sent(client, b"one", "text/csv"), sent(client, b"two", "a/b"));
    let job = client.run(&json!({ "function": "lists", "files": { "one.csv": one, ".two": two } }));
    assert_eq!(text_of(&job), ".two two\none.csv one\n");
    assert_eq!(job["spec"]["files"]["one.csv"], one);
    let submit = |files: Value| client.submit(&json!({ "function": "lists", "files": files }));
    let missing = json!({ "sha256": sha256(b"missing"), "bytes": 7 });
    let mut longer = one.clone();
    longer["bytes"] = json!(4);
    assert_eq!(pointers(&submit(json!({ "a": missing }))), ["/files/a/sha256"]);
    assert_eq!(pointers(&submit(json!({ "a": longer }))), ["/files/a/bytes"]);
    assert_eq!(pointers(&submit(json!({ "..": one, "a/b": one }))), ["/files", "/files"]);
    assert_eq!(
        pointers(&submit(json!({ "a": { "sha256": "A", "bytes": 1 } }))),
        ["/files/a/sha256"]
    );
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("f{n}"), one.clone())).collect();
    assert_eq!(pointers(&submit(many.into())), ["/files"]);
    // JSON keeps one rule, however it comes.
    let twice = sent(client, b"{\"a\":1,\"a\":2}", "application/json");
    let answer = client.submit(&json!({ "function": "lists", "inputBlob": twice }));
    assert_eq!(pointers(&answer), ["/inputBlob"]);
}

#[test]
fn a_function_tells_the_type_of_its_result() {
    let here = tempfile::tempdir().unwrap();
    let told = "echo text/csv > $WINDLASS_OUTPUT_TYPE; printf 'a,b' > $WINDLASS_OUTPUT; exit 0";
    script(here.path(), "told", told, "retries: 0");
    let server = Server::beside(here.path(), &[]);
    let answer = call(&server.client, "told", "application/json", b"{}");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/csv")),
        "{answer:?}"
    );
    let location = answer.header("location").unwrap();
    let result = server.client.get(&format!("{location}/result"));
    assert_eq!((result.header("content-type"), &result.body[..]), (Some("text/csv"), &b"a,b"[..]));
}

#[test]
fn a_warm_function_gets_the_inputs_of_each_job_and_no_others() {
    const SERVES: &str = r#"
import json, os, socket
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["WINDLASS_SERVE"])
connection.sendall(b'{"ready": 2}\n')
for line in connection.makefile("rb"):
    job = json.loads(line)
    files = {name: open(path).read() for name, path in job["files"].items()}
    beside = os.path.join(os.path.dirname(job["input"]), "files")
    seen = [job["inputType"], open(job["input"]).read(), files, sorted(os.listdir(beside)), os.getpid()]
    with open(job["outputType"], "w") as told:
        told.write("text/plain")
    answer = {"done": job["job"]}
    if files:
        with open(job["output"], "w") as output:
            json.dump(seen, output)
    else:
        answer["result"] = json.dumps(seen)
    connection.sendall(json.dumps(answer).encode() + b"\n")
"#;
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("warm.py"), SERVES).unwrap();
    let command = format!("exec python3 {}", here.path().join("warm.py").display());
    let takes = "retries: 0\n  warm: {}\n  inputTypes: [text/*, application/json]";
    script(here.path(), "serves", &command, takes);
    let server = Server::beside(here.path(), &["--cpus", "1", "--landlock", "on"]);
    let client = &server.client;
    // The first job does not start another one.
    eventually("one waits", Duration::from_secs(20), || {
        let metrics = crate::support::text(&client.get("/metrics").body);
        metrics.contains("\nwindlass_warm_functions_waiting 1\n").then_some(())
    });
    let blob = |bytes: &[u8]| sent(client, bytes, "text/csv");
    let run = |job: Value| {
        let ended = client.run(&job);
        assert_eq!(ended["status"]["result"]["contentType"], "text/plain", "{ended}");
        serde_json::from_str::<Value>(&text_of(&ended)).unwrap()
    };
    let first = run(
        json!({ "function": "serves", "inputBlob": blob(b"a long input"), "files": { "x": blob(b"1"), "y": blob(b"2") } }),
    );
    let pid = &first[4];
    assert_eq!(first, json!(["text/csv", "a long input", { "x": "1", "y": "2" }, ["x", "y"], pid]));
    let second = run(json!({ "function": "serves", "input": {}, "files": { "z": blob(b"3") } }));
    assert_eq!(second, json!(["application/json", "{}", { "z": "3" }, ["z"], pid]));
    let third = run(json!({ "function": "serves", "inputBlob": blob(b"b") }));
    assert_eq!(third, json!(["text/csv", "b", {}, [], pid]));
    let last = run(json!({ "function": "serves" }));
    assert_eq!(last, json!(["application/json", "{}", {}, [], pid]));
}

#[test]
fn a_function_of_another_user_reads_its_inputs() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start functions as another user");
        return;
    }
    let here = tempfile::tempdir().unwrap();
    fs::set_permissions(here.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let reads = "cat $WINDLASS_INPUT $WINDLASS_FILES/a > $WINDLASS_OUTPUT; id -u >> $WINDLASS_OUTPUT; \
                 cat $(dirname $WINDLASS_INPUT)/../../blobs/* >> $WINDLASS_OUTPUT 2>/dev/null; exit 0";
    script(here.path(), "reads", reads, "retries: 0\n  inputTypes: ['*/*']");
    for landlock in ["on", "off"] {
        let server =
            Server::beside(here.path(), &["--function-user", "4711:4712", "--landlock", landlock]);
        let client = &server.client;
        let job = json!({
            "function": "reads", "inputBlob": sent(client, b"in ", "a/b"), "files": { "a": sent(client, b"file\n", "a/b") },
        });
        assert_eq!(text_of(&client.run(&job)), "in file\n4711\n");
    }
}

#[test]
fn an_upload_goes_to_the_disk_and_not_into_the_memory() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "sees", SEES, "retries: 0\n  inputTypes: ['*/*']");
    let server = Server::beside(here.path(), &[]);
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().to_owned();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let bytes = noise(100 << 20);
    let answer = call(&server.client, "sees", "video/mp4", &bytes);
    assert!(crate::support::text(&answer.body).contains(&sha256(&bytes)), "{answer:?}");
    assert!(peak() < 64, "{} MiB", peak());
    let head = "--edge\r\nContent-Disposition: form-data; name=\"input\"; filename=\"a\"\r\n\r\n";
    let form = [head.as_bytes(), &bytes, b"\r\n--edge--\r\n"].concat();
    let answer = call(&server.client, "sees", "multipart/form-data; boundary=edge", &form);
    assert!(crate::support::text(&answer.body).contains(&sha256(&bytes)), "{answer:?}");
    println!("{} MiB", peak());
    assert!(peak() < 64, "{} MiB", peak());
}
