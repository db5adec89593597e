//! A warm function on a cluster: how soon it answers from a pod that waits, and what that costs. Beside it the same
//! function cold, and a bare `batch/v1` Job.
//!
//! A kubelet frees the CPUs of a pod a second after its end, so that many jobs a second need a node of many CPUs:
//! `tests/run warm` runs this alone, with `controller.standbys`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_tests::Audit;
use windlass_tests::audit::{Mark, Write, by_kind};

use crate::cluster::inputs::{function, result_of, said, seen};
use crate::inputs::sent;
use crate::latency::{bare_job, compute_job};
use crate::support::cluster::{Namespace, RELEASE, get, kubectl};
use crate::support::http::Client;
use crate::support::{eventually, quantile, share};

/// Pods that wait.
const POOL: usize = 20;
/// Pods that wait while nothing is to be done.
const IDLE_POOL: usize = 10;
/// Runs of what runs one after the other.
const RUNS: usize = 7;
/// Time between two submissions.
const PACE: Duration = Duration::from_millis(100);
/// Most of a bare Job's time that a job on a standby may take.
const BOUND: f64 = 0.1;
/// Most of a cold job's time that one may take whose function has no standby left.
const DRAINED_BOUND: f64 = 1.1;
/// Most writes of our own: the job, the batch Job that decides and refills, the claim, the pod twice, the end, and the
/// batch Job's removal.
const WRITES: f64 = 7.0;
/// Most CPUs of a pool that waits, with gateway and controller.
const IDLE_CPUS: f64 = 0.1;
const MINUTE: Duration = Duration::from_secs(60);

/// Makes this function warm under another name, so many of it.
fn warm_function(namespace: &Namespace, name: &str, of: &str, min: usize) {
    let mut function = get(&["cfn", of, "-n", &namespace.0]);
    function["metadata"] = json!({ "name": name });
    function["spec"]["warm"] = json!({ "min": min, "max": min });
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &function.to_string()).unwrap();
}

/// The pods of a function that wait and whose workers run.
fn waiting(namespace: &Namespace, function: &str) -> Vec<Value> {
    let selector = format!("windlass.dev/standby={function},!windlass.dev/job");
    let mut pods = get(&["pods", "-n", &namespace.0, "-l", &selector])["items"].take();
    let mut pods = std::mem::take(pods.as_array_mut().unwrap());
    // Long enough for the function in it.
    let now = Timestamp::now().as_second();
    pods.retain(|pod| {
        let running = &pod["status"]["containerStatuses"][0]["state"]["running"];
        let since = running["startedAt"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        since.is_some_and(|since| now - since.as_second() >= 2)
    });
    pods
}

fn is_full(namespace: &Namespace, function: &str, count: usize) {
    eventually("all standbys wait", 3 * MINUTE, || {
        (waiting(namespace, function).len() == count).then_some(())
    });
}

/// One job of this function on so many CPUs, and how long it took. What it says of itself is what it was granted.
fn run(client: &Client, function: &str, cpus: usize) -> (Duration, Value) {
    let job = json!({ "function": function, "parallelism": cpus, "input": {} });
    let began = Instant::now();
    let job = client.run(&job);
    let taken = began.elapsed();
    let status = &job["status"];
    assert_eq!(status["phase"], "Succeeded", "{job}");
    let told: Value = serde_json::from_str(status["result"]["text"].as_str().unwrap()).unwrap();
    let numbers = [&status["parallelism"], &told["parallelism"], &told["threads"]];
    assert_eq!(numbers, [&json!(cpus); 3], "granted, told and threads: {job}");
    (taken, job)
}

/// A batch Job that was made for an attempt has the name of its job. Another has waited.
fn is_on_standby(job: &Value) -> bool {
    let own = format!("{}-", job["metadata"]["name"].as_str().unwrap());
    !job["status"]["job"].as_str().unwrap().starts_with(&own)
}

fn audit() -> Audit {
    let config = std::fs::canonicalize(std::env::var_os("KUBECONFIG").unwrap()).unwrap();
    let log: PathBuf = config.with_file_name("audit.log");
    assert!(log.is_file(), "the cluster must be one of tests/cluster/up");
    Audit(log)
}

/// The writes in a namespace since the mark, once nothing is written any more.
fn settled(audit: &Audit, mark: Mark, namespace: &Namespace) -> Vec<Write> {
    let here = |write: &Write| write.namespace == namespace.0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let quiet = audit.quiet(mark, Duration::from_secs(4), 3 * MINUTE, here);
    runtime.block_on(quiet).unwrap().into_iter().filter(here).collect()
}

/// CPU seconds of each pod in these namespaces, and when that was read.
fn cpu_seconds(namespaces: &[&str]) -> BTreeMap<String, (f64, Timestamp)> {
    let node = get(&["nodes"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    let summary: Value =
        serde_json::from_str(&kubectl(&["get", "--raw", &path], "").unwrap()).unwrap();
    let pods = summary["pods"].as_array().unwrap().iter();
    let read = |pod: &Value| {
        let cpu = &pod["cpu"];
        let used = cpu["usageCoreNanoSeconds"].as_f64()? / 1e9;
        let name = pod["podRef"]["name"].as_str()?.to_owned();
        Some((name, (used, cpu["time"].as_str()?.parse().ok()?)))
    };
    let is_counted =
        |pod: &&Value| namespaces.iter().any(|name| pod["podRef"]["namespace"] == *name);
    pods.filter(is_counted).filter_map(read).collect()
}

#[test]
#[ignore = "needs a cluster of many CPUs with controller.standbys: tests/run warm"]
fn an_idle_pool_costs_a_tenth_of_a_cpu() {
    let namespace = Namespace::new("warm-idle");
    warm_function(&namespace, "warm", "echo", IDLE_POOL);
    is_full(&namespace, "warm", IDLE_POOL);
    let counted = [namespace.0.as_str(), RELEASE];
    let before = cpu_seconds(&counted);
    // The kubelet reads them every ten seconds or so.
    sleep(Duration::from_secs(45));
    let after = cpu_seconds(&counted);
    let cpus = |(name, (used, at)): (&String, &(f64, Timestamp))| {
        let (before, since) = before.get(name)?;
        Some((used - before) / at.duration_since(*since).as_secs_f64())
    };
    let each: Vec<_> = after.iter().filter_map(cpus).collect();
    let all: f64 = each.iter().sum();
    println!("{IDLE_POOL} standbys that wait, gateway and controller: {all:.3} CPUs");
    assert!(each.len() > IDLE_POOL, "{after:?}");
    assert!(all <= IDLE_CPUS, "{all} CPUs: {before:?} {after:?}");
}

#[test]
#[ignore = "needs a cluster of many CPUs with controller.standbys: tests/run warm"]
fn a_job_on_a_standby_takes_a_tenth_of_a_bare_jobs_time() {
    let namespace = Namespace::new("warm");
    let client = namespace.direct_client();
    warm_function(&namespace, "warm", "echo", POOL);
    is_full(&namespace, "warm", POOL);
    // What is loaded lazily is loaded by it.
    assert!(is_on_standby(&run(&client, "warm", 1).1));
    is_full(&namespace, "warm", POOL);
    let (audit, mark) = (audit(), audit().mark().unwrap());
    let began = Instant::now();
    let ended: Vec<_> = scope(|scope| {
        let client = &client;
        let paced = (0..POOL).map(|job| {
            scope.spawn(move || {
                sleep((began + PACE * job as u32).saturating_duration_since(Instant::now()));
                run(client, "warm", 1 + job % 3)
            })
        });
        let all: Vec<_> = paced.collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let of = |warm: bool| ended.iter().filter(move |(_, job)| is_on_standby(job) == warm);
    let mut warm: Vec<_> = of(true).map(|(taken, _)| *taken).collect();
    let writes = settled(&audit, mark, &namespace);
    println!("{POOL} jobs, 10 a second, {} of them on standbys", warm.len());
    let [median, p99, least] = [500, 990, 0].map(|part| quantile(&mut warm, part));
    println!("on a standby: p50 {median:.1?}, p99 {p99:.1?}, least {least:.1?}");
    resizes_are_the_grants(&writes, &ended);
    own_writes(&writes);

    let alone = || {
        is_full(&namespace, "warm", POOL);
        run(&client, "warm", 1).0
    };
    let alone = ("on a standby, one after the other    ", times(alone));
    let bare = ("bare batch/v1 Job, create to Complete", bare_jobs(&namespace));
    let ratio = share("submit to result", [alone, bare]);
    times(|| compute_job(&client)).iter().for_each(|taken| println!("cold {taken:.1?}"));
    assert!(of(false).count() <= POOL / 10, "on pods of their own: {}", of(false).count());
    assert!(ratio <= BOUND, "{ratio}");
}

#[test]
#[ignore = "needs a cluster of many CPUs with controller.standbys: tests/run warm"]
fn jobs_of_changing_size_have_the_cpus_that_they_were_granted() {
    let rounds = std::env::var("WINDLASS_WARM_ROUNDS").map_or(3, |all| all.parse().unwrap());
    let namespace = Namespace::new("warm-sizes");
    let client = namespace.direct_client();
    warm_function(&namespace, "warm", "echo", POOL);
    let (audit, mark) = (audit(), audit().mark().unwrap());
    let mut ended = Vec::new();
    for round in 0..rounds {
        is_full(&namespace, "warm", POOL);
        // Each pod another size than in the round before.
        ended.extend((0..POOL).map(|job| run(&client, "warm", 1 + (job + round) % 5)));
    }
    let on_standbys = ended.iter().filter(|(_, job)| is_on_standby(job)).count();
    resizes_are_the_grants(&settled(&audit, mark, &namespace), &ended);
    println!("{} jobs of 1 to 5 CPUs, {on_standbys} of them on standbys", ended.len());
    assert!(on_standbys * 10 >= ended.len() * 9, "{on_standbys} of {}", ended.len());
}

fn times(mut one: impl FnMut() -> Duration) -> Vec<Duration> {
    (0..RUNS).map(|_| one()).collect()
}

fn bare_jobs(namespace: &Namespace) -> Vec<Duration> {
    (0..RUNS).map(|run| bare_job(namespace, run)).collect()
}

/// Each pod was resized to the CPUs that its job was granted, as request and as limit.
fn resizes_are_the_grants(writes: &[Write], ended: &[(Duration, Value)]) {
    let resized = writes.iter().filter(|write| write.resource == "pods/resize");
    let cpus: BTreeMap<_, _> = resized
        .map(|write| {
            let resources = &write.response["spec"]["containers"][0]["resources"];
            assert_eq!(resources["requests"]["cpu"], resources["limits"]["cpu"], "{resources}");
            (write.name.clone(), resources["limits"]["cpu"].clone())
        })
        .collect();
    for (_, job) in ended.iter().filter(|(_, job)| is_on_standby(job)) {
        let granted = job["status"]["parallelism"].to_string();
        assert_eq!(cpus[job["status"]["pod"].as_str().unwrap()], granted, "{job}");
    }
}

fn own_writes(writes: &[Write]) {
    let accounts = ["gateway", "controller"]
        .map(|part| format!("system:serviceaccount:{RELEASE}:{RELEASE}-{part}"));
    let counts = |write: &&Write| !write.is_event() && !write.is_lease();
    let own: Vec<_> = writes.iter().filter(counts).filter(|w| accounts.contains(&w.user)).collect();
    let per_job = own.len() as f64 / POOL as f64;
    let all = writes.iter().filter(counts).filter(|write| write.took_effect()).count();
    println!("own writes a job {per_job:.1}, of the whole cluster {:.1}", all as f64 / POOL as f64);
    for ((_, verb, resource), count) in by_kind(own.iter().copied()) {
        println!("  {verb} {resource}: {:.1}", count as f64 / POOL as f64);
    }
    assert!(per_job <= WRITES, "{:#?}", by_kind(own.iter().copied()));
}

/// A job of the function `warm`, and one of this function at the same time.
fn beside(client: &Client, function: &str) -> ((Duration, Value), (Duration, Value)) {
    scope(|scope| {
        let first = scope.spawn(|| run(client, "warm", 1));
        let second = run(client, function, 1);
        (first.join().unwrap(), second)
    })
}

#[test]
#[ignore = "needs a cluster of many CPUs with controller.standbys: tests/run warm"]
fn a_drained_pool_costs_no_more_than_a_cold_start() {
    let namespace = Namespace::new("warm-drained");
    let client = namespace.direct_client();
    warm_function(&namespace, "warm", "echo", 1);
    let (mut drained, mut cold) = (Vec::new(), Vec::new());
    for run_number in 0..=RUNS {
        is_full(&namespace, "warm", 1);
        // One of two takes the standby. What the other is compared with has such company, too.
        let (first, second) = beside(&client, "warm");
        let (on_standby, other) =
            if is_on_standby(&first.1) { (first, second) } else { (second, first) };
        assert!(is_on_standby(&on_standby.1), "none: {}", on_standby.1);
        assert!(!is_on_standby(&other.1), "the pool was not empty: {}", other.1);
        is_full(&namespace, "warm", 1);
        let (company, alone) = beside(&client, "echo");
        assert!(is_on_standby(&company.1), "{}", company.1);
        if run_number > 0 {
            drained.push(other.0);
            cold.push(alone.0);
        }
    }
    let drained = ("no standby is left", drained);
    let cold = ("cold              ", cold);
    let ratio = share("submit to result", [drained, cold]);
    assert!(ratio <= DRAINED_BOUND, "{ratio}");
}

#[test]
#[ignore = "needs a cluster with the chart and controller.standbys: tests/run warm"]
fn a_pod_that_waited_fetches_what_its_job_names() {
    let namespace = Namespace::new("warm-inputs");
    function(&namespace, "sees");
    warm_function(&namespace, "waits", "sees", 1);
    is_full(&namespace, "waits", 1);
    let client = namespace.client();
    let (input, file) = (sent(&client, b"input", "text/csv"), sent(&client, b"1,2", "text/csv"));
    let jobs = [
        (
            json!({ "function": "waits", "inputBlob": input, "files": { "a": file } }),
            "text/csv",
            &b"input"[..],
        ),
        (
            json!({ "function": "waits", "input": {}, "files": { "a": file } }),
            "application/json",
            b"{}",
        ),
    ];
    for (job, media_type, bytes) in jobs {
        let job = client.run(&job);
        // Not the batch Job that was made for it.
        let (name, ran) = (job["metadata"]["name"].as_str().unwrap(), &job["status"]["job"]);
        assert!(!ran.as_str().unwrap().starts_with(name), "{job}");
        assert_eq!(said(&result_of(&job)), seen(media_type, bytes, &json!({ "a": "1,2" })));
        is_full(&namespace, "waits", 1);
    }
}
