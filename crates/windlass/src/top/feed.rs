//! What happens to the jobs and queues of a namespace, and whether that is known at once.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use tokio::sync::mpsc;
use windlass_core::changes::Change;
use windlass_core::estimate::Estimate;
use windlass_core::history::HistoryReport;
use windlass_core::jobs::{Filter, MachineCapacity};
use windlass_core::{Error, Queue};

use super::table::Row;
use crate::backend::resolve::Backend;

/// How often whoever may list and not watch asks again.
const POLL: Duration = Duration::from_secs(5);

/// How often the queues are asked for: no stream tells of them.
const QUEUES: Duration = Duration::from_secs(3);

/// First and longest pause between two tries.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// How long a stream lasts that did not fail: its end has a reason, such as a new server.
const LASTING: Duration = Duration::from_secs(10);

/// Something that is new.
pub(super) enum News {
    Connection(Connection),
    ListBegun,
    Listed(Vec<Row>),
    ListEnded,
    Stored(Box<Row>),
    Deleted {
        name: String,
        uid: String,
    },
    /// The queues, or why they are not known.
    Queues(Result<Vec<Queue>, String>),
    /// What there is for all queues together.
    Capacity(MachineCapacity),
    /// When jobs are likely to start and to end.
    Estimates(Vec<Estimate>),
    /// What the last hour and the last day were like.
    History(Box<HistoryReport>),
}

/// Whether what is shown is how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Connecting,
    Live,
    /// Asked again and again, and why changes are not told.
    Polling(String),
    Lost(String),
}

/// Tells what happens to the jobs, for ever.
pub(super) async fn follow_jobs(backend: &Backend, news: &mpsc::Sender<News>) {
    let mut pause = BACKOFF[0];
    loop {
        let begun = Instant::now();
        let (connection, wait) = match follow_once(backend, news).await {
            Ended::Unwatched(why) => match list(backend, news).await {
                Ok(()) => (Connection::Polling(why.to_string()), POLL),
                Err(error) => (Connection::Lost(error.to_string()), pause),
            },
            Ended::Broken(error) => (Connection::Lost(error.to_string()), pause),
        };
        send_news(news, News::Connection(connection)).await;
        tokio::time::sleep(wait).await;
        pause = if begun.elapsed() > LASTING + wait { BACKOFF[0] } else { pause * 2 };
        pause = pause.min(BACKOFF[1]);
    }
}

/// Tells how the queues are, for ever.
pub(super) async fn follow_queues(backend: &Backend, news: &mpsc::Sender<News>) {
    loop {
        // An earlier server tells no capacity.
        if let Ok(capacity) = backend.jobs.capacity(&backend.namespace).await {
            send_news(news, News::Capacity(capacity)).await;
        }
        let queues = backend.jobs.queues(&backend.namespace).await;
        send_news(news, News::Queues(queues.map_err(|error| error.to_string()))).await;
        // An earlier server keeps none; nor does a cluster without its gateway.
        if let Ok(history) = backend.jobs.history(&backend.namespace).await {
            send_news(news, News::History(Box::new(history))).await;
        }
        // Nor does one of those estimate anything.
        if let Ok(estimates) = backend.jobs.estimates(&backend.namespace).await {
            send_news(news, News::Estimates(estimates.items)).await;
        }
        tokio::time::sleep(QUEUES).await;
    }
}

/// How it came that nothing is told any more.
enum Ended {
    /// Changes cannot be followed here at all, now.
    Unwatched(Error),
    Broken(Error),
}

async fn follow_once(backend: &Backend, news: &mpsc::Sender<News>) -> Ended {
    let mut changes = match backend.changes.changes(&backend.namespace).await {
        Ok(changes) => changes,
        Err(error) => return Ended::Unwatched(error),
    };
    let mut listing = std::pin::pin!(list(backend, news));
    let mut is_listed = false;
    loop {
        tokio::select! {
            listed = &mut listing, if !is_listed => match listed {
                Ok(()) => {
                    is_listed = true;
                    send_news(news, News::Connection(Connection::Live)).await;
                }
                Err(error) => return Ended::Broken(error),
            },
            change = changes.next() => match change {
                Some(Ok(Change::Stored(shown))) => {
                    let row = Row::new(shown.job().into_owned());
                    send_news(news, News::Stored(Box::new(row))).await;
                }
                Some(Ok(Change::Deleted { name, uid })) => {
                    send_news(news, News::Deleted { name, uid }).await;
                }
                Some(Err(error)) => return Ended::Broken(error),
                None => return Ended::Broken(Error::unavailable("the stream has ended")),
            },
        }
    }
}

async fn list(backend: &Backend, news: &mpsc::Sender<News>) -> Result<(), Error> {
    send_news(news, News::ListBegun).await;
    let mut filter = Filter::default();
    loop {
        let page = backend.list_briefly(&filter).await?;
        send_news(news, News::Listed(page.items.into_iter().map(Row::new).collect())).await;
        match page.continue_from {
            Some(token) => filter.continue_from = Some(token),
            None => break,
        }
    }
    send_news(news, News::ListEnded).await;
    Ok(())
}

/// Nobody is told who does not listen any more.
async fn send_news(news: &mpsc::Sender<News>, what: News) {
    drop(news.send(what).await);
}
