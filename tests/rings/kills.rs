//! The server is killed at random instants under load, or stopped with everything that it has started:
//! nothing that was accepted, listed or answered is lost or has a wrong result, no two attempts of a job
//! overlap, no CPU stays taken, no process is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::{eventually, processes_of, script, traces};

/// Kills, when WINDLASS_KILLS does not say. `tests/run kills` does a thousand.
const KILLS: u64 = 60;

/// One life in so many ends by a stop of all processes at once, the others by kill -9.
const STOPS: u64 = 3;

/// Longest life of a server, in milliseconds. It ends in its start, its recovery or its work.
const LONGEST_LIFE: u64 = 150;

/// The same, where functions are in Python and take longer to start.
const LONGEST_WARM_LIFE: u64 = 450;

/// A warm function that does what the scripts of the others do.
const WARM: &str = r#"
import fcntl, json, os, socket, sys, time
here = os.environ["HERE"]
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["WINDLASS_SERVE"])
connection.sendall(b'{"ready": 2}\n')
for line in connection.makefile("rb"):
    job = json.loads(line)
    with open(here + "/locks/" + job["job"], "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with open(here + "/overlaps", "a") as overlaps:
                overlaps.write(job["job"] + "\n")
        time.sleep(float(sys.argv[1]) * (hash(job["job"]) % 5 + 1))
        with open(job["output"], "w") as output:
            output.write("done\n")
    connection.sendall(json.dumps({"done": job["job"]}).encode() + b"\n")
"#;

/// Jobs that are submitted in each life, at most, and as many calls that wait.
const JOBS: u64 = 4;

#[test]
fn a_server_that_is_killed_at_any_instant_loses_nothing_and_leaves_nothing() {
    let here = tempfile::tempdir().unwrap();
    // A lock tells whether another attempt of the same job, or a child that it left, still runs.
    let alone =
        "exec 9>$HERE/locks/$WINDLASS_JOB; flock -n 9 || echo $WINDLASS_JOB >> $HERE/overlaps;";
    let long = "sleep 0.0$(($$ % 5 + 1)) & wait $! && echo done > $WINDLASS_OUTPUT || echo cut > $WINDLASS_OUTPUT";
    script(here.path(), "marked", &format!("{alone} {long}"), "retries: 0");
    // Its end often comes while it is being stored.
    script(here.path(), "quick", &format!("{alone} echo done > $WINDLASS_OUTPUT"), "retries: 0");
    kill_servers(&here, LONGEST_LIFE);
}

#[test]
fn a_server_of_warm_functions_that_is_killed_at_any_instant_loses_nothing_and_leaves_nothing() {
    let here = tempfile::tempdir().unwrap();
    let program = traces(here.path()).join("warm.py");
    for (name, seconds) in [("marked", "0.01"), ("quick", "0")] {
        let command = format!("exec python3 {} {seconds}", program.display());
        script(here.path(), name, &command, "retries: 0\n  warm: {}");
    }
    fs::write(program, WARM).unwrap();
    kill_servers(&here, LONGEST_WARM_LIFE);
}

/// Kills servers whose functions `marked` and `quick` are some of the above.
fn kill_servers(here: &tempfile::TempDir, longest_life: u64) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills: u64 = number("WINDLASS_KILLS").unwrap_or(KILLS);
    let mut random = Random::of_environment();
    fs::create_dir_all(traces(here.path()).join("locks")).unwrap();
    let start = || Server::beside(here.path(), &["--cpus", "2"]);

    let mut told = Told::default();
    let mut stops = 0;
    for life in 0..kills {
        let mut server = start();
        let end = Instant::now() + Duration::from_millis(random.below(longest_life));
        let telling = Load { client: server.client.clone(), life, end }
            .start(random.below(JOBS + 1), random.below(JOBS + 1));
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        if random.below(STOPS) == 0 {
            stops += 1;
            server.signal_all(here.path(), "TERM");
            server.ended();
        } else {
            server.kill();
        }
        telling.into_iter().for_each(|thread| told.add(thread.join().unwrap()));
    }

    let mut server = start();
    let Told { accepted, called, unanswered, .. } = &told;
    let lost = accepted.iter().filter(|(name, uid)| !succeeds(&server.client, name, uid)).count();
    // A job that needs all the CPUs runs only if none stayed taken.
    let whole = json!({ "function": "marked", "parallelism": 2, "name": "whole" }).to_string();
    let answer =
        server.client.post(&server.client.jobs(""), &[("Prefer", "wait=60")], whole.as_bytes());
    let leaked = u32::from(answer.json()["status"]["phase"] != "Succeeded");
    let said = server.said();
    assert!(server.stop().success());
    let overlaps = fs::read_to_string(traces(here.path()).join("overlaps")).unwrap_or_default();
    let left = processes_of(here.path().to_str().unwrap());
    println!(
        "{} kills -9 and {stops} stops of all processes: {} jobs acknowledged ({} by the answer to a call that \
         waited, {} by a list alone; {unanswered} submissions unanswered), {lost} lost or wrong, {} overlapping attempts, {leaked} leaked slots, {} processes left",
        kills - stops,
        accepted.len(),
        called.len(),
        told.listed_alone(),
        overlaps.lines().count(),
        left.len(),
    );
    assert!(accepted.len() as u64 > kills / 4, "hardly any load: {} jobs", accepted.len());
    assert_eq!((lost, overlaps.as_str(), leaked, left.as_slice()), (0, "", 0, &[][..]), "{said}");
}

/// What a server has said before its end.
#[derive(Default)]
struct Told {
    /// UIDs of the jobs that it has acknowledged in any way, by name.
    accepted: BTreeMap<String, String>,
    /// Those whose answer said how they ended, and those that some answer was about.
    called: BTreeSet<String>,
    answered: BTreeSet<String>,
    unanswered: u32,
}

impl Told {
    /// A name that it told. It is one job for ever.
    fn hear(&mut self, job: &Value) -> String {
        let told = |field: &str| job["metadata"][field].as_str().unwrap().to_owned();
        let before = self.accepted.insert(told("name"), told("uid"));
        assert!(before.is_none_or(|uid| uid == told("uid")), "another job: {job}");
        told("name")
    }

    fn add(&mut self, other: Self) {
        for (name, uid) in other.accepted {
            self.hear(&json!({ "metadata": { "name": name, "uid": uid } }));
        }
        self.called.extend(other.called);
        self.answered.extend(other.answered);
        self.unanswered += other.unanswered;
    }

    /// How many jobs only a list has told of.
    fn listed_alone(&self) -> usize {
        self.accepted.keys().filter(|name| !self.answered.contains(*name)).count()
    }
}

/// What asks one server for something, until its end.
#[derive(Clone)]
struct Load {
    client: Client,
    life: u64,
    end: Instant,
}

impl Load {
    /// Submits so many jobs, calls as often and waits, each time twice at once under one key, and lists all
    /// that while.
    fn start(self, jobs: u64, calls: u64) -> Vec<std::thread::JoinHandle<Told>> {
        let (submitting, listing) = (self.clone(), self.clone());
        let mut threads = vec![
            std::thread::spawn(move || submitting.submit(jobs)),
            std::thread::spawn(move || listing.list()),
        ];
        threads.extend((0..2).map(|_| {
            let load = self.clone();
            std::thread::spawn(move || load.call(calls))
        }));
        threads
    }

    /// Submits jobs until the server is gone.
    fn submit(&self, jobs: u64) -> Told {
        let mut told = Told::default();
        for number in 0..jobs {
            let name = format!("job-{}-{number}", self.life);
            let body = json!({ "function": "marked", "name": name });
            match self.post(&body, &[]) {
                // One that stops accepts nothing any more.
                Some((503, _)) | None => told.unanswered += 1,
                Some((status, job)) => {
                    assert!(matches!(status, 201 | 202), "{job}");
                    let name = told.hear(&job);
                    told.answered.insert(name);
                }
            }
            if self.is_over() {
                break;
            }
        }
        told
    }

    /// Calls and waits until the server is gone.
    fn call(&self, calls: u64) -> Told {
        let mut told = Told::default();
        for number in 0..calls {
            let key = format!("key-{}-{number}", self.life);
            let headers = [("Prefer", "wait=60"), ("Idempotency-Key", &key)];
            match self.post(&json!({ "function": "quick" }), &headers) {
                None => told.unanswered += 1,
                Some((status, job)) => {
                    assert!(matches!(status, 200 | 202), "{job}");
                    let name = told.hear(&job);
                    told.answered.insert(name.clone());
                    if job["status"]["timeline"]["finished"].is_string() {
                        assert!(has_succeeded(&job), "{job}");
                        told.called.insert(name);
                    }
                }
            }
            if self.is_over() {
                break;
            }
        }
        told
    }

    /// Lists jobs, the latest calls and submissions among them, until the server is gone.
    fn list(&self) -> Told {
        let mut told = Told::default();
        while !self.is_over() {
            let path = self.client.jobs("?phase=Running");
            for path in [path, self.client.jobs("?phase=Queued")] {
                let answer = self.client.try_send("GET", &path, &[], b"");
                let page = answer.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok());
                let page: Value = page.unwrap_or_default();
                let jobs = page["items"].as_array().into_iter().flatten();
                jobs.for_each(|job| drop(told.hear(job)));
            }
        }
        told
    }

    /// The status and the job of a whole answer. A server that stops may refuse.
    fn post(&self, job: &Value, headers: &[(&str, &str)]) -> Option<(u16, Value)> {
        let path = self.client.jobs("");
        let answer = self.client.try_send("POST", &path, headers, job.to_string().as_bytes());
        let answer = answer.ok()?;
        let job = serde_json::from_slice(&answer.body).ok()?;
        (answer.status != 503).then_some((answer.status, job))
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// Waits for the end of a job. A lost one is not there, is another, or has not succeeded; a wrong one went on after
/// its sleep was cut short.
fn succeeds(client: &Client, name: &str, uid: &str) -> bool {
    let path = client.jobs(&format!("/{name}"));
    eventually(&format!("{name} ends"), Duration::from_secs(300), || {
        let answer = client.get(&path);
        if answer.status == 404 {
            return Some(false);
        }
        let job = answer.json();
        let has_ended = job["status"]["timeline"]["finished"].is_string();
        has_ended.then(|| job["metadata"]["uid"] == uid && has_succeeded(&job))
    })
}

fn has_succeeded(job: &Value) -> bool {
    let (phase, result) = (&job["status"]["phase"], &job["status"]["result"]["text"]);
    phase == "Succeeded" && result == "done\n"
}
