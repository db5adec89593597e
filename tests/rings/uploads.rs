//! Uploads that are too many, break off, or meet a server that is killed, on one machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use windlass_core::result::sha256;

use crate::inputs::{SEES, blobs_of, call, noise, nothing_is_half_sent, put_blob, text_of};
use crate::support::http::Client;
use crate::support::server::Server;
use crate::support::uploads::{acknowledges, upload_until_killed};
use crate::support::{eventually, script};

/// Bytes that one client calls with.
fn input(life: usize, n: usize) -> Vec<u8> {
    format!("call {life} {n} ").repeat(20_000).into_bytes()
}

/// Calls until the server is gone. What was accepted: names of jobs, and their inputs.
fn call_until_killed(client: &Client, life: usize) -> Vec<(String, Vec<u8>)> {
    let called = (0..).map(|n| {
        let bytes = input(life, n);
        let path = "/v1/namespaces/default/functions/sees/call";
        let head = [("Content-Type", "text/plain"), ("Prefer", "wait=0")];
        let answer = client.try_send("POST", path, &head, &bytes).ok()?;
        assert_eq!(answer.status, 202, "{answer:?}");
        Some((answer.json()["metadata"]["name"].as_str()?.to_owned(), bytes))
    });
    called.map_while(|accepted| accepted).collect()
}

#[test]
fn a_server_that_is_killed_amid_uploads_and_calls_loses_and_leaves_none() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "sees", SEES, "retries: 9\n  inputTypes: ['*/*']");
    let (mut acknowledged, mut accepted) = (Vec::new(), Vec::new());
    for life in 0..3 {
        let server = Server::beside(here.path(), &[]);
        let client = server.client.clone();
        std::thread::scope(|scope| {
            let calls = scope.spawn(|| call_until_killed(&client, life));
            acknowledged.extend(upload_until_killed(&client, life, |stored| {
                acknowledges(stored, 30);
                server.kill();
            }));
            accepted.extend(calls.join().unwrap());
        });
    }
    let server = Server::beside(here.path(), &[]);
    let client = &server.client;
    for bytes in &acknowledged {
        assert_eq!(put_blob(client, bytes).status, 200);
        let path = format!("/v1/namespaces/default/blobs/sha256:{}", sha256(bytes));
        assert!(client.get(&path).body == *bytes);
    }
    for (name, bytes) in &accepted {
        let path = client.jobs(&format!("/{name}"));
        let job = eventually("an accepted job succeeds", Duration::from_secs(60), || {
            let job = client.get(&path).json();
            (job["status"]["phase"] == "Succeeded").then_some(job)
        });
        assert_eq!(text_of(&job), format!("text/plain\n{}  -\n", sha256(bytes)));
    }
    println!("{} uploads and {} calls, all there", acknowledged.len(), accepted.len());
    assert!(!accepted.is_empty());
    let blobs = server.data().join("blobs");
    assert_eq!(fs::read_dir(blobs.join("new")).unwrap().count(), 0);
    for entry in files_of(&blobs) {
        assert_eq!(
            sha256(&fs::read(&entry).unwrap()),
            name_of(&entry),
            "half of a blob is visible"
        );
    }
    leaves_none_that_no_job_names(server, here.path());
}

/// An hour later, which is told by the times of the files, the blobs of jobs are left; when those are deleted, none.
fn leaves_none_that_no_job_names(server: Server, here: &Path) {
    let blobs = server.data().join("blobs");
    let jobs = server.client.get(&server.client.jobs("?limit=500")).json()["items"].clone();
    let of =
        |job: &Value, pointer: &str| job.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let jobs = jobs.as_array().unwrap();
    let named: BTreeSet<_> = jobs.iter().map(|job| of(job, "/spec/inputBlob/sha256")).collect();
    let an_hour_later = |server: Server, left: &BTreeSet<String>| {
        server.kill();
        files_of(&blobs).iter().for_each(|path| make_old(path));
        let server = Server::beside(here, &[]);
        eventually("only what a job names is left", Duration::from_secs(30), || {
            let names = files_of(&blobs).into_iter().map(|path| name_of(&path));
            (names.collect::<BTreeSet<_>>() == *left).then_some(())
        });
        server
    };
    let server = an_hour_later(server, &named);
    for job in jobs {
        let path = server.client.jobs(&format!("/{}", of(job, "/metadata/name")));
        assert_eq!(server.client.send("DELETE", &path, &[], b"").status, 204);
    }
    an_hour_later(server, &BTreeSet::new());
}

fn files_of(blobs: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// As if nobody had sent or named it for more than an hour.
fn make_old(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3_601)).unwrap();
}

#[test]
fn a_quota_of_blobs_refuses_what_exceeds_it_and_nothing_else() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "sees", SEES, "retries: 0\n  inputTypes: ['*/*']");
    let server = Server::beside(here.path(), &["--blob-quota", "1000000"]);
    let client = &server.client;
    let bytes = noise(1_000_001);
    assert_eq!(put_blob(client, &bytes[..600_000]).status, 201);
    let refused = put_blob(client, &bytes[..400_001]);
    let words =
        "exceeded quota: blob-quota, requested: 400001 bytes, used: 600000, limited: 1000000";
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().starts_with(words), "{refused:?}");
    // The input of a call is no other than what was sent before it; a part of a form says no length.
    assert_eq!(call(client, "sees", "video/mp4", &bytes[..400_001]).status, 403);
    let head = "--edge\r\nContent-Disposition: form-data; name=\"input\"; filename=\"a\"\r\n\r\n";
    let form = [head.as_bytes(), &bytes, b"\r\n--edge--\r\n"].concat();
    assert_eq!(call(client, "sees", "multipart/form-data; boundary=edge", &form).status, 403);
    assert_eq!(put_blob(client, &bytes[..600_000]).status, 200, "what is there needs no room");
    assert_eq!(call(client, "sees", "video/mp4", &bytes[..400_000]).status, 200);
    assert_eq!(call(client, "sees", "application/json", b"{}").status, 200);
    assert_eq!(blobs_of(server.data()), 2);
    let metrics = crate::support::text(&client.get("/metrics").body);
    for line in [
        "windlass_blob_uploads_total{verdict=\"exceeds_quota\"} 3",
        "windlass_blob_uploads_total{verdict=\"known\"} 1",
        "windlass_blobs_stored_bytes_total 1000000",
    ] {
        assert!(metrics.contains(&format!("\n{line}\n")), "{line}\n{metrics}");
    }
    nothing_is_half_sent(server.data());
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    use std::io::Write as _;
    let server = Server::start(&[]);
    let path = format!("/v1/namespaces/default/blobs/sha256:{}", sha256(b"never"));
    for _ in 0..5 {
        let mut socket = std::net::TcpStream::connect(&server.client.address).unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 1000000\r\n\r\n",
            server.client.address, server.client.token
        );
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&noise(500_000)).unwrap();
    }
    nothing_is_half_sent(server.data());
    assert_eq!(server.client.get(&path).status, 404);
}

#[test]
fn a_full_directory_takes_no_uploads_and_says_so() {
    let here = tempfile::tempdir().unwrap();
    let server = Server::beside(here.path(), &["--max-stored", "1Mi"]);
    let answer = put_blob(&server.client, &noise(3 << 20));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.json()["detail"].as_str().unwrap().contains("blobs"), "{answer:?}");
    assert_eq!(blobs_of(server.data()), 0);
    assert_eq!(put_blob(&server.client, b"small").status, 201);
}
