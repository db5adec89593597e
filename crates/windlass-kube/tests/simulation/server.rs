//! An API server in memory: lists, watches, compare-and-set, owner references. It keeps the promises
//! of a real one and checks ours at each write. Faults are those that a plan names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has no effect, and is answered with this code.
    Refused(u16),
    /// It has its effect, and the answer is lost.
    Unanswered,
    /// The controller dies before it.
    DeathBefore,
    /// The controller dies after it took effect, before the answer.
    DeathAfter,
}

/// Plural, namespace and name.
pub(crate) type Key = (String, String, String);

#[derive(Clone)]
pub(crate) struct Server(Arc<Mutex<State>>);

/// How reads and watches fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unruly {
    /// What they bring comes up to so many milliseconds late, each on its own.
    pub(crate) late: u64,
    /// So many of them end since what they would begin with is too old: 410.
    pub(crate) too_old: u32,
    /// What the watch of pods brings comes so many milliseconds later still.
    pub(crate) late_pods: u64,
    /// So many reads are refused with 500, by and by.
    pub(crate) refused_reads: u32,
    /// Makes each run another one.
    pub(crate) seed: u64,
}

/// A number below this one: xorshift64, by Marsaglia.
pub(crate) fn lot(seed: &mut u64, below: u64) -> u64 {
    *seed |= 1;
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % below.max(1)
}

pub(crate) struct State {
    version: u64,
    uids: u64,
    pub(crate) objects: BTreeMap<Key, Value>,
    /// Every change: version, plural, kind of event, object.
    log: Vec<(u64, String, &'static str, Value)>,
    news: watch::Sender<u64>,
    /// Writes of controllers so far.
    pub(crate) writes: Vec<String>,
    faults: BTreeMap<usize, Fault>,
    pub(crate) unruly: Option<Unruly>,
    /// Controllers that have died by a fault.
    pub(crate) deaths: watch::Sender<Vec<usize>>,
    pub(crate) broken: Vec<String>,
}

/// A request's path.
struct Path {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

impl Path {
    fn read(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        match parts.next()? {
            "api" => drop(parts.next()?),
            "apis" => drop((parts.next()?, parts.next()?)),
            _ => return None,
        }
        let mut rest: Vec<_> = parts.map(str::to_owned).collect();
        let namespace = (rest.first().is_some_and(|part| part == "namespaces") && rest.len() > 2)
            .then(|| rest.drain(..2).nth(1))
            .flatten();
        let mut rest = rest.into_iter();
        Some(Self { plural: rest.next()?, namespace, name: rest.next(), subresource: rest.next() })
    }
}

impl Server {
    pub(crate) fn new(faults: BTreeMap<usize, Fault>) -> Self {
        Self(Arc::new(Mutex::new(State {
            version: 1,
            uids: 0,
            objects: BTreeMap::new(),
            log: Vec::new(),
            news: watch::Sender::new(1),
            writes: Vec::new(),
            faults,
            unruly: None,
            deaths: watch::Sender::new(Vec::new()),
            broken: Vec::new(),
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

    async fn answer(
        &self,
        controller: usize,
        request: Request<Body>,
    ) -> Result<Answer, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let Some(path) = Path::read(parts.uri.path()) else {
            return Ok(problem(404, "no such path"));
        };
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decoded(&value.replace('+', " "))))
            .collect();
        if parts.method == Method::GET {
            if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
                return Ok(self.watch(&path, &query));
            }
            let (answer, late) = {
                let mut state = self.lock();
                if state.is_refused() {
                    return Ok(problem(500, "a fault"));
                }
                (state.read(&path, &query), state.late())
            };
            // It tells how things were.
            tokio::time::sleep(late / 4).await;
            return Ok(answer);
        }
        // Leases and events belong to no job.
        let counts = !matches!(path.plural.as_str(), "leases" | "events");
        let fault = {
            let mut state = self.lock();
            if counts {
                let what = format!(
                    "{controller}: {} {}/{}{}",
                    parts.method,
                    path.plural,
                    path.name.as_deref().or(body["metadata"]["name"].as_str()).unwrap_or(""),
                    path.subresource.as_deref().map_or(String::new(), |sub| format!("/{sub}")),
                );
                state.writes.push(what);
                let number = state.writes.len() - 1;
                state.faults.remove(&number)
            } else {
                None
            }
        };
        match fault {
            Some(Fault::Refused(code)) => return Ok(problem(code, "a fault")),
            Some(Fault::DeathBefore) => return self.die(controller).await,
            _ => {}
        }
        let late = self.lock().late();
        // What it was decided from may be another by now.
        tokio::time::sleep(late / 4).await;
        let answer = {
            let mut state = self.lock();
            state.check_write(&parts.method, &path, &body);
            let answer = state.write(&parts.method, &path, body);
            if parts.method == Method::POST && answer.status() == StatusCode::CREATED {
                state.check_claim(&path);
            }
            answer
        };
        match fault {
            Some(Fault::Unanswered) => {
                Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "a fault"))
            }
            Some(Fault::DeathAfter) => self.die(controller).await,
            _ => Ok(answer),
        }
    }

    async fn die(&self, controller: usize) -> Result<Answer, std::io::Error> {
        self.lock().deaths.send_modify(|deaths| deaths.push(controller));
        std::future::pending().await
    }

    fn watch(&self, path: &Path, query: &BTreeMap<String, String>) -> Answer {
        let since = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        let news = self.lock().news.subscribe();
        let (plural, namespace) = (path.plural.clone(), path.namespace.clone());
        let query = query.clone();
        let server = self.clone();
        let lines = futures::stream::unfold(Some((since, news)), move |from| {
            let (plural, namespace, query) = (plural.clone(), namespace.clone(), query.clone());
            let server = server.clone();
            async move {
                let (since, mut news) = from?;
                loop {
                    let (now, lines) = {
                        let state = server.lock();
                        let unseen = state.log.partition_point(|(version, ..)| *version <= since);
                        let lines: String = state.log[unseen..]
                            .iter()
                            .filter(|(_, of, _, object)| {
                                *of == plural && selected(object, namespace.as_deref(), &query)
                            })
                            .map(|(_, _, kind, object)| {
                                format!("{}\n", json!({ "type": kind, "object": object }))
                            })
                            .collect();
                        (state.version, lines)
                    };
                    let frame = |lines| Ok::<_, std::io::Error>(http_body::Frame::data(lines));
                    if !lines.is_empty() && server.lock().is_too_old() {
                        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                            "code": 410, "reason": "Expired", "message": "too old" });
                        let line = format!("{}\n", json!({ "type": "ERROR", "object": status }));
                        return Some((frame(Bytes::from(line)), None));
                    }
                    if !lines.is_empty() {
                        let late = {
                            let mut state = server.lock();
                            let pods = state.unruly.filter(|_| plural == "pods");
                            state.late()
                                + Duration::from_millis(pods.map_or(0, |unruly| unruly.late_pods))
                        };
                        tokio::time::sleep(late).await;
                        return Some((frame(Bytes::from(lines)), Some((now, news))));
                    }
                    news.changed().await.ok()?;
                }
            }
        });
        let body = StreamBody::new(lines.boxed());
        Response::new(UnsyncBoxBody::new(body))
    }
}

impl State {
    /// How late the next events of a watch come.
    fn late(&mut self) -> Duration {
        let late = self.unruly.as_mut().map_or(0, |unruly| lot(&mut unruly.seed, unruly.late));
        Duration::from_millis(late)
    }

    /// Whether a read is refused now.
    fn is_refused(&mut self) -> bool {
        let Some(unruly) = &mut self.unruly else { return false };
        let refused = unruly.refused_reads > 0 && lot(&mut unruly.seed, 4) == 0;
        unruly.refused_reads -= u32::from(refused);
        refused
    }

    /// Nothing is deleted, and no status written, but what the controller has seen.
    fn check_write(&mut self, method: &Method, path: &Path, body: &Value) {
        let name = path.name.as_deref().unwrap_or_default();
        if *method == Method::DELETE && body["preconditions"]["uid"].is_null() {
            self.broken.push(format!("{}/{name} is deleted whatever it is", path.plural));
        }
        let is_status = path.subresource.as_deref() == Some("status");
        if is_status && body["metadata"]["resourceVersion"].is_null() {
            self.broken.push(format!("the status of {name} is written whatever it was"));
        }
    }

    /// The batch Job that was created last is one that its queue has named.
    fn check_claim(&mut self, path: &Path) {
        let Some((_, _, _, object)) = self.log.last() else { return };
        let labels = &object["metadata"]["labels"];
        let queue = ("computequeues".into(), "default".into(), "default".into());
        let Some(queue) = self.objects.get(&queue).filter(|_| path.plural == "jobs") else {
            return;
        };
        let number = |label: &str| labels[label].as_str().unwrap().parse::<u64>().ok();
        let is_its = |claim: &Value| {
            claim["jobUid"] == labels["windlass.dev/job-uid"]
                && claim["attempt"].as_u64() == number("windlass.dev/attempt")
                && claim["cpus"].as_u64() == number("windlass.dev/cpus")
        };
        let claims = queue["status"]["claims"].as_array();
        if !claims.is_some_and(|claims| claims.iter().any(is_its)) {
            let name = &object["metadata"]["name"];
            self.broken.push(format!("{name} is made, and was not claimed: {}", queue["status"]));
        }
    }

    /// Whether a watch ends now.
    fn is_too_old(&mut self) -> bool {
        let Some(unruly) = &mut self.unruly else { return false };
        let ends = unruly.too_old > 0 && lot(&mut unruly.seed, 8) == 0;
        unruly.too_old -= u32::from(ends);
        ends
    }

    fn read(&self, path: &Path, query: &BTreeMap<String, String>) -> Answer {
        if let Some(name) = &path.name {
            let key =
                (path.plural.clone(), path.namespace.clone().unwrap_or_default(), name.clone());
            return match self.objects.get(&key) {
                Some(object) => json_answer(StatusCode::OK, object),
                None => problem(404, "not found"),
            };
        }
        let items: Vec<_> = self
            .objects
            .iter()
            .filter(|((plural, ..), object)| {
                *plural == path.plural && selected(object, path.namespace.as_deref(), query)
            })
            .map(|(_, object)| object)
            .collect();
        let list = json!({ "apiVersion": "v1", "kind": "List",
            "metadata": { "resourceVersion": self.version.to_string() }, "items": items });
        json_answer(StatusCode::OK, &list)
    }

    fn write(&mut self, method: &Method, path: &Path, body: Value) -> Answer {
        let namespace = path.namespace.clone().unwrap_or_default();
        if *method == Method::POST {
            let name = body["metadata"]["name"].as_str().unwrap_or("event").to_owned();
            let key = (path.plural.clone(), namespace, name);
            if self.objects.contains_key(&key) {
                return problem(409, "already exists");
            }
            return json_answer(StatusCode::CREATED, &self.create(key, body));
        }
        let key = (path.plural.clone(), namespace, path.name.clone().unwrap_or_default());
        let Some(old) = self.objects.get(&key).cloned() else { return problem(404, "not found") };
        let expected = if *method == Method::DELETE {
            &body["preconditions"]["uid"]
        } else {
            &body["metadata"]["resourceVersion"]
        };
        let actual = if *method == Method::DELETE {
            &old["metadata"]["uid"]
        } else {
            &old["metadata"]["resourceVersion"]
        };
        if !expected.is_null() && expected != actual {
            return problem(409, "the object has been modified");
        }
        match *method {
            Method::DELETE => {
                self.delete(&key);
                json_answer(StatusCode::OK, &old)
            }
            Method::PUT => json_answer(StatusCode::OK, &self.put(&key, body)),
            _ => {
                let mut new = old;
                let mut patch = body;
                patch.as_object_mut().map(|patch| patch.remove("metadata"));
                merge(&mut new, &patch);
                json_answer(StatusCode::OK, &self.put(&key, new))
            }
        }
    }

    pub(crate) fn create(&mut self, key: Key, mut object: Value) -> Value {
        self.uids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012}", self.uids);
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["name"] = json!(key.2);
        object["metadata"]["namespace"] = json!(key.1);
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!(Timestamp::now());
        self.record(key, "ADDED", object)
    }

    pub(crate) fn put(&mut self, key: &Key, object: Value) -> Value {
        if key.0 == "computejobs"
            && let Some(old) = self.objects.get(key)
        {
            let broken = went_back(&old["status"], &object["status"]);
            self.broken.extend(broken.map(|what| format!("{}: {what}", key.2)));
        }
        self.record(key.clone(), "MODIFIED", object)
    }

    /// Deletes an object and what it owns. A pod is only told to end: the kubelet deletes it.
    pub(crate) fn delete(&mut self, key: &Key) {
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        if key.0 == "pods" {
            if object["metadata"]["deletionTimestamp"].is_null() {
                object["metadata"]["deletionTimestamp"] = json!(Timestamp::now());
                self.put(key, object);
            }
            return;
        }
        self.remove(key);
        let uid = &object["metadata"]["uid"];
        let owned: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| object["metadata"]["ownerReferences"][0]["uid"] == *uid)
            .map(|(key, _)| key.clone())
            .collect();
        for key in owned {
            self.delete(&key);
        }
    }

    /// Deletes an object, and what it owns stays and belongs to nobody.
    pub(crate) fn delete_and_orphan(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key).cloned() else { return };
        let uid = &object["metadata"]["uid"];
        let owned = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"] == *uid;
        let orphans: Vec<_> = self.objects.iter().filter(|(_, object)| owned(object)).collect();
        let orphans: Vec<_> = orphans.into_iter().map(|(k, o)| (k.clone(), o.clone())).collect();
        for (key, mut orphan) in orphans {
            orphan["metadata"]["ownerReferences"] = Value::Null;
            self.put(&key, orphan);
        }
        self.remove(key);
    }

    /// Suspends a batch Job, or has it go on.
    pub(crate) fn suspend(&mut self, key: &Key, suspended: bool) {
        if let Some(mut object) = self.objects.get(key).cloned() {
            object["spec"]["suspend"] = json!(suspended);
            self.put(key, object);
        }
    }

    /// Takes an object away for good.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.get(key).cloned() {
            self.record(key.clone(), "DELETED", object);
        }
    }

    fn record(&mut self, key: Key, kind: &'static str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.log.push((self.version, key.0.clone(), kind, object.clone()));
        if kind == "DELETED" {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, object.clone());
        }
        self.check();
        self.news.send_replace(self.version);
        object
    }

    /// Our promises about what is there now.
    fn check(&mut self) {
        let mut broken = Vec::new();
        let mut live: BTreeMap<String, u32> = BTreeMap::new();
        let mut attempts: BTreeMap<String, u64> = BTreeMap::new();
        for ((plural, ..), object) in &self.objects {
            let labels = &object["metadata"]["labels"];
            let Some(uid) = labels["windlass.dev/job-uid"].as_str() else { continue };
            let attempt = format!("{uid}/{}", labels["windlass.dev/attempt"].as_str().unwrap());
            let cpus: u64 = labels["windlass.dev/cpus"].as_str().unwrap().parse().unwrap();
            if plural == "pods" && is_live(object) {
                *live.entry(uid.to_owned()).or_default() += 1;
                attempts.insert(attempt, cpus);
            } else if plural == "jobs" && object["status"]["had_pod"].is_null() {
                attempts.insert(attempt, cpus);
            }
        }
        for (uid, pods) in live.iter().filter(|(_, pods)| **pods > 1) {
            broken.push(format!("{pods} live pods of job {uid}"));
        }
        let granted: u64 = attempts.values().sum();
        let quota = self
            .objects
            .get(&("computequeues".into(), "default".into(), "default".into()))
            .and_then(|queue| queue["spec"]["cpus"].as_u64());
        if let Some(quota) = quota.filter(|quota| granted > *quota) {
            broken.push(format!("{granted} CPUs granted of {quota}: {attempts:?}"));
        }
        self.broken.extend(broken);
    }

    pub(crate) fn all<'a>(&'a self, plural: &'a str) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        self.objects.iter().filter(move |((of, ..), _)| of == plural)
    }
}

pub(crate) fn is_live(pod: &Value) -> bool {
    !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn went_back(old: &Value, new: &Value) -> Option<String> {
    let over = matches!(old["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled"));
    if over && old["phase"] != new["phase"] {
        return Some(format!("{} became {}", old["phase"], new["phase"]));
    }
    if !old["result"].is_null() && old["result"] != new["result"] {
        return Some("its result changed".into());
    }
    let attempt = |status: &Value| status["attempt"].as_u64().unwrap_or(0);
    (attempt(old) > attempt(new)).then(|| "its attempt went back".into())
}

fn selected(object: &Value, namespace: Option<&str>, query: &BTreeMap<String, String>) -> bool {
    let meta = &object["metadata"];
    let label = |selector: &String| match selector.split_once(" in ") {
        Some((key, set)) => {
            set.trim_matches(['(', ')']).split(',').any(|value| meta["labels"][key] == value)
        }
        None => selector.split(',').all(|part| match part.split_once('=') {
            Some((key, value)) => meta["labels"][key] == value,
            None => !meta["labels"][part].is_null(),
        }),
    };
    namespace.is_none_or(|namespace| meta["namespace"] == namespace)
        && query.get("labelSelector").is_none_or(label)
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex: String = if byte == b'%' {
            rest.by_ref().take(2).map(char::from).collect()
        } else {
            String::new()
        };
        bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(byte));
    }
    String::from_utf8(bytes).unwrap()
}

fn json_answer(code: StatusCode, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string()));
    let body = UnsyncBoxBody::new(body.map_err(|never| match never {}));
    Response::builder().status(code).body(body).unwrap()
}

fn problem(code: u16, message: &str) -> Answer {
    let reason = match code {
        404 => "NotFound",
        409 if message.starts_with("already") => "AlreadyExists",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": reason, "message": message });
    json_answer(StatusCode::from_u16(code).unwrap(), &status)
}
