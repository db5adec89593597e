//! Whom a client trusts.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, crypto};

/// Why authorities cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// There is no certificate.
    #[error("there is no certificate in it")]
    Empty,
    /// It is no PEM.
    #[error("it is no PEM: {0}")]
    Pem(pem::Error),
    /// A certificate that is none, or a failure of TLS itself.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 with servers whose certificate one of these authorities (PEM) has signed; a
/// certificate that has signed itself is its own.
pub fn trusting(authorities: &[u8]) -> Result<ClientConfig, Untrusted> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        roots.add(certificate.map_err(Untrusted::Pem)?)?;
    }
    if roots.is_empty() {
        return Err(Untrusted::Empty);
    }
    Ok(client()?.with_root_certificates(roots).with_no_client_auth())
}

/// For servers that are asked without TLS.
pub fn trusting_nobody() -> Result<ClientConfig, Untrusted> {
    Ok(client()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// A client of this program's one kind of TLS.
pub fn client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
}
