//! TLS: what is spoken, how long a handshake may take, and certificates that are replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use windlass_gateway::Tls;

use crate::http::{Server, bounded, read_to_close};

/// Longest time until a replaced certificate is in use: three looks.
const REPLACED: Duration = Duration::from_secs(6);

pub(crate) fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates")
}

/// A server with copies of the first certificate and key, which may be replaced.
async fn server() -> (tempfile::TempDir, Server) {
    let files = tempfile::tempdir().unwrap();
    install(files.path(), "first", "first");
    let tls = Tls::open(&files.path().join("crt"), &files.path().join("key")).unwrap();
    let server = Server::start_with(|gateway| {
        gateway.tls = Some(tls);
        gateway.limits.handshake = Duration::from_millis(500);
        gateway.limits.connections = 16;
    })
    .await;
    (files, server)
}

fn install(files: &Path, cert: &str, key: &str) {
    for (from, to) in [(format!("{cert}.crt"), "crt"), (format!("{key}.key"), "key")] {
        std::fs::copy(certificates().join(from), files.join("new")).unwrap();
        std::fs::rename(files.join("new"), files.join(to)).unwrap();
    }
}

/// A client that trusts this certificate alone, or none.
pub(crate) fn trusting(
    trusted: Option<&str>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(name) = trusted {
        let path = certificates().join(format!("{name}.crt"));
        roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A connection of a client that trusts this certificate alone.
async fn connect(
    server: &Server,
    trusted: &str,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = trusting(Some(trusted), version);
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await
}

async fn health(mut stream: TlsStream<TcpStream>) -> String {
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_else() {
    let (_files, server) = server().await;
    for version in [&TLS12, &TLS13] {
        let answer = health(connect(&server, "first", version).await.unwrap()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(connect(&server, "second", &TLS13).await.is_err(), "another certificate");
    let plain = server.raw(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!plain.contains("HTTP/1.1"), "{plain:?}");
}

#[tokio::test]
async fn a_silent_handshake_is_cut_off_and_a_crowd_of_them_locks_nobody_out() {
    let (_files, server) = server().await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(server.connect().await);
    }
    let answer = health(connect(&server, "first", &TLS13).await.unwrap()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let begun = Instant::now();
    for mut socket in crowd {
        assert_eq!(read_to_close(&mut socket).await, "");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_replaced_certificate_is_used_and_a_bad_one_is_not() {
    let (files, server) = server().await;
    let uses = async |trusted: &str| {
        let begun = Instant::now();
        while connect(&server, trusted, &TLS13).await.is_err() {
            assert!(begun.elapsed() < REPLACED, "{trusted} is not used");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // The key of another certificate, and then no certificate at all.
    install(files.path(), "second", "first");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(connect(&server, "first", &TLS13).await.is_ok());
    std::fs::write(files.path().join("crt"), "nothing").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(connect(&server, "first", &TLS13).await.is_ok());
    install(files.path(), "second", "second");
    uses("second").await;
    install(files.path(), "first", "first");
    uses("first").await;
}
