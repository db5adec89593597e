//! A ComputeQueue of 50 CPUs: what it holds at any moment, as the audit log tells.

use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::api::{compute_jobs, compute_queues};
use windlass_tests::audit::{held, most_held, overlaps};
use windlass_tests::cluster::compute_job;
use windlass_tests::watch::{self, COMPUTE_JOBS, PODS, Watch, anything};

use crate::report::Part;
use crate::throughput::seconds;
use crate::{AT_ONCE, Bench};

/// CPUs of the queue.
const QUOTA: u32 = 50;
/// Jobs, of 1 to 10 CPUs and 0.2 to 1.1 s.
const JOBS: u32 = 300;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("300 jobs of 1 to 10 CPUs in a queue of 50 CPUs");
    bench.namespace("queued").await?;
    let admin = &bench.cluster.admin;
    admin.create(&compute_queues("queued", ""), &compute_queue("small", QUOTA)).await?;
    let jobs =
        Watch::start(admin, "queued", COMPUTE_JOBS, watch::compute_job_marks, anything).await?;
    let pods = Watch::start(admin, "queued", PODS, watch::pod_marks, anything).await?;
    let controller = bench.controller()?;
    let audit = bench.cluster.audit();
    let mark = audit.mark()?;
    let (mut cpu_seconds, mut objects) = (0.0, Vec::new());
    for number in 0..JOBS {
        // Coprime steps: every width meets every length.
        let (cpus, tenths) = (number * 7 % 10 + 1, number * 3 % 11 + 2);
        cpu_seconds += f64::from(cpus * tenths) / 10.0;
        let input = json!({ "run": format!("{}ms", tenths * 100) });
        objects.push(compute_job(&format!("job-{number}"), cpus, "small", &input));
    }
    let began = Instant::now();
    admin.create_all(&compute_jobs("queued", ""), objects, AT_ONCE).await?;
    let all = JOBS as usize;
    let last = jobs
        .until("all jobs are Finished", Duration::from_secs(600), |objects| {
            (objects.count("finished") == all).then(|| objects.last("finished"))?
        })
        .await?;
    anyhow::ensure!(jobs.objects().count("succeeded") == all, "{}", jobs.summary());
    let minute = Duration::from_secs(60);
    pods.until("no pod is left", minute * 5, |o| o.live.is_empty().then_some(())).await?;
    drop(controller);
    let makespan = (last - began).as_secs_f64();
    let writes = audit.since(mark)?;
    let held = held(&writes, "queued")?;
    let (most, when) = most_held(&held, "small");
    part.figure("first create to last Finished", seconds(last - began));
    part.figure("CPU-seconds of the jobs, of what the queue had in that time", {
        format!("{:.0} %", 100.0 * cpu_seconds / (makespan * f64::from(QUOTA)))
    });
    part.figure("most CPUs held at", when.map_or_else(String::new, |when| when.to_string()));
    part.at_most("CPUs held at the same moment", most as f64, f64::from(QUOTA), "");
    // Or the bound would be met by a log that tells nothing.
    part.at_least("CPUs held at the same moment", most as f64, f64::from(QUOTA) * 0.8, "");
    part.at_least("batch Jobs that the log tells of", held.len() as f64, f64::from(JOBS), "");
    part.at_most("attempts of one job that overlap", overlaps(&held).len() as f64, 0.0, "");
    bench.cluster.remove_namespace("queued", Duration::from_secs(300)).await?;
    Ok(part)
}

pub(crate) fn compute_queue(name: &str, cpus: u32) -> serde_json::Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
        "metadata": { "name": name }, "spec": { "cpus": cpus, "maxQueued": 20_000 },
    })
}
