//! Flags of a server that listens: TLS, and bounds on its callers.

use std::path::{Path, PathBuf};

use clap::Args;
use windlass_gateway::{RequestRates, ServerLimits, Tls};

use super::bad_usage::BadUsage;

/// What a server is told about those who call it.
#[derive(Debug, Args)]
pub(crate) struct ListenerFlags {
    /// Certificate chain (PEM); with it only TLS is spoken. Read again when it changes
    #[arg(long, env = "WINDLASS_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "WINDLASS_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Most requests of one caller in a second, twice as many in a burst; more get 429
    /// [default: no bound]
    #[arg(long, env = "WINDLASS_RATE_LIMIT", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate_limit: Option<u32>,
}

impl ListenerFlags {
    /// The certificate and key, which must be good when the server starts.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let files: Option<(&Path, &Path)> = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        let opened = files.map(|(cert, key)| Tls::open(cert, key)).transpose();
        opened.map_err(|error| BadUsage(format!("TLS: {error}")).into())
    }

    /// These bounds with those of the command line.
    pub(crate) fn limits(&self, limits: ServerLimits) -> ServerLimits {
        let rates = RequestRates { caller_requests: self.rate_limit, ..limits.rates };
        ServerLimits { rates, ..limits }
    }
}
