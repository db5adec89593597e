//! An API server as it is in bad times: between a controller and the real one, it refuses for a while or
//! loses its answers.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{AUTHORIZATION, CONNECTION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Api;

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Passes it on.
    Fair,
    /// Answers 429 with a `Retry-After` of a second.
    Busy,
    /// Passes it on; of the answers to writes every other is lost, and its connection with it.
    Forgetful,
    /// Takes it and says nothing, for ever.
    Mute,
}

/// A running proxy. It ends with this value.
pub struct Proxy {
    /// Its address, such as `http://127.0.0.1:41234`.
    pub address: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    mood: Mutex<Mood>,
    writes: AtomicU64,
    spoilt: AtomicU64,
}

impl Proxy {
    /// In front of the API server of this kubeconfig, with its user's rights for whoever comes.
    pub async fn start(kubeconfig: &Path) -> anyhow::Result<Self> {
        let client = Api::from_kubeconfig(kubeconfig).await?.client();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State {
            mood: Mutex::new(Mood::Fair),
            writes: AtomicU64::new(0),
            spoilt: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (client, state) = (client.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (client, state) = (client.clone(), Arc::clone(&state));
                        async move { answer(client, &state, request).await }
                    });
                    // An error ends this connection, as it is meant to.
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .unwrap_or_default();
                });
            }
        });
        Ok(Self { address, state, task })
    }

    /// From now on.
    pub fn be(&self, mood: Mood) {
        *self.state.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Requests that were refused, whose answers were lost, or that got none.
    pub fn spoilt(&self) -> u64 {
        self.state.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    client: kube::Client,
    state: &State,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let lost = |error: &dyn std::fmt::Display| std::io::Error::other(error.to_string());
    let mood = *state.mood.lock().unwrap_or_else(PoisonError::into_inner);
    if mood == Mood::Busy {
        state.spoilt.fetch_add(1, Ordering::Relaxed);
        return Ok(busy());
    }
    if mood == Mood::Mute {
        state.spoilt.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }
    let is_write = request.method() != Method::GET;
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| lost(&error))?.to_bytes();
    for header in [HOST, CONNECTION, AUTHORIZATION] {
        head.headers.remove(header);
    }
    let request = Request::from_parts(head, Body::from(body));
    let answer = client.send(request).await.map_err(|error| lost(&error))?;
    if mood == Mood::Forgetful
        && is_write
        && state.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
    {
        state.spoilt.fetch_add(1, Ordering::Relaxed);
        return Err(lost(&"the answer is lost"));
    }
    Ok(answer)
}

/// As API Priority and Fairness answers.
fn busy() -> Response<Body> {
    let body = br#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Too many requests, please try again later.","reason":"TooManyRequests","code":429}"#;
    let mut answer = Response::new(Body::from(body.to_vec()));
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    answer.headers_mut().insert("Retry-After", HeaderValue::from_static("1"));
    answer.headers_mut().insert("Content-Type", HeaderValue::from_static("application/json"));
    answer
}
