//! Garbage collection: deletes the results that no job has any more. Their jobs were deleted, by whomever and
//! however, or the report of their attempt was refused.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use object_store::path::Path;
use windlass_core::{Error, name};

use crate::{Results, directory, unavailable};

/// Bytes that are younger than this may belong to a job that is newer than the list of jobs.
pub(crate) const YOUNG: Duration = Duration::from_secs(3600);

impl Results {
    /// The namespaces of which something is stored.
    pub async fn namespaces(&self) -> Result<Vec<String>, Error> {
        self.names_in(None).await
    }

    /// UIDs of the jobs of a namespace of which something is stored.
    pub async fn jobs(&self, namespace: &str) -> Result<BTreeSet<String>, Error> {
        Ok(self.names_in(Some(&Path::from(namespace))).await?.into_iter().collect())
    }

    /// The names below a prefix that a namespace or a job can have. The root of a volume has others, such
    /// as `lost+found`.
    async fn names_in(&self, prefix: Option<&Path>) -> Result<Vec<String>, Error> {
        let found = self.store.list_with_delimiter(prefix).await;
        let found = found.map_err(|error| unavailable(&error))?;
        let names = found.common_prefixes.iter().filter_map(Path::filename);
        Ok(names.filter(|name| name::problem(name).is_none()).map(str::to_owned).collect())
    }

    /// Deletes what is stored of a job that is no more. How many objects there were.
    pub async fn forget(&self, namespace: &str, job_uid: &str) -> Result<usize, Error> {
        self.delete(namespace, job_uid, Duration::ZERO).await
    }

    /// The same of a job that a list of jobs did not have: what was stored within the last hour stays.
    pub async fn forget_old(&self, namespace: &str, job_uid: &str) -> Result<usize, Error> {
        self.delete(namespace, job_uid, YOUNG).await
    }

    async fn delete(&self, namespace: &str, uid: &str, age: Duration) -> Result<usize, Error> {
        let prefix = Path::from_iter([namespace, uid]);
        let found: Vec<_> =
            self.store.list(Some(&prefix)).try_collect().await.map_err(|e| unavailable(&e))?;
        let now = SystemTime::now();
        let is_young = |object: &object_store::ObjectMeta| {
            let stored = SystemTime::from(object.last_modified);
            !age.is_zero() && now.duration_since(stored).unwrap_or_default() < age
        };
        if found.iter().any(is_young) {
            return Ok(0);
        }
        for object in &found {
            self.delete_object(&object.location).await?;
        }
        Ok(found.len())
    }

    /// Deletes what uploads have left in a directory that were never finished: their gateway was killed.
    pub async fn tidy(&self) -> Result<(), Error> {
        let Some(root) = self.directory.clone() else { return Ok(()) };
        let tidied = tokio::task::spawn_blocking(move || directory::tidy(&root));
        let tidied = tidied.await.map_err(|error| Error::Bug(error.to_string()))?;
        tidied.map_err(|error| Error::unavailable(format!("the results' directory: {error}")))
    }
}
