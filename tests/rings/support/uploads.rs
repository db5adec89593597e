//! Uploads to a server that is killed meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use windlass_core::result::sha256;

use super::eventually;
use super::http::Client;

/// Uploads of one life of a server.
pub(crate) const UPLOADS: usize = 500;

/// One of them.
pub(crate) fn upload(life: usize, n: usize) -> Vec<u8> {
    format!("{life} {n} ").repeat(3_000 + n).into_bytes()
}

/// Uploads to a server that is killed meanwhile, once `kill` has seen so many acknowledged as it likes; those that were.
pub(crate) fn upload_until_killed(
    client: &Client,
    life: usize,
    kill: impl FnOnce(&AtomicUsize),
) -> Vec<Vec<u8>> {
    let acknowledged = AtomicUsize::new(0);
    let is_stored = |n: &usize| {
        let bytes = upload(life, *n);
        let path = format!("/v1/namespaces/{}/blobs/sha256:{}", client.namespace, sha256(&bytes));
        let stored = client.try_send("PUT", &path, &[], &bytes);
        let is_stored = stored.is_ok_and(|answer| answer.status == 201);
        acknowledged.fetch_add(usize::from(is_stored), Ordering::Relaxed);
        is_stored
    };
    let known = std::thread::scope(|scope| {
        let is_stored = &is_stored;
        let part = |part| {
            let mine = (0..UPLOADS).filter(move |n| n % 10 == part);
            scope.spawn(move || mine.take_while(is_stored).collect::<Vec<_>>())
        };
        let uploads: Vec<_> = (0..10).map(part).collect();
        kill(&acknowledged);
        uploads.into_iter().flat_map(|part| part.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(known.len() < UPLOADS, "the server was killed too late");
    known.into_iter().map(|n| upload(life, n)).collect()
}

/// Waits until so many uploads were acknowledged.
pub(crate) fn acknowledges(acknowledged: &AtomicUsize, some: usize) {
    eventually("some are stored", Duration::from_secs(60), || {
        (acknowledged.load(Ordering::Relaxed) > some).then_some(())
    });
}
