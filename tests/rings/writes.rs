//! What a job costs the cluster's API server and its etcd, in writes, on a real node.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use windlass_tests::audit::{Mark, Write, by_kind};
use windlass_tests::{Audit, Cluster};

use crate::support::cluster::{Namespace, RELEASE, get, kubectl};
use crate::support::eventually;
use crate::support::outage::in_cluster_controllers;

/// Jobs.
const JOBS: usize = 10;
/// Jobs that run for seconds.
const LONG_JOBS: usize = 3;
/// Most writes of our own that a job may cost: its creation, its batch Job, that it runs, its end, and
/// the batch Job's removal.
const BOUND: f64 = 5.0;
const MINUTE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart: tests/run"]
fn a_job_costs_five_writes_of_our_own() {
    let config = std::fs::canonicalize(std::env::var_os("KUBECONFIG").unwrap()).unwrap();
    let log: PathBuf = config.with_file_name("audit.log");
    if !log.is_file() {
        println!(
            "not tested: the cluster is not one of tests/cluster/up, whose audit log is at hand"
        );
        return;
    }
    let audit = Audit(log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(async {
            // The tests of outages leave none.
            in_cluster_controllers(&Cluster::of_environment().await?.admin, 1).await
        })
        .unwrap();
    let namespace = Namespace::new("writes");
    let client = namespace.client();
    // The first warms up what is loaded lazily, and leaves its Events.
    let run_one = |function: &str, name: String, input: serde_json::Value| {
        let job = client.run(&json!({ "function": function, "name": name, "input": input }));
        assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    };
    let run = |job: usize| run_one("echo", format!("job-{job}"), json!({}));
    run(0);
    settled(&audit, audit.mark().unwrap(), &namespace);
    let mark = audit.mark().unwrap();
    (1..=JOBS).for_each(run);
    let ours = settled(&audit, mark, &namespace);
    let phases = get(&["cjobs", "-n", &namespace.0]);
    assert_eq!(phases["items"].as_array().unwrap().len(), JOBS + 1);

    // So long that they are told to run.
    let mark = audit.mark().unwrap();
    for job in 0..LONG_JOBS {
        let input = json!({ "mode": "linger", "milliseconds": 4_000 });
        run_one("misbehave", format!("long-{job}"), input);
    }
    let ours_long = settled(&audit, mark, &namespace);

    let mark = audit.mark().unwrap();
    (0..JOBS).for_each(|job| bare_job(&namespace, job));
    let bare = settled(&audit, mark, &namespace);

    let accounts = ["gateway", "controller"]
        .map(|part| format!("system:serviceaccount:{RELEASE}:{RELEASE}-{part}"));
    let counts = |write: &&Write| !write.is_event() && !write.is_lease();
    let is_own = |write: &&Write| accounts.contains(&write.user) && counts(write);
    let own: Vec<_> = ours.iter().filter(is_own).collect();
    let own_long: Vec<_> = ours_long.iter().filter(is_own).collect();
    let per_long_job = own_long.len() as f64 / LONG_JOBS as f64;
    let per_job = |count: usize| count as f64 / JOBS as f64;
    let stored = |writes: &[Write]| {
        let (events, others): (Vec<_>, Vec<_>) =
            writes.iter().filter(|write| write.took_effect()).partition(|write| write.is_event());
        format!("{:.1} (+ {:.1} Events)", per_job(others.len()), per_job(events.len()))
    };
    println!("writes a job on a real node, {JOBS} jobs");
    println!("ComputeJob, own                  {:.1}", per_job(own.len()));
    println!("ComputeJob of 4 s, own           {per_long_job:.1}");
    println!("ComputeJob, the whole cluster's  {}", stored(&ours));
    println!("bare Job, the whole cluster's    {}", stored(&bare));
    for ((user, verb, resource), count) in by_kind(ours.iter().filter(counts)) {
        println!("  {user} {verb} {resource}: {:.1}", per_job(count));
    }
    assert!(per_job(own.len()) <= BOUND, "own writes a job: {:#?}", by_kind(own));
    assert!(per_long_job <= BOUND, "own writes a job of 4 s: {:#?}", by_kind(own_long));
    // Or the bound would be met by a log that tells nothing.
    let creations =
        own.iter().filter(|w| w.verb == "create" && w.resource == "computejobs").count();
    assert_eq!(creations, JOBS, "creations by the gateway");
}

/// The writes in the namespace since the mark, once nothing of jobs is left and nothing is written.
fn settled(audit: &Audit, mark: Mark, namespace: &Namespace) -> Vec<Write> {
    eventually("no pod is left that has not ended", MINUTE, || {
        let pods = get(&["pods", "-n", &namespace.0])["items"].take();
        let ended = |pod: &serde_json::Value| {
            pod["status"]["phase"] == "Succeeded" && pod["metadata"]["labels"]["bare"] == "yes"
        };
        pods.as_array().unwrap().iter().all(ended).then_some(())
    });
    let here = |write: &Write| write.namespace == namespace.0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let writes = runtime.block_on(audit.quiet(mark, Duration::from_secs(4), MINUTE, here)).unwrap();
    writes.into_iter().filter(here).collect()
}

/// A bare Job of the same image and the same resources, until it is Complete.
fn bare_job(namespace: &Namespace, job: usize) {
    let name = format!("bare-{job}");
    let object = namespace.bare_job(&name);
    kubectl(&["create", "-n", &namespace.0, "-f", "-"], &object.to_string()).unwrap();
    let wait = ["wait", "-n", &namespace.0, "--for=condition=Complete", "--timeout=60s"];
    let job = format!("job/{name}");
    kubectl(&[&wait[..], &[&job]].concat(), "").unwrap();
}
