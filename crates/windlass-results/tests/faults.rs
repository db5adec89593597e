//! Stores that are full, or go away in the middle of an upload.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt as _;
use windlass_core::Error;
use windlass_core::blobs::{BlobSink as _, NewBlob, NotStored};
use windlass_core::result::{location, sha256};
use windlass_results::Failed;

use crate::blobs::{Directory, NAMESPACE, named, read, store};
use crate::s3::S3;
use crate::{bytes, stream};

/// A directory on a file system of 16 MiB.
struct SmallDisk(Directory);

impl SmallDisk {
    /// None where nobody may mount one.
    #[allow(clippy::print_stdout, reason = "it says that nothing is tested, and why")]
    fn mount() -> Option<Self> {
        let directory = Directory::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "mode=0700,size=16m", "windlass-test"]);
        let mounted = mount.arg(directory.root.path()).output().unwrap();
        if !mounted.status.success() {
            println!("not tested, no mount: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        Some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.root.path()).status();
        // A test that fails says why itself.
        assert!(std::thread::panicking() || unmounted.unwrap().success());
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. }) && error.to_string().contains("is full")
}

#[tokio::test]
async fn a_full_directory_says_so_keeps_nothing_of_it_and_takes_the_next() {
    let Some(SmallDisk(directory)) = &SmallDisk::mount() else { return };
    let results = &directory.results;
    let large = bytes(20 << 20);
    for new in [named(&large), NewBlob::default()] {
        let refused = store(results, new, &large).await.unwrap_err();
        assert!(matches!(&refused, NotStored::Failed(error) if is_full(error)), "{refused}");
        assert_eq!(directory.files(), [] as [PathBuf; 0]);
    }
    let place = location(NAMESPACE, "uid-1", 1, &sha256(&large));
    let refused = results.put(&place, stream(&large, &large)).await.unwrap_err();
    assert!(matches!(&refused, Failed::Store(error) if is_full(error)), "{refused}");
    assert_eq!(directory.files(), [] as [PathBuf; 0]);
    let fits = &large[..8 << 20];
    store(results, named(fits), fits).await.unwrap();
    assert!(read(results, &sha256(fits)).await.unwrap() == fits);
}

#[tokio::test]
async fn a_store_that_goes_away_in_the_middle_of_an_upload_is_said_within_bounds() {
    let s3 = S3::start();
    let results = s3.results("");
    let long = bytes(20 << 20);
    let (mut sender, receiver) = futures::channel::mpsc::channel(0);
    let upload = tokio::spawn({
        let (results, new) = (results.clone(), named(&long));
        async move { results.store(NAMESPACE, &new, Box::pin(receiver)).await }
    });
    let (first, rest) = long.split_at(12 << 20);
    sender.send(Ok(Bytes::copy_from_slice(first))).await.unwrap();
    let bounded = Instant::now() + Duration::from_secs(40);
    while !s3.uploads().await.contains("<UploadId>") {
        assert!(Instant::now() < bounded, "no upload begins");
    }
    assert!(matches!(read(&results, &sha256(&long)).await, Err(Error::NotFound { .. })));
    drop(s3);
    // Who is told so in the middle sends no more.
    drop(sender.send(Ok(Bytes::copy_from_slice(rest))).await);
    drop(sender);
    let refused = upload.await.unwrap().unwrap_err();
    assert!(matches!(refused, NotStored::Failed(Error::Unavailable { .. })), "{refused}");
    assert!(Instant::now() < bounded);
}
