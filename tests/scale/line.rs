//! Ten thousand jobs that wait in one queue: what the controller takes, how soon it acts, that it is silent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_tests::api::{compute_jobs, compute_queues};
use windlass_tests::audit::Write;
use windlass_tests::cluster::compute_job;
use windlass_tests::watch::{self, BATCH_JOBS, COMPUTE_JOBS, Objects, PODS, Watch, anything};

use crate::queue::compute_queue;
use crate::report::Part;
use crate::throughput::seconds;
use crate::{AT_ONCE, Bench, CONTROLLER, CPUS};

/// Jobs that wait.
const WAITING: usize = 10_000;
/// Jobs that hold the queue's CPUs; half a job's CPUs stay free.
const HOLDERS: u32 = 5;
/// Most memory of the controller then, in MiB.
const MEMORY_MIB: f64 = 120.0;
/// Longest time until a job starts for which there is room, in seconds.
const START_SECONDS: f64 = 2.0;
/// How long nothing is written.
const SILENCE: Duration = Duration::from_secs(60);

const NAMESPACE: &str = "line";
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("10,000 jobs wait in one queue");
    bench.namespace(NAMESPACE).await?;
    let admin = &bench.cluster.admin;
    let queue = compute_queue("long", HOLDERS * CPUS + CPUS / 2);
    admin.create(&compute_queues(NAMESPACE, ""), &queue).await?;
    let line = Line {
        jobs: Watch::start(admin, NAMESPACE, COMPUTE_JOBS, watch::compute_job_marks, anything)
            .await?,
        batch_jobs: Watch::start(admin, NAMESPACE, BATCH_JOBS, watch::batch_job_marks, anything)
            .await?,
        pods: Watch::start(admin, NAMESPACE, PODS, watch::pod_marks, anything).await?,
        bench,
    };
    let controller = bench.controller()?;
    for number in 0..HOLDERS {
        line.submit(&format!("holder-{number}"), CPUS, 0).await?;
    }
    let holders = HOLDERS as usize;
    line.pods
        .until("the holders run", MINUTE, |o| (o.count("running") == holders).then_some(()))
        .await?;

    let began = Instant::now();
    let waiting = (0..WAITING).map(|number| job(&format!("job-{number}"), CPUS, 0)).collect();
    admin.create_all(&compute_jobs(NAMESPACE, ""), waiting, AT_ONCE).await?;
    part.figure("creating them", seconds(began.elapsed()));
    let cpu = controller.cpu()?;
    let all_wait = |objects: &Objects| (objects.count("queued") >= WAITING).then_some(());
    line.jobs.until("all are told to wait", MINUTE * 10, all_wait).await?;
    part.figure("until all were told that they wait", seconds(began.elapsed()));
    let audit = bench.cluster.audit();
    let mark = audit.mark()?;
    audit.quiet(mark, Duration::from_secs(5), MINUTE * 5, is_told).await?;
    part.figure("controller: CPU time since", seconds(controller.cpu()? - cpu));
    part.at_most("memory of the controller", controller.memory_mib()?, MEMORY_MIB, "MiB");
    part.figure(
        "controller: most memory so far",
        format!("{:.1} MiB", controller.most_memory_mib()?),
    );

    // Nothing changes: nothing is written.
    let (mark, cpu) = (audit.mark()?, controller.cpu()?);
    tokio::time::sleep(SILENCE).await;
    let written = audit.since(mark)?;
    let told = written.iter().filter(|write| is_told(write)).count();
    let leases = written.iter().filter(|w| w.user == CONTROLLER && w.is_lease()).count();
    part.at_most("writes in 60 s in which nothing changes", told as f64, 0.0, "");
    part.figure("Lease writes in that minute", leases);
    part.figure("controller: CPU time in that minute", seconds(controller.cpu()? - cpu));

    // There is room for half a job.
    let began = Instant::now();
    line.submit("small", CPUS / 2, 100).await?;
    let started = line.started("small").await?;
    part.at_most(
        "a high-priority job for which there is room",
        (started - began).as_secs_f64(),
        START_SECONDS,
        "s",
    );

    // A slot is released: the one with priority starts, and none of those that wait longer.
    let mut slowest = Duration::ZERO;
    for number in 0..HOLDERS {
        let name = format!("urgent-{number}");
        line.submit(&name, CPUS, 100).await?;
        line.jobs.until("it is told to wait", MINUTE, |o| o.when(&name, "queued")).await?;
        let freed = line.free(&format!("holder-{number}")).await?;
        slowest = slowest.max(line.started(&name).await?.saturating_duration_since(freed));
    }
    part.at_most(
        "a high-priority job after a slot's release, slowest of 5",
        slowest.as_secs_f64(),
        START_SECONDS,
        "s",
    );
    let overtaken = line.ordinary_starts();
    part.at_most("jobs that started before it", overtaken as f64, 0.0, "");

    // The same after a restart with all of them waiting.
    controller.kill()?;
    let controller = bench.controller()?;
    let began = Instant::now();
    line.submit("after", CPUS, 100).await?;
    line.free("urgent-0").await?;
    let started = line.started("after").await?;
    part.figure(
        "killed, restarted, a slot released: until the next starts",
        seconds(started - began),
    );
    let mark = audit.mark()?;
    audit.quiet(mark, Duration::from_secs(5), MINUTE * 5, is_told).await?;
    part.at_most("memory of the restarted controller", controller.memory_mib()?, MEMORY_MIB, "MiB");
    part.figure(
        "restarted controller: most memory",
        format!("{:.1} MiB", controller.most_memory_mib()?),
    );
    // The last part: ten thousand objects go with their cluster.
    Ok(part)
}

/// Whether it is a write of the controller that tells of a job or a queue.
fn is_told(write: &Write) -> bool {
    write.user == CONTROLLER && !write.is_lease()
}

struct Line<'a> {
    jobs: Watch,
    batch_jobs: Watch,
    pods: Watch,
    bench: &'a Bench,
}

impl Line<'_> {
    async fn submit(&self, name: &str, cpus: u32, priority: u32) -> anyhow::Result<()> {
        let path = compute_jobs(NAMESPACE, "");
        self.bench.cluster.admin.create(&path, &job(name, cpus, priority)).await?;
        Ok(())
    }

    /// When the job's batch Job was there.
    async fn started(&self, job: &str) -> anyhow::Result<Instant> {
        let what = format!("{job} has a batch Job");
        self.batch_jobs
            .until(&what, MINUTE * 2, |objects| {
                let (name, _) =
                    objects.live.iter().find(|(_, batch_job)| job_of(batch_job) == job)?;
                objects.when(name, "there")
            })
            .await
    }

    /// Lets the job's pod end and gives the time at which it was terminal.
    async fn free(&self, job: &str) -> anyhow::Result<Instant> {
        let of_job = |objects: &Objects| {
            let mut pods = objects.live.iter().filter(|(_, pod)| job_of(pod) == job);
            pods.next().map(|(name, _)| name.clone())
        };
        let pod = self.pods.until(&format!("{job} has a pod"), MINUTE, of_job).await?;
        let running = |objects: &Objects| objects.when(&pod, "running");
        self.pods.until(&format!("{pod} runs"), MINUTE, running).await?;
        self.bench.cluster.release(NAMESPACE, &pod).await?;
        let ended = |objects: &Objects| objects.when(&pod, "terminal");
        self.pods.until(&format!("{pod} is terminal"), MINUTE, ended).await
    }

    /// Jobs without priority that have a batch Job.
    fn ordinary_starts(&self) -> usize {
        let objects = self.batch_jobs.objects();
        let jobs: BTreeSet<_> = objects.live.values().map(job_of).collect();
        jobs.iter().filter(|job| job.starts_with("job-")).count()
    }
}

fn job_of(object: &Value) -> &str {
    object["metadata"]["labels"]["windlass.dev/job"].as_str().unwrap_or_default()
}

fn job(name: &str, cpus: u32, priority: u32) -> Value {
    let mut job = compute_job(name, cpus, "long", &json!({ "hold": true, "run": "0s" }));
    job["spec"]["priority"] = priority.into();
    job
}
