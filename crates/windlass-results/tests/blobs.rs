//! Blobs in the stores.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt as _;
use serde_json::json;
use windlass_core::blobs::{BlobSink as _, Blobs as _, NewBlob, NotStored, StoredBlob};
use windlass_core::result::{ByteStream, sha256};
use windlass_core::{Error, JobSpec};
use windlass_results::Results;

use crate::bytes;
use crate::s3::S3;

pub(crate) const NAMESPACE: &str = "team";

fn stream(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<_> =
        bytes.chunks(64 * 1024).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(futures::stream::iter(pieces))
}

pub(crate) async fn store(
    results: &Results,
    new: NewBlob,
    bytes: &[u8],
) -> Result<StoredBlob, NotStored> {
    results.store(NAMESPACE, &new, stream(bytes)).await
}

pub(crate) fn named(bytes: &[u8]) -> NewBlob {
    NewBlob { sha256: Some(sha256(bytes)), ..NewBlob::default() }
}

pub(crate) async fn read(results: &Results, digest: &str) -> Result<Vec<u8>, Error> {
    let found = results.read(NAMESPACE, digest).await?;
    let whole = 0..found.bytes;
    if whole.is_empty() {
        return Ok(Vec::new());
    }
    let pieces: Vec<Bytes> = found.read(whole).await?.try_collect().await.unwrap();
    Ok(pieces.concat())
}

fn job(input: &[u8], media_type: &str, length: usize) -> JobSpec {
    let blob = json!({ "sha256": sha256(input), "bytes": length, "mediaType": media_type });
    serde_json::from_value(json!({ "function": "f", "inputBlob": blob, "files": { "a": blob } }))
        .unwrap()
}

async fn keeps_what_it_is_sent(results: &Results) {
    for length in [0, 1, (20 << 20) + 7] {
        let bytes = bytes(length);
        for (new, is_known) in
            [(named(&bytes), false), (named(&bytes), true), (NewBlob::default(), true)]
        {
            let stored = store(results, new, &bytes).await.unwrap();
            assert_eq!((stored.blob.sha256, stored.blob.bytes), (sha256(&bytes), length as u64));
            assert_eq!(stored.is_known, is_known, "{length}");
        }
        assert!(read(results, &sha256(&bytes)).await.unwrap() == bytes, "{length}");
    }
    let nameless = store(results, NewBlob::default(), b"nameless").await.unwrap();
    assert!(!nameless.is_known);
    assert_eq!(read(results, &sha256(b"nameless")).await.unwrap(), b"nameless");
    // Of what is there, nothing is asked for.
    let waits = NewBlob { waits: true, ..named(b"nameless") };
    assert!(store(results, waits, b"").await.unwrap().is_known);
    let elsewhere = results.read("other", &sha256(b"nameless")).await;
    assert!(matches!(elsewhere.err(), Some(Error::NotFound { .. })));
}

async fn keeps_nothing_of_what_is_wrong(results: &Results) {
    let long = bytes(20 << 20);
    let refused = store(results, named(&long), &long[1..]).await.unwrap_err();
    assert!(matches!(refused, NotStored::Failed(Error::Invalid(_))), "{refused}");
    for new in [named(&long), NewBlob::default()] {
        let small = NewBlob { max_bytes: Some(10 << 20), ..new };
        let refused = store(results, small, &long).await.unwrap_err();
        assert!(matches!(refused, NotStored::TooLarge(most) if most == 10 << 20), "{refused}");
    }
    let broken = stream(&long[..9 << 20]);
    let broken = futures::StreamExt::chain(
        broken,
        futures::stream::iter([Err(io::ErrorKind::TimedOut.into())]),
    );
    let refused = results.store(NAMESPACE, &named(&long), Box::pin(broken)).await.unwrap_err();
    assert!(
        matches!(&refused, NotStored::Content(error) if error.kind() == io::ErrorKind::TimedOut),
        "{refused}"
    );
    let json = NewBlob { is_json: true, ..NewBlob::default() };
    let refused = store(results, json, br#"{"a":1,"a":2}"#).await.unwrap_err();
    assert!(matches!(refused, NotStored::Malformed(_)), "{refused}");
    for digest in [sha256(&long), sha256(br#"{"a":1,"a":2}"#)] {
        assert!(matches!(read(results, &digest).await, Err(Error::NotFound { .. })));
    }
}

async fn holds_what_jobs_name(results: &Results) {
    let pointers = |held: Result<(), Error>| match held {
        Ok(()) => Vec::new(),
        Err(Error::Invalid(problems)) => problems.into_iter().map(|p| p.pointer).collect(),
        Err(error) => panic!("{error}"),
    };
    let twice = br#"{"a":1,"a":2}"#;
    for bytes in [&b"[1, 2]"[..], twice] {
        store(results, named(bytes), bytes).await.unwrap();
    }
    let held = async |spec: JobSpec| pointers(results.hold_blobs(NAMESPACE, &spec).await);
    // The second time what was found is known.
    for _ in 0..2 {
        assert_eq!(held(job(b"[1, 2]", "application/json", 6)).await, [""; 0]);
        assert_eq!(held(job(twice, "application/json", 13)).await, ["/inputBlob"]);
    }
    assert_eq!(held(job(twice, "text/plain", 13)).await, [""; 0]);
    assert_eq!(held(job(b"[1, 2]", "a/b", 7)).await, ["/inputBlob/bytes", "/files/a/bytes"]);
    assert_eq!(held(job(b"missing", "a/b", 7)).await, ["/inputBlob/sha256", "/files/a/sha256"]);
}

/// Whether a quota of this name refuses it, with these numbers.
fn assert_over(refused: Result<StoredBlob, NotStored>, name: &str, requested: u64, used: u64) {
    let refused = refused.unwrap_err();
    let words =
        format!("exceeded quota: {name}, requested: {requested} bytes, used: {used}, limited: ");
    assert!(
        matches!(&refused, NotStored::Failed(Error::Refused(why)) if why.starts_with(&words)),
        "{refused}"
    );
}

/// Two gateways of one store, of which neither knows what the other has taken.
async fn keeps_quotas(results: Results) {
    let gateways = [(); 2].map(|()| results.clone().with_blob_quotas(Some(100), Some(150)));
    let [one, other] = &gateways;
    for (gateway, byte) in [(one, b'a'), (other, b'b')] {
        store(gateway, NewBlob::default(), &[byte; 40]).await.unwrap();
    }
    for new in [named(&[b'c'; 30]), NewBlob::default()] {
        assert_over(store(one, new, &[b'c'; 30]).await, "namespace-blob-quota", 30, 80);
    }
    // What is announced is refused before it comes, and what is there already needs no room.
    let announced = NewBlob { announced: Some(21), ..NewBlob::default() };
    let never = Box::pin(futures::stream::pending());
    let refused = other.store(NAMESPACE, &announced, never).await;
    assert_over(refused, "namespace-blob-quota", 21, 80);
    assert!(store(other, named(&[b'a'; 40]), &[b'a'; 40]).await.unwrap().is_known);
    store(other, named(&[b'c'; 20]), &[b'c'; 20]).await.unwrap();
    // All namespaces together have a bound of their own.
    let elsewhere = |bytes: &'static [u8]| {
        one.store(
            "other",
            const {
                &NewBlob {
                    sha256: None,
                    max_bytes: None,
                    is_json: false,
                    waits: false,
                    announced: None,
                }
            },
            stream(bytes),
        )
    };
    assert_over(elsewhere(&[b'd'; 51]).await, "blob-quota", 51, 100);
    elsewhere(&[b'd'; 50]).await.unwrap();
    assert!(matches!(read(one, &sha256(&[b'c'; 30])).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_bucket_keeps_quotas() {
    let s3 = S3::start();
    keeps_quotas(s3.results("some/prefix")).await;
    assert!(!s3.uploads().await.contains("<UploadId>"), "an upload is left");
}

#[tokio::test]
async fn a_directory_keeps_quotas() {
    let store = Directory::new();
    keeps_quotas(store.results.clone()).await;
    assert_eq!(store.files().len(), 4, "{:?}", store.files());
}

#[tokio::test]
async fn an_upload_whose_caller_has_gone_counts_until_it_is_collected() {
    let store = Directory::new();
    let results = store.results.clone().with_blob_quotas(Some(100), None);
    let left = store.root.path().join(NAMESPACE).join("_uploads");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("0123456789abcdef0123456789abcdef"), [0; 90]).unwrap();
    let bytes = [b'a'; 20];
    let refused = super::blobs::store(&results, named(&bytes), &bytes).await;
    assert_over(refused, "namespace-blob-quota", 20, 90);
    make_old(&left.join("0123456789abcdef0123456789abcdef"), HOUR);
    store.collect(&[]).await;
    super::blobs::store(&results, named(&bytes), &bytes).await.unwrap();
}

#[tokio::test]
async fn what_exceeds_a_quota_is_at_most_what_was_under_way() {
    let store = Directory::new();
    let results = store.results.clone().with_blob_quotas(Some(1_000), None);
    let uploads = (0..60_u8).map(|byte| {
        let (results, bytes) = (results.clone(), [byte; 100]);
        let new = if byte % 2 == 0 { named(&bytes) } else { NewBlob::default() };
        async move { super::blobs::store(&results, new, &bytes).await }
    });
    let ends = futures::future::join_all(uploads).await;
    let stored = ends.iter().filter(|end| end.is_ok()).count();
    // Three at a time of one namespace.
    assert!((10..=12).contains(&stored), "{stored}");
}

#[tokio::test]
async fn a_bucket_keeps_blobs() {
    let s3 = S3::start();
    let results = s3.results("some/prefix");
    keeps_what_it_is_sent(&results).await;
    keeps_nothing_of_what_is_wrong(&results).await;
    holds_what_jobs_name(&results).await;
    assert!(!s3.uploads().await.contains("<UploadId>"), "an upload is left");
    // They are no results of a job.
    assert!(results.jobs(NAMESPACE).await.unwrap().is_empty());
}

/// A directory as a store, with times that a test can change.
pub(crate) struct Directory {
    pub(crate) root: tempfile::TempDir,
    pub(crate) results: Results,
}

impl Directory {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let results = Results::open(&format!("file://{}", root.path().display())).unwrap();
        Self { root, results }
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.root.path().join(NAMESPACE).join("_blobs").join(sha256(bytes))
    }

    /// All files of a blob, each so long ago.
    fn age(&self, bytes: &[u8], age: Duration) {
        for entry in fs::read_dir(self.blob(bytes)).unwrap() {
            make_old(&entry.unwrap().path(), age);
        }
    }

    async fn collect(&self, needed: &[&[u8]]) -> usize {
        let needed: HashSet<String> = needed.iter().map(|bytes| sha256(bytes)).collect();
        self.results.collect_blobs(NAMESPACE, async { Ok(needed) }).await.unwrap()
    }

    /// Files, at any depth.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut left) = (Vec::new(), vec![self.root.path().to_owned()]);
        while let Some(path) = left.pop() {
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { left.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

fn make_old(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

const HOUR: Duration = Duration::from_secs(3_601);

#[tokio::test]
async fn a_directory_keeps_blobs() {
    let store = Directory::new();
    keeps_what_it_is_sent(&store.results).await;
    keeps_nothing_of_what_is_wrong(&store.results).await;
    holds_what_jobs_name(&store.results).await;
    for file in store.files() {
        let path = file.to_string_lossy();
        assert!(!path.contains('#') && !path.contains("_uploads"), "{path}");
    }
}

#[tokio::test]
async fn a_blob_that_nobody_needs_is_gone_after_an_hour() {
    let store = Directory::new();
    let all: [&[u8]; 4] = [b"young", b"old", b"needed", b"used"];
    for bytes in all {
        super::blobs::store(&store.results, named(bytes), bytes).await.unwrap();
    }
    for bytes in &all[1..] {
        store.age(bytes, HOUR);
    }
    // Whoever asks for it, or sends it again, may name it.
    assert_eq!(read(&store.results, &sha256(b"used")).await.unwrap(), b"used");
    assert_eq!(store.collect(&[b"needed"]).await, 1);
    assert!(!store.blob(b"old").exists(), "nothing of it is left");
    for bytes in [&b"young"[..], b"needed", b"used"] {
        assert_eq!(read(&store.results, &sha256(bytes)).await.unwrap(), bytes);
    }
    // What was left half named goes as well.
    let nameless = store.root.path().join(NAMESPACE).join("_uploads/left");
    fs::create_dir_all(nameless.parent().unwrap()).unwrap();
    fs::write(&nameless, "left").unwrap();
    assert_eq!(store.collect(&[]).await, 0);
    assert!(nameless.exists());
    make_old(&nameless, HOUR);
    store.collect(&[]).await;
    assert!(!nameless.exists());
}

#[tokio::test]
async fn a_blob_that_may_be_going_is_neither_named_nor_sent() {
    let store = Directory::new();
    super::blobs::store(&store.results, named(b"x"), b"x").await.unwrap();
    // A collection that looks at it now, or was killed.
    let mark = store.blob(b"x").join("deleting-1");
    fs::write(&mark, "").unwrap();
    let is_unavailable = |error: Error| matches!(error, Error::Unavailable { .. });
    assert!(is_unavailable(
        store.results.hold_blobs(NAMESPACE, &job(b"x", "a/b", 1)).await.unwrap_err()
    ));
    assert!(is_unavailable(read(&store.results, &sha256(b"x")).await.unwrap_err()));
    for new in [named(b"x"), NewBlob::default()] {
        let refused = super::blobs::store(&store.results, new, b"x").await.unwrap_err();
        assert!(matches!(refused, NotStored::Failed(Error::Unavailable { .. })), "{refused}");
    }
    store.collect(&[]).await;
    assert!(mark.exists(), "it may go on");
    make_old(&mark, Duration::from_secs(601));
    store.collect(&[]).await;
    assert_eq!(read(&store.results, &sha256(b"x")).await.unwrap(), b"x");
}

/// Bytes that come so slowly for ever.
fn trickle() -> ByteStream {
    Box::pin(futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok(Bytes::from_static(b"x")), ()))
    }))
}

#[tokio::test]
async fn slow_uploads_give_their_turn_to_those_that_wait() {
    let mut store = Directory::new();
    store.results = store.results.with_turn(Duration::from_secs(1));
    let slow = |results: Results| async move {
        results.store(NAMESPACE, &NewBlob::default(), trickle()).await
    };
    // As many as one namespace may have at a time.
    let all: Vec<_> = (0..3).map(|_| tokio::spawn(slow(store.results.clone()))).collect();
    // As long as nobody waits they may go on.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(all.iter().all(|upload| !upload.is_finished()));
    let stored = super::blobs::store(&store.results, named(b"x"), b"x").await.unwrap();
    assert!(!stored.is_known);
    for upload in all {
        if upload.is_finished() {
            let refused = upload.await.unwrap().unwrap_err();
            assert!(
                matches!(&refused, NotStored::Content(error) if error.kind() == io::ErrorKind::TimedOut),
                "{refused}"
            );
        } else {
            upload.abort();
        }
    }
}
