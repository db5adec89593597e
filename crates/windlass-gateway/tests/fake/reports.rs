//! Where workers report.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use windlass_core::blobs::Blobs as _;
use windlass_core::jobs::{
    AssignReply, Denied, FetchReply, ReportError, Reports, StoreReply, Storing, Upload, UploadKind,
    Verdict, WantedBlob,
};
use windlass_core::report::ReportRefusal;
use windlass_core::result::{ByteStream, checked};
use windlass_core::{Error, Report};

use super::access::WORKER;
use super::backend::FakeBackend;

/// Most bytes that a worker may store.
const MAX_STORED_BYTES: u64 = 100_000;

/// The back end as a worker sees it.
pub(crate) struct FakeReports(pub(crate) Arc<FakeBackend>);

#[async_trait]
impl Reports for FakeReports {
    async fn assign(&self, token: Option<&str>, _: Duration) -> AssignReply {
        if token != Some(WORKER) {
            return Err(Denied::Unauthenticated.into());
        }
        Ok(None)
    }

    async fn namespace(&self, token: Option<&str>) -> Result<String, Denied> {
        if token == Some(WORKER) { Ok("default".into()) } else { Err(Denied::Unauthenticated) }
    }

    async fn report(&self, token: Option<&str>, report: Report) -> Result<Verdict, ReportError> {
        if token != Some(WORKER) {
            return Err(Denied::Unauthenticated.into());
        }
        self.0.meet_fault().await?;
        if let Some(reason) = *self.0.refuses.lock().unwrap() {
            return Ok(Verdict::Refused(reason));
        }
        self.0.reports.lock().unwrap().push(report);
        Ok(Verdict::Accepted)
    }

    async fn fetch(&self, token: Option<&str>, wanted: &WantedBlob) -> FetchReply {
        if token != Some(WORKER) {
            return Err(Denied::Unauthenticated.into());
        }
        self.0.meet_fault().await?;
        if let Some(reason) = *self.0.refuses.lock().unwrap() {
            return Ok(Err(reason));
        }
        Ok(Ok(self.0.read("default", &wanted.sha256).await?))
    }

    async fn store(&self, token: Option<&str>, upload: &Upload, content: ByteStream) -> StoreReply {
        if token != Some(WORKER) {
            return Err(Denied::Unauthenticated.into());
        }
        self.0.meet_fault().await?;
        if let Some(reason) = *self.0.refuses.lock().unwrap() {
            return Ok(Storing::Refused(reason));
        }
        if upload.bytes > MAX_STORED_BYTES {
            return Ok(Storing::TooLarge(format!("at most {MAX_STORED_BYTES} bytes")));
        }
        let mut content = checked(content, upload.bytes, upload.sha256.clone());
        let mut bytes = Vec::new();
        loop {
            match content.try_next().await {
                Ok(Some(piece)) => bytes.extend(piece),
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return Ok(Storing::Refused(ReportRefusal::Damaged));
                }
                Err(error) => return Err(Error::unavailable(error.to_string()).into()),
            }
        }
        self.0.stored.lock().unwrap().push(bytes.into());
        let what = if upload.what == UploadKind::Log { "-log" } else { "" };
        Ok(Storing::At(format!("{}/{}{what}", upload.job_uid, upload.attempt)))
    }
}
