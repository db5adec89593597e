//! TLS: one certificate and its key, read again when their files change.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};
use tracing::{info, warn};

/// Between two checks of the files.
const RELOAD_PAUSE: Duration = Duration::from_secs(2);

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file has no such PEM section, or cannot be read.
    #[error("{}: {why}", .path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: pem::Error,
    },
    /// A key of an unknown kind, or one that is not the certificate's.
    #[error("{} and {}: {why}", .cert.display(), .key.display())]
    Unfit {
        /// The file of the certificates.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong with them.
        why: rustls::Error,
    },
}

/// What a server needs for TLS 1.2 and 1.3: its own certificate first, and its key.
///
/// While a server runs, both files may be replaced: within a few seconds new connections get the new
/// certificate. A pair that cannot be used is logged, and the one before stays.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<CurrentCertificate>,
    files: Arc<Files>,
}

impl Tls {
    /// With the PEM files of the certificate chain and the key.
    pub fn open(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { cert: cert.to_owned(), key: key.to_owned() };
        let certificate = Arc::new(CurrentCertificate(RwLock::new(Arc::new(files.load()?))));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unfit = |why| files.unfit(why);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unfit)?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, certificate, files: Arc::new(files) })
    }

    /// The handshake of a connection.
    pub(super) fn accept(&self, socket: TcpStream) -> Accept<TcpStream> {
        self.acceptor.accept(socket)
    }

    /// Reloads the certificate when its files change, for ever.
    pub(super) async fn reload_on_change(self) {
        // What has changed since they were opened is found at the first check.
        let mut seen = None;
        let mut complaint = String::new();
        loop {
            tokio::time::sleep(RELOAD_PAUSE).await;
            let now = self.files.stamps();
            // A bad pair is read again at each check: its second half may be on the way.
            if seen.as_ref() == Some(&now) && complaint.is_empty() {
                continue;
            }
            match self.files.load() {
                Ok(pair) if self.certificate.is_same(&pair) => complaint.clear(),
                Ok(pair) => {
                    self.certificate.replace(pair);
                    complaint.clear();
                    info!(certificate = %self.files.cert.display(), "a new certificate is in use");
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != complaint {
                        warn!(%error, "a certificate is wrong; the one before stays in use");
                    }
                    complaint = text;
                }
            }
            seen = Some(now);
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.files.cert).finish_non_exhaustive()
    }
}

/// A connection after its handshake.
pub(super) type TlsConnection = TlsStream<TcpStream>;

struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let unread = |path: &Path, why| TlsError::Unread { path: path.to_owned(), why };
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(|sections| sections.collect::<Result<Vec<_>, _>>())
            .map_err(|why| unread(&self.cert, why))?;
        if chain.is_empty() {
            return Err(unread(&self.cert, pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|why| unread(&self.key, why))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|why| self.unfit(why))
    }

    fn unfit(&self, why: rustls::Error) -> TlsError {
        TlsError::Unfit { cert: self.cert.clone(), key: self.key.clone(), why }
    }

    /// What differs when a file was written or replaced, through links.
    fn stamps(&self) -> [Option<(u64, u64, i64, i64)>; 2] {
        let stamp = |found: io::Result<fs::Metadata>| {
            found.ok().map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        };
        [&self.cert, &self.key].map(|path| stamp(fs::metadata(path)))
    }
}

/// The certificate that clients get now.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl CurrentCertificate {
    fn current(&self) -> Arc<CertifiedKey> {
        // A pointer is whole after any panic.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_same(&self, pair: &CertifiedKey) -> bool {
        self.current().cert == pair.cert
    }

    fn replace(&self, pair: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}
