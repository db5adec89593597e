//! Sends blobs to a server, over its REST API.

use async_trait::async_trait;
use hyper::{Method, StatusCode};
use windlass_core::blob::Blob;
use windlass_core::blobs::{BlobReply, BlobSink, NewBlob, StoredBlob};
use windlass_core::result::ByteStream;
use windlass_core::{Error, Problem};

use super::http_client::{Client, RequestParts, UploadBody};

/// The blobs of a server.
#[derive(Clone)]
pub(crate) struct RestBlobs(pub(super) Client);

#[async_trait]
impl BlobSink for RestBlobs {
    /// Of bytes that are there already, nothing is sent.
    async fn store(&self, namespace: &str, new: &NewBlob, content: ByteStream) -> BlobReply {
        let (Some(sha256), Some(bytes)) = (&new.sha256, new.max_bytes) else {
            return Err(Error::Bug("length and digest of a file are known".into()).into());
        };
        let path = format!("/v1/namespaces/{namespace}/blobs/sha256:{sha256}");
        // Who may only send learns nothing by this, and sends.
        let is_known = self.0.status(Method::HEAD, &path).await? == StatusCode::OK;
        let upload = Some(UploadBody { bytes, content });
        let sent = RequestParts { upload, ..RequestParts::default() };
        let blob = match is_known {
            true => Blob { sha256: sha256.clone(), bytes },
            false => self.0.json(Method::PUT, &path, sent).await.map_err(no_blobs)?,
        };
        Ok(StoredBlob { blob, is_known })
    }
}

/// What a 404 means: nobody says whether there is such a namespace.
fn no_blobs(error: Error) -> Error {
    let why = "the server keeps no files and no large inputs, or not in this namespace: a cluster whose gateway has \
               no object store takes an input of at most 128 KiB of JSON";
    match error {
        Error::NotFound { .. } => Error::Invalid(vec![Problem::at("", why)]),
        other => other,
    }
}
