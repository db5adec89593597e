//! Who may do what: every route of the table, every method, every kind of caller, over real sockets. What is
//! expected is computed from the table; a route without an entry here fails.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use windlass_core::jobs::Verb;
use windlass_gateway::routes::{Guard, ROUTES, Route};

use crate::support::cluster::{Namespace, kubectl};
use crate::support::http::Client;
use crate::support::server::Server;
use crate::support::windlass;

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
const VERBS: [Verb; 6] =
    [Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Patch, Verb::Delete];
/// Paths that no table has.
const UNKNOWN: [&str; 4] = ["/", "/v1", "/v1/anything", "/healthz/"];

/// A good report, of a job that is not there.
const REPORT: &str = r#"{"jobUid":"uid","attempt":1,"event":{"progress":{"done":1,"total":2,"message":"","elapsedSeconds":1.0}}}"#;
/// Of `result`.
const DIGEST: &str = "9qIU96X82gws7pZgt/wp9WSePGiq1I4g6VATfJiROmg=";

/// The same as blobs have it.
const BLOB: &str = "sha256:f6a214f7a5fcda0c2cee9660b7fc29f5649e3c68aad48e20e950137c98913a68";

/// What a route answers to somebody who may.
struct Entry(&'static str, &'static str, &'static [u16]);

const ENTRIES: &[Entry] = &[
    Entry("GET", "/healthz", &[200]),
    Entry("GET", "/readyz", &[200]),
    Entry("GET", "/openapi.json", &[200]),
    Entry("GET", "/docs", &[200]),
    Entry("GET", "/dashboard", &[200]),
    Entry("GET", "/dashboard/", &[200]),
    Entry("GET", "/dashboard/app.js", &[200]),
    Entry("GET", "/dashboard/app.css", &[200]),
    Entry("GET", "/dashboard/parquet.js", &[200]),
    Entry("POST", "/v1/login-codes", &[201]),
    // Nobody has a code: see `expected`.
    Entry("POST", "/v1/login", &[]),
    Entry("GET", "/metrics", &[200]),
    // Asked last by whoever may: it ends the server.
    Entry("POST", "/v1/drain", &[202]),
    // Nobody but workers and replicas: see `expected`.
    Entry("POST", "/v1/reports", &[]),
    Entry("PUT", "/v1/reports/{job_uid}/{attempt}/result", &[]),
    Entry("PUT", "/v1/reports/{job_uid}/{attempt}/log", &[]),
    Entry("GET", "/v1/reports/{job_uid}/{attempt}/blobs/{digest}", &[]),
    Entry("POST", "/v1/reports/assignment", &[]),
    Entry("POST", "/v1/peers/progress", &[]),
    Entry("GET", "/v1/namespaces/{namespace}/functions", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/functions/{name}", &[200]),
    Entry("POST", "/v1/namespaces/{namespace}/functions/{name}/call", &[200, 202]),
    Entry("POST", "/v1/namespaces/{namespace}/blobs", &[200, 201]),
    Entry("PUT", "/v1/namespaces/{namespace}/blobs/{digest}", &[200, 201]),
    Entry("GET", "/v1/namespaces/{namespace}/blobs/{digest}", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/queues", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/queues/{name}", &[200]),
    Entry("POST", "/v1/namespaces/{namespace}/queues/{name}/hold", &[200]),
    Entry("POST", "/v1/namespaces/{namespace}/queues/{name}/resume", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/capacity", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/history", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/estimates", &[200]),
    Entry("POST", "/v1/namespaces/{namespace}/jobs", &[201]),
    Entry("GET", "/v1/namespaces/{namespace}/jobs", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/events", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/jobs/{name}", &[200]),
    Entry("DELETE", "/v1/namespaces/{namespace}/jobs/{name}", &[204]),
    Entry("POST", "/v1/namespaces/{namespace}/jobs/{name}/cancel", &[200]),
    Entry("POST", "/v1/namespaces/{namespace}/jobs/{name}/retry", &[201]),
    Entry("GET", "/v1/namespaces/{namespace}/jobs/{name}/result", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/jobs/{name}/explain", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/jobs/{name}/usage", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/jobs/{name}/logs", &[200]),
    Entry("GET", "/v1/namespaces/{namespace}/jobs/{name}/events", &[200]),
];

/// A caller.
struct Role {
    name: String,
    /// Its `Authorization` lines.
    shows: Vec<String>,
    /// `None` when nobody knows it.
    rights: Option<Rights>,
}

/// What a known caller may do in the namespace of the matrix.
#[derive(Default)]
struct Rights {
    verbs: Vec<Verb>,
    metrics: bool,
    admin: bool,
    /// Whether its verbs are good for queues, too, where they change something.
    writes_queues: bool,
}

impl Role {
    fn stranger(name: &str, shows: &[&str]) -> Self {
        let shows = shows.iter().map(|line| (*line).to_owned()).collect();
        Self { name: name.into(), shows, rights: None }
    }

    fn who_is_admin(mut self) -> Self {
        if let Some(rights) = &mut self.rights {
            (rights.admin, rights.writes_queues) = (true, true);
        }
        self
    }

    fn who_writes_queues(mut self) -> Self {
        if let Some(rights) = &mut self.rights {
            rights.writes_queues = true;
        }
        self
    }

    fn known(name: impl Into<String>, token: &str, verbs: &[Verb], metrics: bool) -> Self {
        let shows = vec![format!("Bearer {token}")];
        let rights = Rights { verbs: verbs.to_vec(), metrics, ..Rights::default() };
        Self { name: name.into(), shows, rights: Some(rights) }
    }
}

/// Callers without a token that anybody knows; `good` is one that would be.
fn strangers(good: &str) -> Vec<Role> {
    let bearer = format!("Bearer {good}");
    let basic = format!("Basic {good}");
    let joined = format!("Bearer{good}");
    vec![
        Role::stranger("no token", &[]),
        Role::stranger("Bearer nothing", &["Bearer nothing"]),
        Role::stranger("an empty token", &["Bearer "]),
        Role::stranger("another scheme", &[&basic]),
        Role::stranger("no space", &[&joined]),
        Role::stranger("two headers", &[&bearer, &bearer]),
    ]
}

#[test]
fn every_cell_of_the_matrix_is_as_the_table_says_on_one_machine() {
    let manifests = tempfile::tempdir().unwrap();
    let queue = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
        "metadata": { "name": "matrix" }, "spec": { "cpus": 1 },
    });
    std::fs::write(manifests.path().join("queue.json"), queue.to_string()).unwrap();
    let server = Server::start(&["--cpus", "2", "--functions", manifests.path().to_str().unwrap()]);
    let key = |name: &str, arguments: &[&str]| {
        let made = Command::new(windlass())
            .args(["keys", "create", name, "--data"])
            .arg(server.data())
            .args(arguments)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", crate::support::text(&made.stderr));
        crate::support::text(&made.stdout).trim().to_owned()
    };
    let mut roles = strangers(&server.client.token);
    roles.push(Role::known("admin", &server.client.token, &VERBS, true).who_is_admin());
    roles.push(Role::known("all verbs", &key("all", &[]), &VERBS, false));
    roles.push(Role::known("elsewhere", &key("other", &["-n", "elsewhere"]), &[], false));
    roles.push(Role::known("metrics", &key("metrics", &["--verbs", "metrics"]), &[], true));
    for verb in VERBS {
        let token = key(verb.as_str(), &["--verbs", verb.as_str()]);
        roles.push(Role::known(format!("only {}", verb.as_str()), &token, &[verb], false));
    }
    Matrix { admin: server.client.clone(), of_a_cluster: false }.assert(&roles);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn every_cell_of_the_matrix_is_as_the_table_says_on_a_cluster() {
    let namespace = Namespace::new("matrix");
    let ns = namespace.0.clone();
    namespace.apply_queue("matrix", &json!({ "cpus": 1 }));
    // In a namespace with queues, jobs that name none wait for this one.
    namespace.apply_queue("default", &json!({ "cpus": 1000 }));
    let admin = namespace.client();
    let account = |name: &str, verbs: &[&str]| {
        kubectl(&["create", "serviceaccount", name, "-n", &ns], "").unwrap();
        if !verbs.is_empty() {
            let verbs = format!("--verb={}", verbs.join(","));
            let resource = "--resource=computejobs.windlass.dev,computefunctions.windlass.dev,computequeues.windlass.dev";
            kubectl(&["create", "role", name, "-n", &ns, &verbs, resource], "").unwrap();
            let (role, subject) =
                (format!("--role={name}"), format!("--serviceaccount={ns}:{name}"));
            kubectl(&["create", "rolebinding", name, "-n", &ns, &role, &subject], "").unwrap();
        }
        kubectl(&["create", "token", name, "-n", &ns], "").unwrap().trim().to_owned()
    };
    let mut roles = strangers(&admin.token);
    roles.push(Role::known("edit", &admin.token, &VERBS, false));
    roles.push(Role::known("no verbs", &account("none", &[]), &[], false));
    for verb in VERBS {
        let token = account(&format!("only-{}", verb.as_str()), &[verb.as_str()]);
        let role = Role::known(format!("only {}", verb.as_str()), &token, &[verb], false);
        roles.push(role.who_writes_queues());
    }
    Matrix { admin, of_a_cluster: true }.assert(&roles);
}

struct Matrix {
    admin: Client,
    of_a_cluster: bool,
}

impl Matrix {
    fn assert(&self, roles: &[Role]) {
        for route in ROUTES {
            assert!(entry(route).is_some(), "no entry for {} {}", route.method, route.path);
        }
        self.submit("a");
        let blobs = format!("/v1/namespaces/{}/blobs", self.admin.namespace);
        assert_eq!(self.admin.post(&blobs, &[], b"result").status, 201);
        let mut paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
        paths.sort_unstable();
        paths.dedup();
        let every = roles.iter().flat_map(|role| {
            let all = paths.iter().copied().chain(UNKNOWN);
            all.flat_map(move |path| METHODS.map(|method| (role, path, method)))
        });
        let ends = |(role, path, method): &(&Role, &str, &str)| {
            *path == "/v1/drain" && self.expected(role, method, path) == [202]
        };
        let (last, before): (Vec<_>, Vec<_>) = every.partition(ends);
        let (mut cells, mut wrong) = (0, Vec::new());
        for (role, path, method) in before.into_iter().chain(last) {
            let expected = self.expected(role, method, path);
            let status = self.check_answer(role, method, path, &expected, cells);
            cells += 1;
            if !expected.contains(&status) {
                let role = &role.name;
                wrong.push(format!("{role}: {method} {path}: {status}, not {expected:?}"));
            }
        }
        println!(
            "{cells} cells: {} paths, {} methods, {} callers; {} not as specified",
            paths.len() + UNKNOWN.len(),
            METHODS.len(),
            roles.len(),
            wrong.len()
        );
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// The statuses of which one must be answered.
    fn expected(&self, role: &Role, method: &str, path: &str) -> Vec<u16> {
        let asked = if method == "HEAD" { "GET" } else { method };
        let route = ROUTES.iter().find(|r| r.path == path && r.method.as_str() == asked);
        let through = || entry(route.unwrap()).unwrap().2.to_vec();
        let guard = route.map(|route| route.guard);
        if guard == Some(Guard::Open) && (role.shows.is_empty() || role.rights.is_some()) {
            return through();
        }
        let Some(rights) = &role.rights else { return vec![401] };
        if ROUTES.iter().all(|route| route.path != path) {
            return vec![404];
        }
        match guard {
            None => vec![405],
            Some(Guard::Open) => through(),
            Some(Guard::Metrics) if rights.metrics => through(),
            Some(Guard::Metrics) => vec![403],
            Some(Guard::Admin | Guard::LoginCode) if self.of_a_cluster => vec![404],
            Some(Guard::Admin) if rights.admin => through(),
            Some(Guard::Admin) => vec![403],
            // Nobody reports to one machine over HTTP.
            Some(Guard::Worker | Guard::Peer) if !self.of_a_cluster => vec![404],
            // Tokens of callers are not for these.
            Some(Guard::Worker | Guard::Peer | Guard::LoginCode) => vec![401],
            // Its answer shows a job and what becomes of it.
            Some(Guard::Jobs(Verb::Create)) if path.ends_with("/call") => {
                match [Verb::Create, Verb::Get, Verb::Watch]
                    .map(|verb| rights.verbs.contains(&verb))
                {
                    [true, true, true] => through(),
                    [false, false, _] => vec![404],
                    _ => vec![403],
                }
            }
            // Its answer shows a job.
            Some(Guard::Jobs(Verb::Create)) if path.ends_with("/retry") => {
                match [Verb::Create, Verb::Get].map(|verb| rights.verbs.contains(&verb)) {
                    [true, true] => through(),
                    [false, false] => vec![404],
                    _ => vec![403],
                }
            }
            Some(guard) => {
                let verb = guard.permission().map(|wanted| wanted.verb);
                let writes = guard != Guard::Queues(Verb::Patch) || rights.writes_queues;
                match writes && verb.is_some_and(|verb| rights.verbs.contains(&verb)) {
                    true => through(),
                    false if rights.verbs.contains(&Verb::Get) => vec![403],
                    false => vec![404],
                }
            }
        }
    }

    fn check_answer(
        &self,
        role: &Role,
        method: &str,
        path: &str,
        expected: &[u16],
        cell: usize,
    ) -> u16 {
        let mut name = match path {
            path if path.contains("/functions") => "echo".to_owned(),
            path if path.contains("/queues") => "matrix".to_owned(),
            _ => "a".to_owned(),
        };
        if method == "DELETE" && expected.contains(&204) {
            name = format!("gone-{cell}");
            self.submit(&name);
        }
        let path = path
            .replace("{namespace}", &self.admin.namespace)
            .replace("{name}", &name)
            .replace("{digest}", BLOB)
            .replace("{job_uid}", "uid")
            .replace("{attempt}", "1");
        // What is sent is good: workers' is looked at before the token, which is judged with it.
        let body = match method {
            "POST" if path == "/v1/reports" => REPORT,
            "PUT" if path.starts_with("/v1/reports/") => "result",
            "PUT" | "POST" if path.contains("/blobs") => "result",
            "POST" if path.ends_with("/jobs") => r#"{"function":"echo"}"#,
            "POST" if path.ends_with("/call") => "{}",
            _ => "",
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.admin.address,
            body.len()
        );
        if !body.is_empty() {
            request += "Content-Type: application/json\r\n";
            request += &format!("Content-Digest: sha-256=:{DIGEST}:\r\n");
        }
        for line in &role.shows {
            request += &format!("Authorization: {line}\r\n");
        }
        request = request + "\r\n" + body;
        loop {
            let status = self.status(&request);
            if status != 429 {
                return status;
            }
            // A cluster's gateway counts what a caller asks.
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn status(&self, request: &str) -> u16 {
        let mut socket = TcpStream::connect(&self.admin.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        // The first line and no more: what forwards to a cluster does not hand on that the other side has
        // closed.
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).map(drop).unwrap_or_default();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("{request}\n{answer:?}"))
    }

    /// A job that has ended.
    fn submit(&self, name: &str) {
        let body = json!({ "name": name, "function": "echo" }).to_string();
        let headers = [("Prefer", "wait=60")];
        let answer = self.admin.post(&self.admin.jobs(""), &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn entry(route: &Route) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.0 == route.method.as_str() && entry.1 == route.path)
}
