//! The client of the API server, with every call counted.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tokio::time::Instant;
use tower::{Layer, Service};
use windlass_core::Error;

use crate::metrics::Metrics;

/// A client for the cluster that the environment names: `KUBECONFIG`, or the pod's own.
///
/// The client retries nothing by itself: a repeated POST is a second effect, and a caller who waits decides when to
/// give up. Its calls are counted in `metrics`. A call fails when nothing arrives for `longest_silence`; without
/// that bound a stream may be silent for ever, as the stream of a log is.
pub async fn client(
    metrics: &Metrics,
    longest_silence: Option<Duration>,
) -> Result<kube::Client, Error> {
    let config = kube::Config::infer().await;
    let mut config = config.map_err(|error| unreachable(&error))?;
    config.read_timeout = longest_silence;
    // The timeout counts from the last write, not from when the connection was last used.
    config.reset_reader_on_write = true;
    from_config(config, Some(metrics))
}

/// A client of this configuration, which retries nothing; its calls are counted if there are metrics.
pub(crate) fn from_config(
    mut config: kube::Config,
    metrics: Option<&Metrics>,
) -> Result<kube::Client, Error> {
    config.default_retry = false;
    let builder =
        kube::client::ClientBuilder::try_from(config).map_err(|error| unreachable(&error))?;
    Ok(match metrics {
        Some(metrics) => builder.with_layer(&CountCalls(metrics.clone())).build(),
        None => builder.build(),
    })
}

fn unreachable(error: &dyn std::error::Error) -> Error {
    Error::unavailable(error.to_string())
}

/// Counts every call of a client.
#[derive(Clone)]
struct CountCalls(Metrics);

impl<S> Layer<S> for CountCalls {
    type Service = CountedCalls<S>;

    fn layer(&self, inner: S) -> CountedCalls<S> {
        CountedCalls { inner, metrics: self.0.clone() }
    }
}

/// A client's service whose calls are counted.
#[derive(Clone)]
struct CountedCalls<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, A, B> Service<Request<A>> for CountedCalls<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let resource = resource(request.uri().path());
        let verb = match *request.method() {
            Method::GET if watches => "watch",
            Method::GET => "get",
            Method::POST => "create",
            Method::PATCH => "patch",
            Method::PUT => "update",
            Method::DELETE => "delete",
            _ => "other",
        };
        let (metrics, began, answer) =
            (self.metrics.clone(), Instant::now(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await;
            // 0 for no answer at all.
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            metrics.api_called(verb, resource, code, began.elapsed().as_secs_f64());
            answer
        })
    }
}

/// The resource of a path, out of those that Windlass uses.
fn resource(path: &str) -> &'static str {
    const KNOWN: [&str; 13] = [
        "computejobs",
        "computefunctions",
        "clustercomputefunctions",
        "computequeues",
        "jobs",
        "pods",
        "nodes",
        "events",
        "leases",
        "tokenreviews",
        "subjectaccessreviews",
        "namespaces",
        "version",
    ];
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let mut found = "other";
    // `namespaces/NAME/` comes before the resource; what comes after the resource is a name.
    while let Some(part) = parts.next() {
        let Some(known) = KNOWN.iter().find(|known| **known == part) else { continue };
        found = known;
        if found != "namespaces" {
            break;
        }
        parts.next();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_resource_of_a_closed_list() {
        let table = [
            (
                "/apis/windlass.dev/v1alpha1/namespaces/pods/computejobs/leases/status",
                "computejobs",
            ),
            ("/api/v1/namespaces/a/pods", "pods"),
            ("/apis/batch/v1/jobs", "jobs"),
            ("/api/v1/namespaces/a", "namespaces"),
            ("/version", "version"),
            ("/whatever/pod", "other"),
            ("/", "other"),
        ];
        for (path, expected) in table {
            assert_eq!(resource(path), expected, "{path}");
        }
    }
}
