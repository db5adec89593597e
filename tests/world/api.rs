//! Requests to the API server with plain JSON.

use std::path::Path;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

/// Longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// A client of one user.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
}

/// Why a request has no answer, or which.
#[derive(Clone, Debug)]
pub struct ApiRefusal {
    /// Status code; 0 when there was no answer.
    pub code: u16,
    /// What the API server says.
    pub message: String,
}

impl std::fmt::Display for ApiRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

impl std::error::Error for ApiRefusal {}

impl Api {
    /// The user of this kubeconfig. Nothing is repeated by itself.
    pub async fn from_kubeconfig(kubeconfig: &Path) -> anyhow::Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(file, &options).await?;
        config.default_retry = false;
        config.read_timeout = None;
        Ok(Self { client: kube::Client::try_from(config)? })
    }

    /// The client itself, for a watch.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Value, ApiRefusal> {
        self.send(Method::GET, path, "", &Value::Null).await
    }

    /// The objects of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, ApiRefusal> {
        match self.get(path).await?["items"].take() {
            Value::Array(items) => Ok(items),
            other => Err(ApiRefusal { code: 200, message: format!("{path} is no list: {other}") }),
        }
    }

    /// POST to the path of a collection.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiRefusal> {
        self.send(Method::POST, path, "application/json", object).await
    }

    /// A merge patch.
    pub async fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiRefusal> {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch).await
    }

    /// PUT.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiRefusal> {
        self.send(Method::PUT, path, "application/json", object).await
    }

    /// DELETE in the background.
    pub async fn delete(&self, path: &str) -> Result<Value, ApiRefusal> {
        let options = json!({ "propagationPolicy": "Background" });
        self.send(Method::DELETE, path, "application/json", &options).await
    }

    /// DELETE that leaves what the object owns.
    pub async fn delete_and_orphan(&self, path: &str) -> Result<Value, ApiRefusal> {
        let options = json!({ "propagationPolicy": "Orphan" });
        self.send(Method::DELETE, path, "application/json", &options).await
    }

    /// Creates, or leaves what is there.
    pub async fn ensure(&self, path: &str, object: &Value) -> Result<(), ApiRefusal> {
        match self.create(path, object).await {
            Ok(_) => Ok(()),
            Err(refused) if refused.code == 409 => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Creates many objects in the same collection, so many requests at a time.
    pub async fn create_all(
        &self,
        path: &str,
        objects: Vec<Value>,
        at_once: usize,
    ) -> Result<(), ApiRefusal> {
        futures::stream::iter(objects)
            .map(|object| async move { self.create(path, &object).await })
            .buffer_unordered(at_once)
            .try_for_each(async |_| Ok(()))
            .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: &Value,
    ) -> Result<Value, ApiRefusal> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let no_answer = |message: String| ApiRefusal { code: 0, message };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", content)
            .body(bytes)
            .map_err(|error| no_answer(format!("{path}: {error}")))?;
        match tokio::time::timeout(DEADLINE, self.client.request::<Value>(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(ApiRefusal {
                code: status.code,
                message: format!("{path}: {}", status.message),
            }),
            Ok(Err(error)) => Err(no_answer(format!("{path}: {error}"))),
            Err(_) => Err(no_answer(format!("{path}: no answer in {DEADLINE:?}"))),
        }
    }
}

/// Path of the ComputeJobs of a namespace, or of one.
pub fn compute_jobs(namespace: &str, name: &str) -> String {
    at(format!("/apis/windlass.dev/v1alpha1/namespaces/{namespace}/computejobs"), name)
}

/// Path of the ComputeFunctions of a namespace, or of one.
pub fn compute_functions(namespace: &str, name: &str) -> String {
    at(format!("/apis/windlass.dev/v1alpha1/namespaces/{namespace}/computefunctions"), name)
}

/// Path of the ComputeQueues of a namespace, or of one.
pub fn compute_queues(namespace: &str, name: &str) -> String {
    at(format!("/apis/windlass.dev/v1alpha1/namespaces/{namespace}/computequeues"), name)
}

/// Path of the batch Jobs of a namespace, or of one.
pub fn batch_jobs(namespace: &str, name: &str) -> String {
    at(format!("/apis/batch/v1/namespaces/{namespace}/jobs"), name)
}

/// Path of the pods of a namespace, or of one.
pub fn pods(namespace: &str, name: &str) -> String {
    at(format!("/api/v1/namespaces/{namespace}/pods"), name)
}

fn at(collection: String, name: &str) -> String {
    if name.is_empty() { collection } else { format!("{collection}/{name}") }
}
