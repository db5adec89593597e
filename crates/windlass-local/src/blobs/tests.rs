//! What becomes of blobs: whole or not at all, and not longer than they are needed.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use windlass_core::blobs::{NewBlob, NotStored, StoredBlob};
use windlass_core::result::sha256;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn after(minutes: i64) -> Timestamp {
    now() + SignedDuration::from_mins(minutes)
}

fn open(data: &TempDir) -> Arc<BlobDirectory> {
    Arc::new(BlobDirectory::open(data.path(), true).unwrap())
}

fn send(
    blobs: &Arc<BlobDirectory>,
    bytes: &'static [u8],
    new: &NewBlob,
) -> Result<StoredBlob, NotStored> {
    let mut upload = Upload::begin(blobs).unwrap();
    upload.write(&[Bytes::from_static(bytes)]).unwrap();
    upload.finish(new, now())
}

fn unfinished(data: &TempDir) -> usize {
    fs::read_dir(data.path().join("blobs/new")).unwrap().count()
}

#[test]
fn a_blob_is_there_whole_once_it_is_finished_and_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let blobs = open(&data);
    let digest = sha256(b"bytes");
    let mut upload = Upload::begin(&blobs).unwrap();
    upload.write(&[Bytes::from_static(b"by")]).unwrap();
    assert_eq!((blobs.length(&digest), blobs.bytes(), unfinished(&data)), (None, 2, 1));
    upload.write(&[Bytes::from_static(b"tes")]).unwrap();
    let stored = upload.finish(&NewBlob::default(), now()).unwrap();
    assert_eq!((stored.blob.sha256.as_str(), stored.blob.bytes), (digest.as_str(), 5));
    assert!(!stored.is_known);
    assert!(send(&blobs, b"bytes", &NewBlob::default()).unwrap().is_known);
    assert_eq!((blobs.bytes(), unfinished(&data)), (5, 0));
    // What a server that was killed has left.
    fs::write(data.path().join("blobs/new/half"), "by").unwrap();
    let blobs = open(&data);
    assert_eq!((blobs.length(&digest), blobs.bytes(), unfinished(&data)), (Some(5), 5, 0));
    assert_eq!(fs::read(blobs.path(&digest)).unwrap(), b"bytes");
}

#[test]
fn what_is_not_as_it_should_be_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let blobs = open(&data);
    let other = NewBlob { sha256: Some(sha256(b"other")), ..NewBlob::default() };
    let Err(NotStored::Failed(Error::Invalid(problems))) = send(&blobs, b"bytes", &other) else {
        panic!()
    };
    assert_eq!(problems[0].pointer, "/sha256");
    let json = NewBlob { is_json: true, ..NewBlob::default() };
    let twice = send(&blobs, br#"{"a":1,"a":2}"#, &json);
    assert!(matches!(twice, Err(NotStored::Malformed(why)) if why.contains("twice")));
    drop(Upload::begin(&blobs).unwrap());
    assert_eq!((blobs.bytes(), unfinished(&data), blobs.lock().len()), (0, 0, 0));
}

#[test]
fn a_blob_goes_an_hour_after_nobody_needs_it() {
    let data = tempfile::tempdir().unwrap();
    let blobs = open(&data);
    for bytes in [&b"named"[..], b"held", b"left"] {
        send(&blobs, bytes, &NewBlob::default()).unwrap();
    }
    let named = || Ok(HashSet::from([sha256(b"named")]));
    assert_eq!(blobs.collect(after(59), named).unwrap(), 0);
    blobs.hold(&sha256(b"held"), after(59)).unwrap();
    // The times are known to the next server, too.
    let blobs = open(&data);
    assert_eq!(blobs.collect(after(60), named).unwrap(), 1);
    assert_eq!(blobs.length(&sha256(b"left")), None);
    assert!(!blobs.path(&sha256(b"left")).exists());
    assert_eq!(blobs.collect(after(118), named).unwrap(), 0);
    assert_eq!(blobs.collect(after(119), named).unwrap(), 1);
    assert_eq!(blobs.length(&sha256(b"named")), Some(5));
    // As long as the jobs cannot be listed, nothing goes.
    assert!(blobs.collect(after(1000), || Err(Error::unavailable("no"))).is_err());
    assert_eq!(blobs.collect(after(1000), || Ok(HashSet::new())).unwrap(), 1);
    assert_eq!(blobs.bytes(), 0);
}

#[test]
fn a_blob_that_was_deleted_by_hand_is_not_there() {
    let data = tempfile::tempdir().unwrap();
    let blobs = open(&data);
    send(&blobs, b"bytes", &NewBlob::default()).unwrap();
    fs::remove_file(blobs.path(&sha256(b"bytes"))).unwrap();
    assert_eq!(blobs.hold(&sha256(b"bytes"), now()).unwrap(), None);
    assert_eq!(blobs.bytes(), 0);
    assert!(!send(&blobs, b"bytes", &NewBlob::default()).unwrap().is_known);
}
