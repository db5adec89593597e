//! Inputs of any size and type, and files, in the pods of a cluster.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};
use windlass_core::result::sha256;

use super::{MANY_SECONDS, running_pod};
use crate::inputs::{call, noise, pointers, put_blob, sent};
use crate::support::cluster::{Bucket, Namespace, RELEASE, get, kubectl};
use crate::support::eventually;
use crate::support::http::{Answer, Client};

/// A function whose command is this mode of `misbehave`. It takes everything.
pub(crate) fn function(namespace: &Namespace, mode: &str) {
    let mut function = get(&["cfn", "misbehave", "-n", &namespace.0]);
    function["metadata"] = json!({ "name": mode });
    let spec = &mut function["spec"];
    spec["command"] = json!(["misbehave", mode]);
    spec["inputTypes"] = json!(["image/*", "video/*", "text/csv", "application/json"]);
    spec["maxInputBytes"] = json!(2_u64 << 30);
    spec["maxResultBytes"] = json!(2_u64 << 30);
    spec["memory"] = json!({ "base": "64Mi", "perCpu": "8Mi" });
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &function.to_string()).unwrap();
}

/// What `sees` says.
pub(crate) fn seen(media_type: &str, bytes: &[u8], files: &Value) -> [Value; 4] {
    [json!(media_type), json!(sha256(bytes)), json!(bytes.len()), files.clone()]
}

pub(crate) fn said(told: &Value) -> [Value; 4] {
    ["type", "sha256", "bytes", "files"].map(|field| told[field].clone())
}

pub(crate) fn result_of(job: &Value) -> Value {
    let result = job["status"]["result"]["text"].as_str();
    serde_json::from_str(result.unwrap_or_else(|| panic!("{job}"))).unwrap()
}

/// A namespace with these functions, and a client of it.
fn namespace_with(name: &str, modes: &[&str]) -> (Namespace, Client) {
    let namespace = Namespace::new(name);
    modes.iter().for_each(|mode| function(&namespace, mode));
    let client = namespace.client();
    (namespace, client)
}

fn assert_lost(job: &Value, which: &str) {
    let failure = &job["status"]["failure"];
    assert_eq!(failure["reason"], "CannotStart", "{job}");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains(which) && message.contains("its blob is lost"), "{message}");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn inputs_of_any_type_and_files_reach_the_function_as_they_were_sent() {
    let (namespace, client) = namespace_with("inputs", &["sees", "copies"]);
    let picture = noise(5_000_000);
    let answer = call(&client, "sees", "image/jpeg", &picture);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(said(&answer.json()), seen("image/jpeg", &picture, &json!({})));
    // A large result comes back as it is, with the type that the function tells.
    let answer = call(&client, "copies", "image/png", &picture);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")));
    assert!(answer.body == picture);
    assert_eq!(call(&client, "sees", "audio/ogg", b"x").status, 415);
    // A form with an inline input: the files lie beside a copy of it.
    let form = b"--edge\r\nContent-Disposition: form-data; name=\"input\"\r\nContent-Type: application/json\r\n\r\n\
                 {}\r\n--edge\r\nContent-Disposition: form-data; name=\"a.csv\"; filename=\"a\"\r\n\r\n1,2\r\n--edge--\r\n";
    let answer = call(&client, "sees", "multipart/form-data; boundary=edge", form);
    assert_eq!(said(&answer.json()), seen("application/json", b"{}", &json!({ "a.csv": "1,2" })));
    // kubectl names what was sent before.
    let (input, file) = (sent(&client, &picture, "image/gif"), sent(&client, b"3", "text/csv"));
    let spec = json!({ "function": "sees", "inputBlob": input, "files": { "b": file } });
    namespace.apply("applied", &spec).unwrap();
    let told = result_of(&namespace.wait("applied"));
    assert_eq!(said(&told), seen("image/gif", &picture, &json!({ "b": "3" })));
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_retry_fetches_again_and_a_lost_blob_says_which() {
    let (namespace, client) = namespace_with("fetched", &["sees", "sees-later"]);
    let (input, file) = (sent(&client, b"input", "text/csv"), sent(&client, b"file", "text/csv"));
    let spec = json!({ "function": "sees-later", "retries": 1, "inputBlob": input, "files": { "a": file } });
    namespace.apply("again", &spec).unwrap();
    // What no gateway has seen is found to be lost by the pod.
    let missing = json!({ "sha256": sha256(b"missing"), "bytes": 7, "mediaType": "text/csv" });
    let spec = json!({ "function": "sees", "inputBlob": input, "files": { "x": missing } });
    namespace.apply("lost", &spec).unwrap();
    let spec = json!({ "function": "sees", "inputBlob": missing });
    namespace.apply("lost-input", &spec).unwrap();
    assert_eq!(pointers(&client.submit(&spec)), ["/inputBlob/sha256"]);
    let job = namespace.wait("again");
    assert_eq!(job["status"]["attempt"], 2, "{job}");
    assert_eq!(said(&result_of(&job)), seen("text/csv", b"input", &json!({ "a": "file" })));
    assert_lost(&namespace.wait("lost"), "x: ");
    assert_lost(&namespace.wait("lost-input"), "the input: ");
}

/// The token of a pod, as its worker has it.
fn token_of(namespace: &Namespace, pod: &Value) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let bound = ["--bound-object-kind=Pod", "--bound-object-name", name, "--audience=windlass"];
    let create = ["create", "token", "default", "-n", &namespace.0];
    kubectl(&[&create[..], &bound].concat(), "").unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_pod_gets_the_blobs_of_its_own_job_and_no_others() {
    let namespace = Namespace::new("own");
    let client = namespace.client();
    let spin = |name: &str, file: &Value| {
        let input = json!({ "mode": "spin" });
        let spec = json!({ "function": "misbehave", "input": input, "files": { "f": file } });
        namespace.apply(name, &spec).unwrap();
        let pod = running_pod(&namespace, name);
        (namespace.job(name)["metadata"]["uid"].as_str().unwrap().to_owned(), pod)
    };
    let (uid, pod) = spin("mine", &sent(&client, b"mine", "a/b"));
    let (other, _) = spin("other", &sent(&client, b"other", "a/b"));
    put_blob(&client, b"nobody's");
    let worker = Client { token: token_of(&namespace, &pod), ..client.clone() };
    let ask = |who: &Client, uid: &str, attempt: u32, bytes: &[u8]| -> Answer {
        who.get(&format!("/v1/reports/{uid}/{attempt}/blobs/sha256:{}", sha256(bytes)))
    };
    let mine = ask(&worker, &uid, 1, b"mine");
    assert_eq!((mine.status, &mine.body[..]), (200, &b"mine"[..]), "{mine:?}");
    for foreign in [&b"other"[..], b"nobody's", b"nothing"] {
        let refused = ask(&worker, &uid, 1, foreign);
        assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("OtherBlob")));
    }
    // Neither for another job or attempt, nor with the right to read jobs, nor that of a caller.
    assert_eq!(ask(&worker, &other, 1, b"other").status, 409);
    assert_eq!(ask(&worker, &uid, 2, b"mine").status, 401);
    assert_eq!(ask(&client, &uid, 1, b"mine").status, 401);
    let path = format!("/v1/namespaces/{}/blobs/sha256:{}", namespace.0, sha256(b"mine"));
    assert_eq!(worker.get(&path).status, 401);
    ["mine", "other"].iter().for_each(|job| namespace.cancel(job));
}

/// Process ids of the release's gateways. This machine is the only node of the cluster, and of others beside it: a process
/// is in the control group of its pod.
pub(crate) fn gateways() -> Vec<String> {
    let pods = get(&["pods", "-n", RELEASE, "-l", "app.kubernetes.io/component=gateway"]);
    let uid = |pod: &Value| format!("/pod{}", pod["metadata"]["uid"].as_str().unwrap());
    let uids: Vec<_> = pods["items"].as_array().unwrap().iter().map(uid).collect();
    let is_gateway = |pid: &String| {
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(b"windlass"))
            && words.next() == Some(b"gateway")
            && uids.iter().any(|uid| group.contains(uid))
    };
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    pids.filter(is_gateway).collect()
}

/// Most resident memory of a process since it was last forgotten, in MiB.
fn peak_mib(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_large_input_and_result_take_neither_the_memory_of_the_gateway_nor_that_of_the_worker() {
    let Some(bucket) = Bucket::of_the_release() else { return };
    let mib = std::env::var("WINDLASS_INPUT_MIB").map_or(100, |mib| mib.parse().unwrap());
    let namespace = Namespace::new("large-inputs");
    ["sees", "copies"].iter().for_each(|mode| function(&namespace, mode));
    let client = namespace.direct_client();
    let bytes = noise(mib << 20);
    let forget = |pid: &String| fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    gateways().iter().for_each(forget);
    let rate = |what: &str, begun: Instant| {
        let seconds = begun.elapsed().as_secs_f64();
        println!("{what}: {mib} MiB in {seconds:.1} s, {:.0} MiB/s", mib as f64 / seconds);
    };
    let begun = Instant::now();
    bucket.put_object("beside", &bytes);
    rate("to the S3 server", begun);
    let begun = Instant::now();
    assert_eq!(put_blob(&client, &bytes).status, 201);
    rate("to the gateway", begun);
    let blob = json!({ "sha256": sha256(&bytes), "bytes": bytes.len(), "mediaType": "video/mp4" });
    let told = result_of(&client.run(&json!({ "function": "sees", "inputBlob": blob })));
    assert_eq!(said(&told), seen("video/mp4", &bytes, &json!({})));
    let copied = client.run(&json!({ "function": "copies", "inputBlob": blob }));
    assert_eq!(copied["status"]["result"]["sha256"], sha256(&bytes), "{copied}");
    let begun = Instant::now();
    assert!(bucket.get("beside") == bytes);
    rate("from the S3 server", begun);
    let begun = Instant::now();
    let name = copied["metadata"]["name"].as_str().unwrap();
    let result = client.get(&client.jobs(&format!("/{name}/result")));
    rate("from the gateway", begun);
    assert!(result.body == bytes && result.header("content-type") == Some("video/mp4"));
    let worker = told["workerPeakKib"].as_u64().unwrap() / 1024;
    let gateways: Vec<u64> = gateways().iter().map(|pid| peak_mib(pid)).collect();
    println!("peaks: worker {worker} MiB, gateways {gateways:?} MiB");
    assert!(worker < 64 && !gateways.is_empty() && gateways.iter().all(|peak| *peak < 64));
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn two_hundred_uploads_at_a_time_are_all_taken() {
    let namespace = Namespace::new("crowd");
    let client = namespace.direct_client();
    let bytes = |n: usize| format!("{n} ").repeat(20_000).into_bytes();
    let store = |n: usize| {
        // Some are told to come back.
        eventually("the gateway takes it", MANY_SECONDS, || {
            let answer = put_blob(&client, &bytes(n));
            assert!(matches!(answer.status, 200 | 201 | 429 | 503), "{answer:?}");
            (answer.status < 300).then_some(())
        });
    };
    std::thread::scope(|scope| (0..200).for_each(|n| drop(scope.spawn(move || store(n)))));
    for n in [0, 99, 199] {
        let path = format!("/v1/namespaces/{}/blobs/sha256:{}", namespace.0, sha256(&bytes(n)));
        assert!(client.get(&path).body == bytes(n));
    }
}
