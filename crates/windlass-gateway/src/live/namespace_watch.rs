//! What happens to the jobs of a namespace, for all who look at them: the back end serves one watch, and what
//! happens within a moment is told at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};
use windlass_core::changes::{Change, Changes};
use windlass_core::live::Shown;
use windlass_core::{Error, Job};

use super::job_event::{JobEvent, deleted_bytes};
use super::shared_task::{SharedTask, SharedTasks};
use crate::protocol::error::ApiError;

/// How long a change waits for others.
const MOMENT: Duration = Duration::from_millis(200);

/// Moments that are kept for a stream that is behind.
const KEPT: usize = 32;

/// What happened to a job.
pub(crate) enum NamespaceEvent {
    Job(Arc<JobEvent>),
    /// The bytes of `event: deleted`.
    Deleted(Bytes),
}

/// What happened within a moment, each job once; or why nothing can be told any more.
pub(crate) type Moment = Result<Arc<Vec<NamespaceEvent>>, ApiError>;

type Begun = Result<(), ApiError>;

/// The namespaces that somebody looks at.
pub(crate) type NamespaceWatches = SharedTasks<Moments>;

/// One namespace that is watched as long as this is kept.
pub(crate) type NamespaceWatch = SharedTask<Moments>;

/// What is told of a namespace.
pub(crate) struct Moments {
    /// It ends with the task, and with it all who listen.
    sender: broadcast::WeakSender<Moment>,
    /// Whether the back end tells of changes, once that is known.
    begun: watch::Receiver<Option<Begun>>,
}

impl NamespaceWatches {
    /// The watch of this namespace, and what it tells from now on.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        changes: &Arc<dyn Changes>,
        namespace: &str,
    ) -> Result<(Arc<NamespaceWatch>, broadcast::Receiver<Moment>), ApiError> {
        let watch = self.find_or_start(namespace, || {
            let sender = broadcast::Sender::new(KEPT);
            let (tell_begun, begun) = watch::channel(None);
            let moments = Moments { sender: sender.downgrade(), begun };
            (moments, follow(Arc::clone(changes), namespace.to_owned(), sender, tell_begun))
        });
        let moments = watch.heard.sender.upgrade().map(|sender| sender.subscribe());
        let mut begun = watch.heard.begun.clone();
        let known = begun.wait_for(Option::is_some).await.map_err(|_| ApiError::internal())?;
        known.clone().unwrap_or_else(|| Err(ApiError::internal()))?;
        let ended = || Error::unavailable("the watch has just ended");
        Ok((Arc::clone(&watch), moments.ok_or_else(ended)?))
    }
}

/// Tells what happens, moment by moment, and last why nothing can be told any more.
async fn follow(
    changes: Arc<dyn Changes>,
    namespace: String,
    moments: broadcast::Sender<Moment>,
    begun: watch::Sender<Option<Begun>>,
) {
    // That nobody listens now is no error: whoever subscribes lists first.
    let tell = |moment| drop(moments.send(moment));
    let mut changes = match changes.changes(&namespace).await {
        Ok(changes) => changes,
        Err(error) => return drop(begun.send_replace(Some(Err(error.into())))),
    };
    begun.send_replace(Some(Ok(())));
    let mut events = BTreeMap::new();
    let mut end = None;
    loop {
        let over = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(change)) => {
                    let (uid, event) = event_of(change);
                    events.insert(uid, event);
                    end.get_or_insert_with(|| Instant::now() + MOMENT);
                }
                Some(Err(error)) => return tell(Err(error.into())),
                None => return tell(Err(ApiError::internal())),
            },
            () = over => {
                tell(Ok(Arc::new(std::mem::take(&mut events).into_values().collect())));
                end = None;
            }
        }
    }
}

/// The event of a change, and the UID of its job: its name may be another's within the same moment. What may be large is left out: a stream that is behind holds
/// many of them.
fn event_of(change: Change) -> (String, NamespaceEvent) {
    match change {
        Change::Deleted { name, uid } => {
            let bytes = deleted_bytes(&name, &uid);
            (uid, NamespaceEvent::Deleted(bytes))
        }
        Change::Stored(Shown { job, live }) => {
            let mut job = Arc::unwrap_or_clone(job);
            without_bytes(&mut job);
            let uid = job.metadata.uid.clone();
            let shown = Shown::new(Arc::new(job), live);
            (uid, NamespaceEvent::Job(Arc::new(JobEvent::new(shown))))
        }
    }
}

fn without_bytes(job: &mut Job) {
    job.spec.input = Default::default();
    if let Some(result) = &mut job.status.result {
        (result.text, result.base64) = (None, None);
    }
}
