//! What the rings share.

pub(crate) mod cluster;
pub(crate) mod http;
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The windlass program that was built beside this test.
pub(crate) fn windlass() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/TRIPLE/PROFILE/deps/rings-HASH -> target/TRIPLE/PROFILE/windlass
    let path = test.parent().unwrap().parent().unwrap().join("windlass");
    assert!(path.is_file(), "{} is missing: cargo build --release", path.display());
    path
}

/// The top of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Runs windlass in the top of the checkout and waits for its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(windlass()).args(arguments).current_dir(checkout()).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `probe` gives something, at most `limit`; fails with what it was waiting for.
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
