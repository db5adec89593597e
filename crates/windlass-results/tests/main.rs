//! The stores, against a real directory and a real S3 server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod blobs;
mod faults;
mod s3;

use std::fs::{self, File};
use std::io;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use windlass_core::Error;
use windlass_core::kept_log::log_location;
use windlass_core::result::{ByteStream, checked, location, sha256};
use windlass_core::usage_over_time::usage_location;
use windlass_results::{Failed, Results};

use s3::{S3, results_at};

/// So many bytes that are all different from their neighbours.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// These bytes in pieces, held against the digest of `expected`.
fn stream(bytes: &[u8], expected: &[u8]) -> ByteStream {
    let pieces: Vec<_> =
        bytes.chunks(64 * 1024).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    checked(Box::pin(futures::stream::iter(pieces)), expected.len() as u64, sha256(expected))
}

async fn read(results: &Results, location: &str, range: std::ops::Range<u64>) -> Vec<u8> {
    let pieces: Vec<Bytes> =
        results.stored_at(location).read(range).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

async fn keeps_what_it_is_given(results: &Results) {
    results.check().await.unwrap();
    // In one piece, at the bound, and in three parts.
    for length in [1, 32_769, 8 << 20, (20 << 20) + 7] {
        let bytes = bytes(length);
        let place = location("team", "uid-1", 1, &sha256(&bytes));
        assert_eq!(results.length(&place).await.unwrap(), None);
        results.put(&place, stream(&bytes, &bytes)).await.unwrap();
        // Again, as a worker does that did not hear the answer.
        results.put(&place, stream(&bytes, &bytes)).await.unwrap();
        assert_eq!(results.length(&place).await.unwrap(), Some(length as u64));
        assert!(read(results, &place, 0..length as u64).await == bytes, "{length}");
        let part = (length as u64 / 3)..(length as u64 / 3 * 2).max(1);
        let expected = &bytes[part.start as usize..part.end as usize];
        assert!(read(results, &place, part).await == expected, "{length}");
    }
}

async fn keeps_logs_beside_results(results: &Results) {
    let place = log_location("team", "uid-log", 2);
    for log in [b"begun\n".to_vec(), bytes(1 << 20)] {
        results.put_log(&place, stream(&log, &log)).await.unwrap();
        let length = log.len() as u64;
        assert_eq!(results.length(&place).await.unwrap(), Some(length));
        assert!(read(results, &place, 0..length).await == log);
    }
    let wrong = results.put_log(&place, stream(b"torn", b"whole")).await;
    assert!(matches!(wrong, Err(Failed::Content(_))));
    assert_eq!(results.length(&place).await.unwrap(), Some(1 << 20));
    assert!(results.jobs("team").await.unwrap().contains("uid-log"));
    // It goes with the results of its job.
    let result = location("team", "uid-log", 2, &sha256(b"result"));
    results.put(&result, stream(b"result", b"result")).await.unwrap();
    assert_eq!(results.forget("team", "uid-log").await.unwrap(), 2);
    assert_eq!(results.length(&place).await.unwrap(), None);
}

/// Functions of two namespaces that send a byte now and then, by the token of their worker.
#[tokio::test]
async fn logs_that_come_slowly_hold_up_others_for_seconds_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let results = Results::open(&format!("file://{}", directory.path().display())).unwrap();
    let place = |namespace: &str, number| log_location(namespace, "uid-slow", number);
    let slow = || -> ByteStream {
        let bytes = futures::stream::repeat_with(|| Ok(Bytes::from_static(b"x")));
        Box::pin(bytes.then(async |byte| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            byte
        }))
    };
    let begun = Instant::now();
    let all = ["a", "b"].into_iter().flat_map(|namespace| (0..12).map(move |n| (namespace, n)));
    let putting: Vec<_> = all
        .map(|(namespace, number)| {
            let (results, place, slow) = (results.clone(), place(namespace, number), slow());
            tokio::spawn(async move { results.put_log(&place, slow).await })
        })
        .collect();
    // Samples are not held up by them.
    let samples = usage_location("a", "uid-slow", 1);
    results.put_samples(&samples, stream(b"[]", b"[]")).await.unwrap();
    let (mut cut, mut busy) = (0, 0);
    for put in putting {
        match put.await.unwrap().unwrap_err() {
            Failed::Content(error) if error.kind() == io::ErrorKind::TimedOut => cut += 1,
            Failed::Store(Error::Busy { .. }) => busy += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((cut, busy), (16, 8));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    results.put_log(&place("a", 1), stream(b"log", b"log")).await.unwrap();
    assert_eq!(results.length(&place("b", 1)).await.unwrap(), None);
}

async fn keeps_nothing_of_what_is_wrong(results: &Results) {
    let bytes = bytes(20 << 20);
    let place = location("team", "uid-2", 1, &sha256(&bytes));
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    let failed = results.put(&place, stream(&other, &bytes)).await.unwrap_err();
    assert!(
        matches!(&failed, Failed::Content(e) if e.kind() == io::ErrorKind::InvalidData),
        "{failed}"
    );
    let failed = results.put(&place, stream(&bytes[1..], &bytes)).await.unwrap_err();
    assert!(
        matches!(&failed, Failed::Content(e) if e.kind() == io::ErrorKind::UnexpectedEof),
        "{failed}"
    );
    assert_eq!(results.length(&place).await.unwrap(), None);
    results.tidy().await.unwrap();
    assert!(results.jobs("team").await.unwrap().iter().all(|uid| uid != "uid-2"));
    let Err(missing) = results.stored_at(&place).read(0..1).await else {
        panic!("there is something")
    };
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
}

async fn forgets_a_job(results: &Results) {
    let small = bytes(10);
    let place = |namespace, uid| location(namespace, uid, 1, &sha256(&small));
    for (namespace, uid) in [("a", "1"), ("a", "2"), ("b", "1")] {
        results.put(&place(namespace, uid), stream(&small, &small)).await.unwrap();
    }
    assert_eq!(results.jobs("a").await.unwrap().into_iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(results.forget_old("a", "1").await.unwrap(), 0, "it is young");
    assert_eq!(results.forget("a", "1").await.unwrap(), 1);
    assert_eq!(results.forget("a", "1").await.unwrap(), 0);
    assert_eq!(results.length(&place("a", "1")).await.unwrap(), None);
    assert_eq!(results.jobs("a").await.unwrap().into_iter().collect::<Vec<_>>(), ["2"]);
    let namespaces = results.namespaces().await.unwrap();
    assert!(["a", "b"].iter().all(|n| namespaces.iter().any(|found| found == n)), "{namespaces:?}");
}

#[tokio::test]
async fn a_directory_keeps_results() {
    let directory = tempfile::tempdir().unwrap();
    let results = Results::open(&format!("file://{}", directory.path().display())).unwrap();
    keeps_what_it_is_given(&results).await;
    keeps_logs_beside_results(&results).await;
    keeps_nothing_of_what_is_wrong(&results).await;
    forgets_a_job(&results).await;
    let mut stack = vec![directory.path().to_owned()];
    while let Some(path) = stack.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.to_string_lossy().contains('#'), "an upload is left: {}", path.display());
            if path.is_dir() {
                stack.push(path);
            }
        }
    }
}

#[tokio::test]
async fn what_is_old_and_unknown_is_swept() {
    let directory = tempfile::tempdir().unwrap();
    let results = Results::open(&format!("file://{}", directory.path().display())).unwrap();
    let small = bytes(10);
    let place = location("a", "1", 1, &sha256(&small));
    results.put(&place, stream(&small, &small)).await.unwrap();
    let file = File::options().write(true).open(directory.path().join(&place)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3601)).unwrap();
    // A volume has what is not ours.
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    results.check().await.unwrap();
    assert_eq!(results.namespaces().await.unwrap(), ["a"]);
    assert_eq!(results.forget_old("a", "1").await.unwrap(), 1);
    results.tidy().await.unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_bucket_keeps_results() {
    let s3 = S3::start();
    let results = s3.results("some/prefix");
    keeps_what_it_is_given(&results).await;
    keeps_logs_beside_results(&results).await;
    keeps_nothing_of_what_is_wrong(&results).await;
    forgets_a_job(&results).await;
    assert!(!s3.uploads().await.contains("<UploadId>"), "an upload is left");
    // Another prefix of the same bucket is another place.
    assert_eq!(s3.results("other").namespaces().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_whose_caller_goes_is_taken_back_and_a_namespace_has_no_more_than_three() {
    let s3 = S3::start();
    let results = s3.results("");
    // Uploads that have begun and do not go on.
    let (mut senders, mut puts) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let (sender, receiver) = futures::channel::mpsc::channel::<io::Result<Bytes>>(1);
        senders.push(sender);
        let (results, place) = (results.clone(), location("a", "1", number, &sha256(b"x")));
        puts.push(tokio::spawn(async move { results.put(&place, Box::pin(receiver)).await }));
    }
    for sender in &mut senders {
        // More than a part, so that each is under way in the bucket.
        sender.send(Ok(bytes(9 << 20).into())).await.unwrap();
    }
    let bounded = Instant::now() + Duration::from_secs(20);
    while s3.uploads().await.matches("<UploadId>").count() < 3 {
        assert!(Instant::now() < bounded, "no upload is under way");
    }
    let place = location("a", "2", 1, &sha256(b"x"));
    let failed = results.put(&place, stream(b"x", b"x")).await.unwrap_err();
    assert!(matches!(failed, Failed::Store(Error::Busy { .. })), "{failed}");
    for put in puts {
        put.abort();
    }
    for mut sender in senders {
        sender.send(Err(io::ErrorKind::ConnectionReset.into())).await.unwrap();
    }
    while s3.uploads().await.contains("<UploadId>") {
        assert!(Instant::now() < bounded, "an upload is left");
    }
    while let Err(error) = results.put(&place, stream(b"x", b"x")).await {
        assert!(matches!(error, Failed::Store(Error::Busy { .. })), "{error}");
        assert!(Instant::now() < bounded, "the places are not given back");
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_said_within_bounds() {
    let s3 = S3::start();
    let results = s3.results("");
    drop(s3);
    let began = Instant::now();
    let small = bytes(10);
    let failed = results.put("a/1/1-x", stream(&small, &small)).await.unwrap_err();
    assert!(matches!(failed, Failed::Store(Error::Unavailable { .. })), "{failed}");
    assert!(results.check().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test]
async fn bytes_that_their_readers_check_are_not_signed_unless_told_so() {
    let signed = sha256(b"x");
    let told: [(&[_], _); 2] =
        [(&[], "UNSIGNED-PAYLOAD"), (&[("AWS_UNSIGNED_PAYLOAD", "false")], &signed)];
    for (more, said) in told {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let results = results_at(&listener.local_addr().unwrap().to_string(), "", more);
        let answered = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\nx") {
                assert!(socket.read_buf(&mut asked).await.unwrap() > 0, "the request breaks off");
            }
            let answer = b"HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer).await.unwrap();
            String::from_utf8(asked).unwrap()
        };
        let (put, asked) = tokio::join!(results.put("a/1/1-x", stream(b"x", b"x")), answered);
        put.unwrap();
        assert!(asked.contains(&format!("x-amz-content-sha256: {said}\r\n")), "{asked}");
    }
}
