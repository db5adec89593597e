//! A client of the REST API, for the commands that ask a server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use windlass_core::Error;

use crate::cli::BadUsage;

/// Longest time of one request.
const REQUEST: Duration = Duration::from_secs(60);

/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Where a server listens that was told nothing else.
pub(crate) const LOCAL: &str = "http://127.0.0.1:7070";

/// A server and the right to ask it.
pub(crate) struct Client {
    http: Http<HttpConnector, Empty<Bytes>>,
    server: String,
    token: String,
}

impl Client {
    /// Of this server, with `WINDLASS_TOKEN` or the token in this data directory.
    pub(crate) fn new(server: &str, data: &Path) -> anyhow::Result<Self> {
        let uri: Uri = server.parse().map_err(|_| BadUsage(format!("{server:?} is no URL")))?;
        if uri.scheme_str() != Some("http") {
            let message =
                format!("{server:?}: only http:// is spoken; forward a port or use kubectl");
            return Err(BadUsage(message).into());
        }
        let token = match std::env::var("WINDLASS_TOKEN") {
            Ok(token) => token,
            Err(_) => {
                let path = data.join("token");
                std::fs::read_to_string(&path).with_context(|| {
                    format!("{}: give the token in WINDLASS_TOKEN", path.display())
                })?
            }
        };
        let http = Http::builder(TokioExecutor::new()).build_http();
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self { http, server, token: token.trim().to_owned() })
    }

    /// What a GET of this path answers.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.server);
        let request = Request::get(&url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::new())
            .with_context(|| format!("{url:?} is no URL"))?;
        let answer = async {
            let answer = self
                .http
                .request(request)
                .await
                .with_context(|| format!("{} does not answer; is it running?", self.server))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body =
                body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
            Ok::<_, anyhow::Error>((head.status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(REQUEST, answer)
            .await
            .with_context(|| format!("{} does not answer in time", self.server))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).context("the answer is not what was expected");
        }
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("no reason was given");
        match status {
            StatusCode::NOT_FOUND => Err(BadUsage(detail.to_owned()).into()),
            StatusCode::UNAUTHORIZED => bail!("the token is not known to {}", self.server),
            status => Err(Error::unavailable(format!("{status}: {detail}")).into()),
        }
    }
}
