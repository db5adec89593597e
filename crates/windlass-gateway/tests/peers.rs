//! Two replicas of a gateway, of which one hears what a worker reports and the other has the stream.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::TLS13;
use windlass_core::report::{Ending, Event};
use windlass_core::status::FailureReason;
use windlass_core::{Outcome, Report};
use windlass_gateway::{LiveProgress, PeerTrust, Peers, Tls, share_progress};

use crate::events::{Stream, tell};
use crate::fake::{GOOD, PEER, WORKER};
use crate::http::{Ask, Server, bounded};
use crate::reports::samples;
use crate::tls::{certificates, trusting};

/// Longest way of progress from one replica to a stream at the other.
const BOUND: Duration = Duration::from_millis(250);

/// A replica that hears reports, and tells these others with this token.
struct Replica {
    server: Server,
    _telling: JoinSet<()>,
    _token: tempfile::NamedTempFile,
}

impl Replica {
    async fn start(names: Vec<String>, token: &str) -> Self {
        let nobody = Arc::new(trusting(None, &TLS13));
        Self::start_with(names, token, None, Arc::new(move || Arc::clone(&nobody))).await
    }

    async fn start_with(
        names: Vec<String>,
        token: &str,
        host: Option<ServerName<'static>>,
        trusted: PeerTrust,
    ) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{token}").unwrap();
        let token = PathBuf::from(file.path());
        let peers = Peers { names, own: None, token, host, trusted };
        let live = Arc::new(LiveProgress::default());
        let mut telling = JoinSet::new();
        let server = Server::start_with(|gateway| {
            gateway.live = Arc::clone(&live);
            telling.spawn(share_progress(live, peers, Arc::clone(&gateway.meters)));
        })
        .await;
        server.backend.put("a");
        let replica = Self { server, _telling: telling, _token: file };
        replica.until("windlass_peers ", |count| count > 0.0).await;
        replica
    }

    /// Waits until a sample of the metrics is so.
    async fn until(&self, sample: &str, so: impl Fn(f64) -> bool) {
        bounded(async {
            while !self.has(sample, &so).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn has(&self, sample: &str, so: impl Fn(f64) -> bool) -> bool {
        let text = self.server.send(Ask::good(Method::GET, "/metrics")).await.body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(sample));
        value.is_some_and(|value| so(value.trim().parse().unwrap()))
    }
}

async fn report(server: &Server, told: &Value) {
    let ask = Ask::new(Method::POST, "/v1/reports").token(WORKER).json(told);
    assert_eq!(server.send(ask).await.status, 204);
}

async fn follower() -> (Server, Stream) {
    let server = Server::start().await;
    server.backend.put("a");
    let mut stream = Stream::open(&server).await;
    stream.next().await.unwrap();
    (server, stream)
}

/// The longest time from a report at one replica to its event at the other, of many.
async fn longest(replica: &Replica, stream: &mut Stream) -> Duration {
    let mut longest = Duration::ZERO;
    for done in 1..=10 {
        let told = Instant::now();
        tell(&replica.server, done, done as f64).await;
        let event = stream.next().await.unwrap();
        longest = longest.max(told.elapsed());
        assert_eq!(
            (event.kind.as_str(), &event.data["progress"]["done"]),
            ("progress", &json!(done))
        );
    }
    longest
}

#[tokio::test]
async fn progress_reaches_streams_of_the_other_replica_at_once() {
    let (server, mut stream) = follower().await;
    let replica = Replica::start(vec![server.address.to_string()], PEER).await;
    let longest = longest(&replica, &mut stream).await;
    assert!(longest <= BOUND, "{longest:?}");
}

#[tokio::test]
async fn a_replica_that_does_not_answer_holds_nobody_up() {
    let (server, mut stream) = follower().await;
    // It takes connections and says nothing.
    let dead = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let gone = "127.0.0.3:1".to_owned();
    let names = [dead.local_addr().unwrap().to_string(), gone, server.address.to_string()];
    let replica = Replica::start(names.into(), PEER).await;
    let longest = longest(&replica, &mut stream).await;
    assert!(longest <= BOUND, "{longest:?}");
    replica.until("windlass_peer_batches_total{verdict=\"failed\"} ", |count| count > 1.0).await;
}

#[tokio::test]
async fn a_replica_with_tls_is_told_when_its_name_and_authority_are_right_and_as_they_are_now() {
    let open = |name: &str| {
        let file = |end| certificates().join(format!("{name}.{end}"));
        Tls::open(&file("crt"), &file("key")).unwrap()
    };
    let server = Server::start_with(|gateway| gateway.tls = Some(open("first"))).await;
    let trusting = |name| Arc::new(trusting(Some(name), &TLS13));
    let told = async |host: &'static str, now: Arc<Mutex<_>>| {
        let host = ServerName::try_from(host).unwrap();
        let trusted: PeerTrust = Arc::new(move || Arc::clone(&now.lock().unwrap()));
        let names = vec![server.address.to_string()];
        let replica = Replica::start_with(names, PEER, Some(host), trusted).await;
        tell(&replica.server, 1, 1.0).await;
        replica
    };
    let batches = |verdict| format!("windlass_peer_batches_total{{verdict=\"{verdict}\"}} ");
    let elsewhere = told("elsewhere", Arc::new(Mutex::new(trusting("first")))).await;
    elsewhere.until(&batches("failed"), |count| count > 0.0).await;

    let now = Arc::new(Mutex::new(trusting("second")));
    let replica = told("localhost", Arc::clone(&now)).await;
    replica.until(&batches("failed"), |count| count > 0.0).await;
    *now.lock().unwrap() = trusting("first");
    let mut elapsed = 1.0;
    bounded(async {
        while !replica.has(&batches("accepted"), |count| count > 0.0).await {
            elapsed += 1.0;
            tell(&replica.server, 2, elapsed).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_no_replica_tells_nothing() {
    let (server, mut stream) = follower().await;
    for token in [GOOD, WORKER, "made-up"] {
        let replica = Replica::start(vec![server.address.to_string()], token).await;
        tell(&replica.server, 1, 1.0).await;
        replica
            .until("windlass_peer_batches_total{verdict=\"failed\"} ", |count| count > 0.0)
            .await;
    }
    let silence = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn a_replica_that_knows_no_samples_is_still_told_progress() {
    let (heard, mut batches) = mpsc::unbounded_channel();
    let take = move |body: String| {
        let is_usage = body.contains("\"usage\"");
        heard.send(is_usage).unwrap();
        let status = if is_usage { 422 } else { 204 };
        std::future::ready(StatusCode::from_u16(status).unwrap())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let router = axum::Router::new().route("/v1/peers/progress", axum::routing::post(take));
    let mut earlier = JoinSet::new();
    earlier.spawn(async { axum::serve(listener, router).await.unwrap() });
    let replica = Replica::start(vec![name], PEER).await;
    for (told, expected) in [(1, Some(true)), (2, None)] {
        report(&replica.server, &samples(told)).await;
        if expected.is_some() {
            assert_eq!(bounded(batches.recv()).await, expected);
        }
        tell(&replica.server, told as u64, told as f64).await;
        assert_eq!(bounded(batches.recv()).await, Some(false), "{told}");
    }
}

#[tokio::test]
async fn all_replicas_know_what_is_in_use_and_that_a_job_has_ended() {
    let server = Server::start().await;
    let replica = Replica::start(vec![server.address.to_string()], PEER).await;
    let used_is = async |wanted: Value| {
        bounded(async {
            let capacity = "/v1/namespaces/default/capacity";
            while server.send(Ask::good(Method::GET, capacity)).await.json()["used"] != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    used_is(Value::Null).await;
    report(&replica.server, &samples(5)).await;
    used_is(json!(1.5)).await;
    // Its worker has told no last samples.
    let now = Timestamp::now();
    let ending = Ending {
        outcome: Outcome::failed(FailureReason::Crashed, "x"),
        started: now,
        running: None,
        finished: now,
        parallelism: 1,
        usage: None,
        progress: None,
    };
    let ended = Report {
        job_uid: "uid-of-a".into(),
        attempt: 1,
        event: Event::Finished(ending),
        sent: None,
    };
    report(&replica.server, &serde_json::to_value(ended).unwrap()).await;
    used_is(Value::Null).await;
}

#[tokio::test]
async fn a_batch_is_bounded_and_only_its_progress_counts() {
    let (server, mut stream) = follower().await;
    let send = async |body: &Value| {
        server.send(Ask::new(Method::POST, "/v1/peers/progress").token(PEER).json(body)).await
    };
    // A gateway of a later release may tell more.
    assert_eq!(send(&json!({"reports": [], "more": 1})).await.status, 204);
    send(&json!({"reports": "none"})).await.problem(422);
    send(&json!({"reports": ["x".repeat(1 << 20)]})).await.problem(413);
    let now = "2026-01-01T00:00:00Z";
    let running = json!({"jobUid": "uid-of-a", "attempt": 1,
        "event": {"running": {"started": now, "running": now}}});
    let elsewhere = json!({"jobUid": "uid-of-b", "attempt": 1, "event": {"progress":
        {"done": 2, "total": 10, "message": "", "elapsedSeconds": 1.0}}});
    let here = json!({"jobUid": "uid-of-a", "attempt": 1, "event": {"progress":
        {"done": 3, "total": 10, "message": "", "elapsedSeconds": 1.0}}});
    // So may it of a kind that is not known here; the others count.
    let torn = json!({"jobUid": "uid-of-a"});
    let later = json!({"jobUid": "uid-of-a", "attempt": 1, "event": {"later": {"a": 1}}});
    let reports = [torn, later, running, elsewhere, here];
    assert_eq!(send(&json!({ "reports": reports })).await.status, 204);
    assert_eq!(stream.next().await.unwrap().data["progress"]["done"], 3);
}
