//! An API server in memory: lists, watches, compare-and-set, owner references. It keeps the promises
//! of a real one and checks ours at each write. Faults are those that a story names.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

mod faults;
mod promises;
mod rest;
mod storage;
mod watches;

use crate::virtual_time::now;
pub(crate) use faults::{ReadFaults, WriteFault, random_below};
use rest::{Answer, Path, core_resources, json_answer, problem, read_query};

/// Plural, namespace and name.
pub(crate) type Key = (String, String, String);

/// The key of an object in the only namespace.
pub(crate) fn key(plural: &str, name: &str) -> Key {
    (plural.to_owned(), "default".to_owned(), name.to_owned())
}

#[derive(Clone)]
pub(crate) struct Server(Arc<Mutex<State>>);

pub(crate) struct State {
    version: u64,
    uids: u64,
    pub(crate) objects: BTreeMap<Key, Value>,
    /// Every change: version, plural, kind of event, object.
    log: Vec<(u64, String, &'static str, Value)>,
    versions: watch::Sender<u64>,
    /// Writes of controllers so far.
    pub(crate) writes: Vec<String>,
    /// When what was written, and what became of batch Jobs and pods: for whoever reads why a story has failed.
    pub(crate) course: Vec<String>,
    faults: BTreeMap<usize, WriteFault>,
    /// Parts of the names of writes, and how often such a write is refused.
    pub(crate) refused: Vec<(&'static str, usize)>,
    /// Objects of this plural in this namespace an admission webhook is asked about that answers only after so long, with an
    /// error.
    pub(crate) hung: Option<(&'static str, &'static str, Duration)>,
    pub(crate) read_faults: Option<ReadFaults>,
    /// Decides how long requests, answers and events are on their way.
    pub(crate) random: u64,
    pub(crate) drops_managed_by: bool,
    /// Minor version, once it is told.
    pub(crate) minor: Option<u32>,
    /// Controllers that have died by a fault.
    pub(crate) deaths: watch::Sender<Vec<usize>>,
    pub(crate) broken_promises: Vec<String>,
    /// The functions for all that the namespace may use.
    pub(crate) usable: BTreeSet<String>,
}

impl Server {
    pub(crate) fn new(faults: BTreeMap<usize, WriteFault>) -> Self {
        Self(Arc::new(Mutex::new(State {
            version: 1,
            uids: 0,
            objects: BTreeMap::new(),
            log: Vec::new(),
            versions: watch::Sender::new(1),
            writes: Vec::new(),
            course: Vec::new(),
            faults,
            refused: Vec::new(),
            hung: None,
            read_faults: None,
            random: 1,
            drops_managed_by: false,
            minor: None,
            deaths: watch::Sender::new(Vec::new()),
            broken_promises: Vec::new(),
            usable: BTreeSet::new(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that is the controller of this number.
    pub(crate) fn client(&self, controller: usize) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(controller, request).await }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, controller: usize, request: Request<Body>) -> io::Result<Answer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.travel().await;
        if parts.uri.path() == "/version" {
            return Ok(self.lock().tell_version());
        }
        if parts.uri.path() == "/api/v1" {
            return Ok(core_resources());
        }
        let Some(path) = Path::read(parts.uri.path()) else {
            return Ok(problem(404, "no such path"));
        };
        if path.plural == "subjectaccessreviews" {
            return Ok(self.lock().review_access(body));
        }
        if parts.method != Method::GET {
            return self.write(controller, &parts.method, &path, body).await;
        }
        let query = read_query(parts.uri.query().unwrap_or_default());
        if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
            return Ok(self.watch(path, query));
        }
        let (answer, delay) = {
            let mut state = self.lock();
            if state.refuses_read() {
                return Ok(problem(500, "a fault"));
            }
            (state.read(&path, &query), state.read_delay())
        };
        // The answer shows how things were.
        tokio::time::sleep(delay / 4).await;
        self.travel().await;
        Ok(answer)
    }

    async fn write(
        &self,
        controller: usize,
        method: &Method,
        path: &Path,
        body: Value,
    ) -> io::Result<Answer> {
        let fault = self.lock().count_write(controller, method, path, &body);
        match fault {
            Some(WriteFault::Refused(code)) => return Ok(problem(code, "a fault")),
            Some(WriteFault::DeathBefore) => return self.die(controller).await,
            _ => {}
        }
        let hangs = self.lock().hangs(method, path);
        if let Some(after) = hangs {
            tokio::time::sleep(after).await;
            return Ok(problem(500, "failed calling webhook \"w\": context deadline exceeded"));
        }
        let delay = self.lock().read_delay();
        // What the controller has decided from may have changed by then.
        tokio::time::sleep(delay / 4).await;
        let answer = {
            let mut state = self.lock();
            state.check_write(method, path, &body);
            let claims = *method == Method::PATCH
                && !body["metadata"]["labels"]["windlass.dev/job"].is_null();
            let answer = state.write(method, path, body);
            let is_created = *method == Method::POST && answer.status() == StatusCode::CREATED;
            if is_created || claims && answer.status() == StatusCode::OK {
                state.check_claim(path);
            }
            answer
        };
        match fault {
            Some(WriteFault::Unanswered) => {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "a fault"))
            }
            Some(WriteFault::DeathAfter) => self.die(controller).await,
            _ => {
                self.travel().await;
                Ok(answer)
            }
        }
    }

    /// A request, or an answer, is on its way.
    async fn travel(&self) {
        let time = self.lock().travel_time();
        tokio::time::sleep(time).await;
    }

    async fn die(&self, controller: usize) -> io::Result<Answer> {
        self.lock().deaths.send_modify(|deaths| deaths.push(controller));
        std::future::pending().await
    }
}

impl State {
    fn tell_version(&self) -> Answer {
        let Some(minor) = self.minor else { return problem(503, "a fault") };
        let names = ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion"];
        let more = names.into_iter().chain(["compiler", "platform"]).map(|name| (name, json!("")));
        let mut version: Value = more.collect();
        version["major"] = json!("1");
        version["minor"] = json!(minor.to_string());
        json_answer(StatusCode::OK, &version)
    }

    /// Whether the service accounts of the namespace may use a function.
    fn review_access(&self, mut review: Value) -> Answer {
        let spec = &review["spec"];
        let (wanted, groups) = (&spec["resourceAttributes"], spec["groups"].to_string());
        let is_use = wanted["resource"] == "clustercomputefunctions"
            && (&wanted["verb"], &wanted["namespace"]) == (&json!("use"), &json!("default"))
            && groups.contains("\"system:serviceaccounts:default\"");
        let name = wanted["name"].as_str().unwrap_or_default();
        review["status"] = json!({ "allowed": is_use && self.usable.contains(name) });
        json_answer(StatusCode::CREATED, &review)
    }

    /// For how long a webhook that fails in the end holds up this write.
    fn hangs(&self, method: &Method, path: &Path) -> Option<Duration> {
        let (plural, namespace, after) = self.hung.filter(|_| *method == Method::POST)?;
        let is_asked = path.plural == plural && path.namespace.as_deref() == Some(namespace);
        is_asked.then_some(after)
    }

    /// Counts a write of a controller, and gives the fault that is meant for it. Leases and events belong to no job, and
    /// do not count.
    fn count_write(
        &mut self,
        controller: usize,
        method: &Method,
        path: &Path,
        body: &Value,
    ) -> Option<WriteFault> {
        if matches!(path.plural.as_str(), "leases" | "events") {
            return None;
        }
        let name = path.name.as_deref().or(body["metadata"]["name"].as_str()).unwrap_or("");
        let subresource =
            path.subresource.as_deref().map_or(String::new(), |sub| format!("/{sub}"));
        let plural = &path.plural;
        let write = format!("{controller}: {method} {plural}/{name}{subresource}");
        let mut refused = self.refused.iter_mut();
        let refused = refused.find(|(part, times)| *times > 0 && write.contains(*part));
        let fault = if let Some((_, times)) = refused {
            *times -= 1;
            Some(WriteFault::Refused(500))
        } else {
            self.faults.remove(&self.writes.len())
        };
        self.course.push(format!("{} {write} {fault:?}", now()));
        self.writes.push(write);
        fault
    }
}

/// Whether a pod runs or may run. One that is deleted gets no node any more.
pub(crate) fn is_live(pod: &Value) -> bool {
    let may_get_node = pod["metadata"]["deletionTimestamp"].is_null();
    pod["spec"]["schedulingGates"].is_null()
        && (may_get_node || !pod["spec"]["nodeName"].is_null())
        && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}
