//! Opens the object store that the operator's URL names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

/// Why there is no store at a URL.
#[derive(Debug, thiserror::Error)]
pub enum InvalidStoreUrl {
    /// It is no URL of a store that we can use.
    #[error("{0:?} is neither s3://BUCKET/PREFIX nor file:///DIRECTORY")]
    Url(String),
    /// The directory is not there, or what the environment says does not go together.
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

/// Longest time to a connection, and for the store to say the next bytes.
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(30);
/// Tries after the first of a request that the store did not answer, and the time for all of them: a
/// worker that waits for the answer tries again itself.
const RETRIES: usize = 3;
const RETRY: Duration = Duration::from_secs(15);

/// The store, and its directory when it is one.
type OpenedStore = (Arc<dyn ObjectStore>, Option<PathBuf>);

pub(crate) fn open(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<OpenedStore, InvalidStoreUrl> {
    let invalid = || InvalidStoreUrl::Url(text.to_owned());
    let url = Url::parse(text).map_err(|_| invalid())?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
    match (url.scheme(), url.host_str()) {
        ("file", None) if plain => {
            let directory = url.to_file_path().map_err(|()| invalid())?;
            let store = LocalFileSystem::new_with_prefix(&directory)?
                .with_fsync(true)
                .with_automatic_cleanup(true);
            Ok((Arc::new(store), Some(directory)))
        }
        ("s3", Some(bucket)) if plain => {
            let prefix = Path::from_url_path(url.path()).map_err(|_| invalid())?;
            let settings = environment.into_iter().filter_map(|(name, value)| {
                let name = name.starts_with("AWS_").then(|| name.to_ascii_lowercase())?;
                Some((name.parse::<AmazonS3ConfigKey>().ok()?, value))
            });
            let mut options = ClientOptions::new()
                .with_connect_timeout(CONNECT)
                .with_read_timeout(SILENCE)
                // A large result takes as long as its reader takes.
                .with_timeout_disabled();
            let retry =
                RetryConfig { max_retries: RETRIES, retry_timeout: RETRY, ..Default::default() };
            // Whoever reads holds the bytes against their digest. A signature of theirs digests all of them once more, and
            // that is most of what an upload costs. AWS_UNSIGNED_PAYLOAD says otherwise.
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .with_unsigned_payload(true);
            for (key, value) in settings {
                match key {
                    AmazonS3ConfigKey::Client(key) => options = options.with_config(key, value),
                    key => builder = builder.with_config(key, value),
                }
            }
            let store = builder.with_client_options(options).build()?;
            Ok((Arc::new(PrefixStore::new(store, prefix)), None))
        }
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_store_is_refused() {
        for text in [
            "",
            "results",
            "/results",
            "http://x/y",
            "s3:///x",
            "file://host/x",
            "s3://b?x=1",
            "gs://b",
        ] {
            assert!(matches!(open(text, []), Err(InvalidStoreUrl::Url(_))), "{text}");
        }
        assert!(matches!(open("file:///is/not/there", []), Err(InvalidStoreUrl::Store(_))));
    }
}
