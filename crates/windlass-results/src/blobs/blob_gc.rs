//! Deletes blobs that nobody has used for an hour and that no job names, and what uploads have left that got no name.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};
use tracing::warn;
use uuid::Uuid;
use windlass_core::Error;

use super::{DELETING, DIRECTORY, Found, UPLOADS, path_of};
use crate::result_gc::YOUNG;
use crate::{Results, unavailable};

/// How long one collection may delete one blob.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collection that began to delete a blob so long ago is not at it any more.
const ABANDONED: Duration = Duration::from_secs(600);

/// Whether a collection that began then is not at it any more.
fn is_abandoned(since: SystemTime) -> bool {
    SystemTime::now().duration_since(since).unwrap_or_default() > ABANDONED
}

impl Results {
    /// Deletes the blobs of a namespace that nobody needs: `needed` gives the digests that jobs name, if it
    /// is asked. How many those were.
    /// Several gateways may do it at the same time.
    pub async fn collect_blobs(
        &self,
        namespace: &str,
        needed: impl Future<Output = Result<HashSet<String>, Error>>,
    ) -> Result<usize, Error> {
        self.collect_uploads(namespace).await?;
        let mut old = Vec::new();
        for (sha256, found) in self.blobs(namespace).await? {
            for (mark, _) in found.deleting.iter().filter(|(_, since)| is_abandoned(*since)) {
                self.delete_object(mark).await?;
            }
            if found.is_older(YOUNG) {
                old.push(sha256);
            }
        }
        if old.is_empty() {
            return Ok(0);
        }
        let needed = needed.await?;
        let mut deleted = 0;
        for sha256 in old.iter().filter(|sha256| !needed.contains(*sha256)) {
            deleted += usize::from(self.delete_blob(namespace, sha256).await?);
        }
        Ok(deleted)
    }

    /// All the blobs of a namespace, by their digests.
    async fn blobs(&self, namespace: &str) -> Result<BTreeMap<String, Found>, Error> {
        let mut blobs = BTreeMap::<String, Vec<ObjectMeta>>::new();
        for object in self.objects(namespace, DIRECTORY).await? {
            let directory = object.location.parts().rev().nth(1);
            let Some(sha256) = directory.map(|part| part.as_ref().to_owned()) else { continue };
            blobs.entry(sha256).or_default().push(object);
        }
        Ok(blobs
            .into_iter()
            .map(|(sha256, objects)| (sha256, Found::from_objects(objects)))
            .collect())
    }

    /// Deletes a blob, unless somebody has used it meanwhile.
    async fn delete_blob(&self, namespace: &str, sha256: &str) -> Result<bool, Error> {
        let id = Uuid::new_v4().simple().to_string();
        let mark = path_of(namespace, sha256, &format!("{DELETING}{id}"));
        self.put_empty(&mark).await?;
        // From here on nobody who looks takes it for one that stays.
        let began = Instant::now();
        let found = self.find(namespace, sha256).await?;
        let mut is_deleted = false;
        if found.is_older(YOUNG) {
            for object in &found.objects {
                if began.elapsed() > PATIENCE {
                    // Others may take this collection for abandoned, and the blob be sent anew.
                    warn!(blob = sha256, "a blob was not deleted in time");
                    return Ok(false);
                }
                self.delete_object(object).await?;
            }
            is_deleted = found.bytes.is_some();
        }
        self.delete_object(&mark).await?;
        Ok(is_deleted)
    }

    async fn collect_uploads(&self, namespace: &str) -> Result<(), Error> {
        for object in self.objects(namespace, UPLOADS).await? {
            if Found::from_objects([object.clone()]).is_older(YOUNG) {
                self.delete_object(&object.location).await?;
            }
        }
        Ok(())
    }

    async fn objects(&self, namespace: &str, directory: &str) -> Result<Vec<ObjectMeta>, Error> {
        let prefix = Path::from_iter([namespace, directory]);
        let found = self.store.list(Some(&prefix)).try_collect().await;
        found.map_err(|error| unavailable(&error))
    }
}
