//! The other replicas of this gateway. Each is sent what workers report here, so that every stream is
//! equally fast, whichever replica its worker reports to.
//!
//! In: reports that were accepted here. Out: `POST /v1/peers/progress` to each peer, a batch of the
//! latest progress of each job. A peer has an outbox and a task of its own, so that one that does not
//! answer delays no other; what it misses is in the status within seconds.
//!
//! Peers are the addresses of a DNS name of this gateway's own configuration, and of nothing else. Each
//! shows its own token, which is good for nothing but this. With TLS, every replica's certificate is for one
//! name, that of the gateway: addresses come and go.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::live_progress::LiveProgress;
use super::outbox::Outbox;
use crate::metrics::Meters;

/// How long the first report of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(25);

/// Longest time for one batch. What comes meanwhile waits, the latest of each job.
const BATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause after a batch that was not taken.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How often the names are looked up.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(3);

/// Most peers; a name with more addresses has its first ones used.
const MAX_PEERS: usize = 64;

/// Gives the certificates to trust now; another value when they have changed. Must return at once.
pub type PeerTrust = Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;

/// Where the other replicas are, and how to show that this is one.
#[derive(Clone)]
pub struct Peers {
    /// `HOST:PORT` whose addresses are the replicas'.
    pub names: Vec<String>,
    /// This replica's own address, which is left out.
    pub own: Option<IpAddr>,
    /// File with the token that other replicas accept. It is read each time: it is renewed.
    pub token: PathBuf,
    /// What their certificates are for; without it there is no TLS.
    pub host: Option<ServerName<'static>>,
    /// Who may have signed those.
    pub trusted: PeerTrust,
}

/// Finds the other replicas and sends them progress, for ever.
pub async fn share_progress(live: Arc<LiveProgress>, peers: Peers, meters: Arc<Meters>) {
    let mut trusted = (peers.trusted)();
    let mut client = http_client(&peers, &trusted);
    let scheme = if peers.host.is_some() { "https" } else { "http" };
    let mut senders: HashMap<SocketAddr, JoinSet<()>> = HashMap::new();
    let mut ticks = interval(RESOLVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = (peers.trusted)();
        if !Arc::ptr_eq(&trusted, &now) {
            (client, trusted) = (self::http_client(&peers, &now), now);
            // All are sent to by the new client; what waits in an outbox stays there.
            senders.clear();
        }
        let Some(found) = resolve_peers(&peers).await else { continue };
        // A task is ended with its set.
        senders.retain(|peer, _| found.contains(peer));
        live.outboxes.retain(&found);
        for peer in found {
            senders.entry(peer).or_insert_with(|| {
                let sender = PeerSender {
                    client: client.clone(),
                    url: format!("{scheme}://{peer}/v1/peers/progress"),
                    token: peers.token.clone(),
                    outbox: live.outboxes.outbox_of(peer),
                    meters: Arc::clone(&meters),
                };
                let mut task = JoinSet::new();
                task.spawn(sender.run());
                task
            });
        }
        meters.set_peers(senders.len());
    }
}

fn http_client(peers: &Peers, trusted: &ClientConfig) -> HttpClient {
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
async fn resolve_peers(peers: &Peers) -> Option<Vec<SocketAddr>> {
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
    found.truncate(MAX_PEERS);
    Some(found)
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends batches to one peer.
struct PeerSender {
    client: HttpClient,
    url: String,
    token: PathBuf,
    outbox: Arc<Outbox>,
    meters: Arc<Meters>,
}

impl PeerSender {
    async fn run(self) {
        loop {
            self.outbox.posted.notified().await;
            sleep(BATCH_DELAY).await;
            while let Some(batch) = self.outbox.next_batch() {
                let sent = timeout(BATCH_TIMEOUT, self.send(batch.body)).await;
                let sent = sent.unwrap_or_else(|_| Err("no answer in time".into()));
                let status = sent.as_ref().ok().copied();
                if batch.is_usage && status.is_some_and(is_unreadable) {
                    tracing::debug!(url = self.url, ?status, "a replica does not know samples");
                    self.outbox.refuse_usage();
                    continue;
                }
                let sent = sent.and_then(|status| match status {
                    status if status.is_success() => Ok(()),
                    status => Err(status.to_string()),
                });
                self.meters.batch_sent(sent.is_ok());
                if let Err(why) = sent {
                    tracing::debug!(url = self.url, why, "progress was not sent to a replica");
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn send(&self, batch: Bytes) -> Result<StatusCode, String> {
        let token = tokio::fs::read_to_string(&self.token)
            .await
            .map_err(|error| format!("{}: {error}", self.token.display()))?;
        let request = Request::post(&self.url)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(batch))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
        Ok(answer.status())
    }
}

/// Whether a peer will never read what it was sent: what says who may send, or when, is not about that.
fn is_unreadable(status: StatusCode) -> bool {
    let is_about_more = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_client_error() && !is_about_more.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_replica_is_no_peer_of_its_own() {
        let peers = |own: &str| Peers {
            names: vec!["127.0.0.1:70".into(), "127.0.0.2:70".into(), "127.0.0.1:70".into()],
            own: own.parse().ok(),
            token: PathBuf::new(),
            host: None,
            trusted: Arc::new(|| unreachable!("nobody is asked")),
        };
        let all = resolve_peers(&peers("")).await.unwrap();
        assert_eq!(all, ["127.0.0.1:70".parse().unwrap(), "127.0.0.2:70".parse().unwrap()]);
        assert_eq!(resolve_peers(&peers("127.0.0.1")).await.unwrap(), all[1..]);
    }
}
