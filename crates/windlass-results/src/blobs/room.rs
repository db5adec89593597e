//! Bounds of the bytes of blobs: of a namespace, and of all together.
//!
//! Nothing counts them but the store itself: each upload looks what is there once it has its turn. So several gateways
//! need not know of each other, and what exceeds a bound is at most what was under way at the same time.
//!
//! A gateway lists the blobs once at a time. Who comes meanwhile waits for the next list, which is then that of all who
//! wait.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::path::Path;
use tokio::time::Instant;
use windlass_core::Error;
use windlass_core::blobs::{NotStored, Quota};
use windlass_core::result::ByteStream;

use super::{BYTES, DIRECTORY, UPLOADS};
use crate::blob_quotas::{BlobQuotas, List};
use crate::{Results, unavailable};

/// What an upload may still take.
pub(super) struct Room {
    /// Each bound, and what is used of it.
    quotas: Vec<(Quota, u64)>,
}

impl Results {
    /// What may be stored of blobs of a namespace; `None` where nothing bounds it.
    pub(super) async fn room(&self, namespace: &str) -> Result<Option<Room>, Error> {
        let BlobQuotas { namespace: of_one, all: of_all, .. } = &*self.quotas;
        if of_one.is_none() && of_all.is_none() {
            return Ok(None);
        }
        let used = self.listed_bytes(namespace).await?;
        let of_namespace = used.get(namespace).copied().unwrap_or_default();
        let bounds = [(*of_one, of_namespace), (*of_all, used.values().sum())];
        let quotas = bounds.into_iter().filter_map(|(quota, used)| Some((quota?, used))).collect();
        Ok(Some(Room { quotas }))
    }

    /// Bytes of blobs by namespace, from a list that was begun after this was called.
    async fn listed_bytes(&self, namespace: &str) -> Result<Arc<BTreeMap<String, u64>>, Error> {
        let asked = Instant::now();
        let list = self.quotas.list_of(namespace);
        let mut list = list.lock().await;
        if let Some(list) = list.as_ref().filter(|list| list.begun >= asked) {
            return Ok(Arc::clone(&list.bytes));
        }
        let begun = Instant::now();
        let namespaces = match self.quotas.all {
            Some(_) => self.namespaces().await?,
            None => vec![namespace.to_owned()],
        };
        let mut found = BTreeMap::new();
        for namespace in namespaces {
            let bytes = self.blob_bytes(&namespace).await?;
            found.insert(namespace, bytes);
        }
        let bytes = Arc::new(found);
        *list = Some(List { begun, bytes: Arc::clone(&bytes) });
        Ok(bytes)
    }

    async fn blob_bytes(&self, namespace: &str) -> Result<u64, Error> {
        // Uploads without a name count as well: one whose caller has gone stays for an hour.
        let uploads = self.store.list(Some(&Path::from_iter([namespace, UPLOADS])));
        let blobs = self.store.list(Some(&Path::from_iter([namespace, DIRECTORY])));
        let blobs = blobs
            .try_filter(|object| std::future::ready(object.location.filename() == Some(BYTES)));
        let all = uploads.chain(blobs);
        let bytes = all.try_fold(0, async |sum, object| Ok(sum + object.size)).await;
        bytes.map_err(|error| unavailable(&error))
    }
}

impl Room {
    /// The same bytes, with an error in place of those for which there is no room. What is announced is refused at once.
    pub(super) fn bound(
        self,
        content: ByteStream,
        announced: Option<u64>,
    ) -> Result<ByteStream, Error> {
        self.check(announced.unwrap_or(1))?;
        let mut received = 0;
        Ok(Box::pin(content.map(move |piece| {
            let piece = piece?;
            received += piece.len() as u64;
            self.check(received).map_err(io::Error::other)?;
            Ok(piece)
        })))
    }

    fn check(&self, requested: u64) -> Result<(), Error> {
        self.quotas.iter().try_for_each(|(quota, used)| quota.check(*used, requested))
    }
}

/// Why bytes did not come, if it was that there was no room for them.
pub(super) fn refusal(error: io::Error) -> NotStored {
    match error.downcast::<Error>() {
        Ok(refused) => refused.into(),
        Err(error) => NotStored::Content(error),
    }
}
