//! TLS inside a cluster: the release is upgraded to a certificate of an authority of our own, the authority is
//! replaced, and the release is rolled back. Alone on its cluster: every worker reports over TLS meanwhile.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::cluster::{Gateways, running_pod, times};
use crate::streams::{LINE, Stream, runtime};
use crate::support::cluster::{Bucket, Forward, Namespace, RELEASE, get, kubectl};
use crate::support::http::Client;
use crate::support::release::{Upgraded, run};
use crate::support::{eventually, quantile, text, windlass};

const SECRET: &str = "windlass-tls-test";
/// What workers and gateways call a gateway.
const SERVICE: &str = "windlass-gateway.windlass.svc.cluster.local";
/// Longest time until a Secret that was replaced is in use: the kubelet renews a volume within about 90 s.
const RENEWED: Duration = Duration::from_secs(240);
/// More than fits a termination message, so that it comes by a report or not at all.
const INLINE: usize = 20_000;
/// More than is inline.
const STORED: usize = 5 << 20;

/// An authority and the gateway's certificate, which it has signed.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new(name: &str) -> Self {
        let here = Self(tempfile::tempdir().unwrap());
        let files = ["ca.crt", "ca.key", "tls.crt", "tls.key"].map(|name| here.file(name));
        let [ca, ca_key, cert, key] = files.each_ref().map(|file| file.to_str().unwrap());
        let subject = format!("/CN={name}");
        let new =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let of = |rest: &[&str]| run("openssl", &[&new, rest].concat());
        of(&["-keyout", ca_key, "-out", ca, "-days", "2", "-subj", &subject]);
        let names = format!("subjectAltName=DNS:{SERVICE},DNS:localhost");
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", &names];
        let signed = ["-CA", ca, "-CAkey", ca_key, "-keyout", key, "-out", cert, "-days", "2"];
        of(&[&signed[..], &["-subj", "/CN=gateway"], &leaf].concat());
        here
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes them the Secret, as cert-manager would.
    fn install(&self) {
        let from = |name| format!("--from-file={name}={}", self.file(name).display());
        let (ca, cert, key) = (from("ca.crt"), from("tls.crt"), from("tls.key"));
        let create = ["create", "secret", "generic", SECRET, "-n", RELEASE];
        let form = ["--type=kubernetes.io/tls", &ca, &cert, &key, "--dry-run=client", "-o=yaml"];
        let secret = kubectl(&[&create[..], &form].concat(), "").unwrap();
        kubectl(&["apply", "-f", "-"], &secret).unwrap();
    }

    /// Runs a command at this gateway.
    fn windlass(&self, client: &Client, arguments: &[&str]) -> Output {
        let port = client.address.rsplit_once(':').unwrap().1;
        Command::new(windlass())
            .args(arguments)
            .args([
                "-n",
                &client.namespace,
                "--server",
                &format!("https://localhost:{port}"),
                "--ca",
            ])
            .arg(self.file("ca.crt"))
            .env("WINDLASS_TOKEN", &client.token)
            .output()
            .unwrap()
    }

    async fn connect(&self, address: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.crt")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }
}

/// The Secret, until it is dropped.
struct Secret;

impl Drop for Secret {
    fn drop(&mut self) {
        kubectl(&["delete", "secret", SECRET, "-n", RELEASE], "").unwrap();
    }
}

/// Calls for a result of so many bytes, at its only attempt.
fn call(authority: &Authority, client: &Client, bytes: usize) {
    let input = json!({ "mode": "bytes", "bytes": bytes }).to_string();
    let started = Instant::now();
    let called =
        authority.windlass(client, &["call", "misbehave", "--input", &input, "--retries=0"]);
    assert!(called.status.success(), "{bytes}: {}", text(&called.stderr));
    assert!(called.stdout == vec![b'y'; bytes], "{} bytes", called.stdout.len());
    println!("a result of {bytes} bytes over TLS: {:?}", started.elapsed());
}

/// Waits until all pods of this component have said this.
fn all_say(component: &str, pods: usize, what: &str, replaced: Instant) {
    let selector = format!("app.kubernetes.io/component={component}");
    eventually(what, RENEWED, || {
        let logs = kubectl(&["logs", "-n", RELEASE, "-l", &selector, "--tail=-1"], "").ok()?;
        (logs.matches(what).count() >= pods).then_some(())
    });
    println!("{component}: {what}, {:?} after the Secret was replaced at most", replaced.elapsed());
}

fn forwards() -> Vec<Forward> {
    let pods = eventually("two gateways are ready", Duration::from_secs(60), || {
        let pods = Gateways::pods();
        (pods.len() == 2).then_some(pods)
    });
    pods.iter().map(|pod| Forward::to(pod)).collect()
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn with_a_secret_everything_goes_over_tls_and_a_renewed_one_is_taken() {
    let namespace = Namespace::new("tls");
    let (authority, renewed) = (Authority::new("first"), Authority::new("second"));
    let secured = Secured::by(&authority);
    let client = namespace.client();
    assert!(client.try_send("GET", "/healthz", &[], b"").is_err(), "plain HTTP is answered");
    let stranger = renewed.windlass(&client, &["functions"]);
    assert!(text(&stranger.stderr).contains("invalid peer certificate"), "{stranger:?}");

    call(&authority, &client, INLINE);
    let has_store = Bucket::of_the_release().is_some();
    if has_store {
        call(&authority, &client, STORED);
    }
    lines(&namespace, &client, &authority);

    renewed.install();
    let replaced = Instant::now();
    all_say("gateway", 2, "a new certificate is in use", replaced);
    all_say("controller", 1, "new certificate authorities are trusted", replaced);
    let old = authority.windlass(&client, &["functions"]);
    assert!(text(&old.stderr).contains("invalid peer certificate"), "{old:?}");
    call(&renewed, &client, INLINE);
    if has_store {
        call(&renewed, &client, STORED);
    }
    drop(secured);

    // As before: without TLS.
    let forward = Forward::to(&format!("service/{RELEASE}-gateway"));
    let client = Client { address: forward.address.clone(), ..client };
    assert_eq!(client.get(&client.jobs("")).status, 200);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn the_certificate_that_helm_makes_is_used_and_outlives_upgrades() {
    let namespace = Namespace::new("tls-own");
    let own = || get(&["secret", "windlass-gateway-tls", "-n", RELEASE])["data"].take();
    let first = Upgraded::to("gateway.tls.selfSigned=true,gateway.tls.dnsNames={localhost}");
    let made = own();
    let authority = Authority(tempfile::tempdir().unwrap());
    let pem = BASE64.decode(made["ca.crt"].as_str().unwrap()).unwrap();
    std::fs::write(authority.file("ca.crt"), pem).unwrap();
    call(&authority, &namespace.client(), INLINE);

    let second = Upgraded::to("gateway.rateLimit=200");
    assert!(own() == made, "an upgrade has made another certificate");
    drop(second);
    let third = Upgraded::to("gateway.tls.dnsNames={localhost,windlass.example}");
    assert!(own() != made, "it is not for the new name");
    drop(third);
    drop(first);
}

/// The release with TLS by this authority, at two gateways, until it is dropped.
struct Secured {
    _release: Upgraded,
    _secret: Secret,
}

impl Secured {
    fn by(authority: &Authority) -> Self {
        authority.install();
        let secret = Secret;
        let values = format!("gateway.tls.secretName={SECRET},gateway.replicas=2");
        Self { _release: Upgraded::to(&values), _secret: secret }
    }
}

/// How long each line of progress was on its way to a follower of either gateway, which tell each other of it over TLS.
fn lines(namespace: &Namespace, client: &Client, ca: &Authority) -> Vec<Vec<Duration>> {
    let forwards = forwards();
    let spec = json!({ "function": "misbehave", "input": { "mode": "tell" } });
    namespace.apply("told", &spec).unwrap();
    running_pod(namespace, "told");
    let times = runtime().block_on(async {
        let mut streams = Vec::new();
        for forward in &forwards {
            let socket = ca.connect(&forward.address).await;
            streams.push(Stream::over(socket, client, "told", "").await);
        }
        futures::future::join_all(streams.into_iter().map(times)).await
    });
    let job: Value = get(&["cjob", "told", "-n", &namespace.0]);
    assert_eq!(job["status"]["attempt"], 1, "{job}");
    times
}

/// Where nothing runs beside it: beside other rings it would measure those.
#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn progress_is_with_followers_of_both_gateways_over_tls_within_250_ms() {
    let namespace = Namespace::new("tls-followed");
    let authority = Authority::new("only");
    let _secured = Secured::by(&authority);
    for mut times in lines(&namespace, &namespace.client(), &authority) {
        let (median, most) = (quantile(&mut times, 500), quantile(&mut times, 990));
        println!("a progress line to a follower over TLS: p50 {median:?}, p99 {most:?}");
        assert!(most <= LINE, "{times:?}");
    }
}
