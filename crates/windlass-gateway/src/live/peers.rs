//! The other replicas of this gateway: each is told what workers report here, so that a stream is as
//! soon as any other wherever its worker reports.
//!
//! In: reports that were accepted here. Out: `POST /v1/peers/progress` to each peer, a batch of the
//! latest progress of each job. A peer has an outbox and a task of its own, so that one that does not
//! answer holds nobody up; what it misses is in the status within seconds.
//!
//! Peers are the addresses of a DNS name of this gateway's own configuration, and of nothing else. Each
//! shows its own token, which is good for nothing but this. With TLS, every replica's certificate is for one
//! name, that of the gateway: addresses come and go.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use windlass_core::{Report, parse};

use super::LiveProgress;
use crate::limits::MAX_BATCH_BYTES;
use crate::metrics::Meters;
use crate::refusal::Refusal;
use crate::{Shared, body};

/// How long the first report of a batch waits for company.
const COMPANY: Duration = Duration::from_millis(25);

/// Longest time for one batch. What comes meanwhile waits, the latest of each job.
const BATCH: Duration = Duration::from_secs(1);

/// Pause after a batch that was not taken.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the names are looked up.
const LOOK_UP: Duration = Duration::from_secs(3);

/// Most peers; a name with more addresses has its first ones used.
const MOST_PEERS: usize = 64;

/// Most jobs that wait in an outbox.
const MOST_JOBS: usize = 10_000;

/// Bytes of reports in a batch: half of what is taken, so that the last report fits as well.
const FULL: usize = MAX_BATCH_BYTES / 2;

/// Gives whom to trust as it is now; another value when that has changed. Must return at once.
pub type Trusted = Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;

/// Where the other replicas are, and how to show that this is one.
#[derive(Clone)]
pub struct Peers {
    /// `HOST:PORT` whose addresses are the replicas'.
    pub names: Vec<String>,
    /// This replica's own address, which is left out.
    pub own: Option<IpAddr>,
    /// File with the token that other replicas accept. It is read each time: it is renewed.
    pub token: PathBuf,
    /// What their certificates are for; without it they are asked without TLS.
    pub host: Option<ServerName<'static>>,
    /// Who may have signed those.
    pub trusted: Trusted,
}

/// Finds the other replicas and tells them of progress, for ever.
pub async fn tell_peers(live: Arc<LiveProgress>, peers: Peers, meters: Arc<Meters>) {
    let mut trusted = (peers.trusted)();
    let mut client = client(&peers, &trusted);
    let scheme = if peers.host.is_some() { "https" } else { "http" };
    let mut senders: HashMap<SocketAddr, JoinSet<()>> = HashMap::new();
    let mut look = interval(LOOK_UP);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let now = (peers.trusted)();
        if !Arc::ptr_eq(&trusted, &now) {
            (client, trusted) = (self::client(&peers, &now), now);
            // All are told by the new client; what waits in an outbox stays there.
            senders.clear();
        }
        let Some(found) = look_up(&peers).await else { continue };
        // A task is ended with its set.
        senders.retain(|peer, _| found.contains(peer));
        live.outboxes.keep(&found);
        for peer in found {
            senders.entry(peer).or_insert_with(|| {
                let sender = Sender {
                    client: client.clone(),
                    url: format!("{scheme}://{peer}/v1/peers/progress"),
                    token: peers.token.clone(),
                    outbox: live.outboxes.of(peer),
                    meters: Arc::clone(&meters),
                };
                let mut task = JoinSet::new();
                task.spawn(sender.run());
                task
            });
        }
        meters.peers(senders.len());
    }
}

fn client(peers: &Peers, trusted: &ClientConfig) -> HttpClient {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(trusted.clone());
    let connector = match &peers.host {
        Some(host) => builder
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(host.clone()))
            .enable_http1()
            .wrap_connector(http),
        None => builder.https_or_http().enable_http1().wrap_connector(http),
    };
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The peers' addresses; `None` when they cannot be found out, which says nothing about those known.
async fn look_up(peers: &Peers) -> Option<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for name in &peers.names {
        match tokio::net::lookup_host(name).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => {
                tracing::debug!(name, %error, "the other replicas are not found");
                return None;
            }
        }
    }
    found.retain(|peer| Some(peer.ip()) != peers.own);
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_PEERS);
    Some(found)
}

/// What is to be told, by peer.
#[derive(Default)]
pub(crate) struct Outboxes(Mutex<HashMap<SocketAddr, Arc<Outbox>>>);

/// The latest report of each job, written.
#[derive(Default)]
struct Outbox {
    reports: Mutex<BTreeMap<String, Bytes>>,
    posted: Notify,
}

impl Outboxes {
    pub(crate) fn post(&self, report: &Report) {
        let outboxes = lock(&self.0);
        if outboxes.is_empty() {
            return;
        }
        // A report that was read can be written.
        let written = Bytes::from(serde_json::to_vec(report).unwrap_or_default());
        for outbox in outboxes.values() {
            let mut reports = lock(&outbox.reports);
            if reports.len() < MOST_JOBS || reports.contains_key(&report.job_uid) {
                reports.insert(report.job_uid.clone(), written.clone());
            }
            outbox.posted.notify_one();
        }
    }

    fn of(&self, peer: SocketAddr) -> Arc<Outbox> {
        Arc::clone(lock(&self.0).entry(peer).or_default())
    }

    fn keep(&self, peers: &[SocketAddr]) {
        lock(&self.0).retain(|peer, _| peers.contains(peer));
    }
}

impl Outbox {
    /// A batch of what is there, written; `None` when nothing is.
    fn take(&self) -> Option<Bytes> {
        let mut reports = lock(&self.reports);
        let mut batch = b"{\"reports\":[".to_vec();
        let empty = batch.len();
        while batch.len() < FULL
            && let Some((_, report)) = reports.pop_first()
        {
            if batch.len() > empty {
                batch.push(b',');
            }
            batch.extend_from_slice(&report);
        }
        (batch.len() > empty).then(|| {
            batch.extend_from_slice(b"]}");
            batch.into()
        })
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Tells one peer.
struct Sender {
    client: HttpClient,
    url: String,
    token: PathBuf,
    outbox: Arc<Outbox>,
    meters: Arc<Meters>,
}

impl Sender {
    async fn run(self) {
        loop {
            self.outbox.posted.notified().await;
            sleep(COMPANY).await;
            while let Some(batch) = self.outbox.take() {
                let sent = timeout(BATCH, self.send(batch)).await;
                let sent = sent.unwrap_or_else(|_| Err("no answer in time".into()));
                self.meters.told_peer(sent.is_ok());
                if let Err(why) = sent {
                    tracing::debug!(url = self.url, why, "a replica was not told of progress");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn send(&self, batch: Bytes) -> Result<(), String> {
        let token = tokio::fs::read_to_string(&self.token)
            .await
            .map_err(|error| format!("{}: {error}", self.token.display()))?;
        let request = Request::post(&self.url)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(batch))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(status.to_string()),
        }
    }
}

/// What a peer is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReportBatch")]
pub(crate) struct Batch {
    /// The latest report of each job.
    reports: Vec<Report>,
}

/// `POST /v1/peers/progress`: 204. What is older than what is known here, or no progress, changes
/// nothing; nothing is handed on.
pub(crate) async fn take(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let limit = shared.gateway.limits.body;
    let bytes = body::json(&headers, body, MAX_BATCH_BYTES, limit).await?;
    let batch: Batch = parse::json(&bytes)?;
    for report in &batch.reports {
        shared.gateway.live.hear_of(report);
    }
    Ok(StatusCode::NO_CONTENT)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map is one after a panic, too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use windlass_core::report::Event;

    use super::*;

    fn report(uid: &str, done: u64, message: &str) -> Report {
        let (total, message, elapsed_seconds) = (1000, message.to_owned(), 0.5);
        let event = Event::Progress { done, total, message, elapsed_seconds };
        Report { job_uid: uid.into(), attempt: 1, event }
    }

    #[test]
    fn a_batch_has_the_latest_of_each_job_and_its_size_is_bounded() {
        let outboxes = Outboxes::default();
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        outboxes.post(&report("nobody", 1, ""));
        let outbox = outboxes.of(peer);
        assert_eq!(outbox.take(), None);
        for done in 1..=3 {
            outboxes.post(&report("a", done, ""));
            outboxes.post(&report("b", done, ""));
        }
        let batch: Value = serde_json::from_slice(&outbox.take().unwrap()).unwrap();
        let done = |at: usize| batch["reports"][at]["event"]["progress"]["done"].as_u64();
        assert_eq!((done(0), done(1), done(2)), (Some(3), Some(3), None), "{batch}");
        assert_eq!(outbox.take(), None);

        // Each character becomes six.
        for job in 0..2000 {
            outboxes.post(&report(&job.to_string(), 1, &"\u{1}".repeat(1024)));
        }
        let (mut told, mut batches) = (0, 0);
        while let Some(batch) = outbox.take() {
            assert!(batch.len() <= MAX_BATCH_BYTES, "{}", batch.len());
            let batch: Batch = parse::json(&batch).unwrap_or_else(|_| panic!("our own batch"));
            told += batch.reports.len();
            batches += 1;
        }
        assert_eq!(told, 2000);
        assert!(batches > 20, "{batches}");
    }

    #[tokio::test]
    async fn this_replica_is_no_peer_of_its_own() {
        let peers = |own: &str| Peers {
            names: vec!["127.0.0.1:70".into(), "127.0.0.2:70".into(), "127.0.0.1:70".into()],
            own: own.parse().ok(),
            token: PathBuf::new(),
            host: None,
            trusted: Arc::new(|| unreachable!("nobody is asked")),
        };
        let all = look_up(&peers("")).await.unwrap();
        assert_eq!(all, ["127.0.0.1:70".parse().unwrap(), "127.0.0.2:70".parse().unwrap()]);
        assert_eq!(look_up(&peers("127.0.0.1")).await.unwrap(), all[1..]);
    }
}
