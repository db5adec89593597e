//! A thousand ComputeJobs beside a thousand bare batch Jobs: how long, and how many writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::api::{batch_jobs, compute_jobs, pods};
use windlass_tests::audit::{Write, by_kind};
use windlass_tests::cluster::compute_job;
use windlass_tests::watch::{self, BATCH_JOBS, COMPUTE_JOBS, Watch, anything};

use crate::report::{Part, table};
use crate::{AT_ONCE, Bench, CONTROLLER, CPUS, JOBS};

/// Longest wait for a thousand jobs: four times what bare ones take at the default limit of 20 requests
/// a second.
const LIMIT: Duration = Duration::from_secs(1200);
/// Most writes of our own that a job may cost: its creation, its batch Job, that it runs, its end, and
/// the batch Job's removal.
const OWN_WRITES: f64 = 5.0;
/// Beside these where the controller makes the pod: that, and the end of the batch Job.
const OWN_WRITES_OF_PODS: f64 = 2.0;
/// So many writes more than a bare Job a job may cost the whole cluster, where the controller makes the pod.
const MORE_THAN_BARE: f64 = 2.0;
/// Most memory of a controller that has nothing to do, in MiB.
const IDLE_MIB: f64 = 30.0;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("1,000 jobs of 10 CPUs on 10,000 CPUs");
    let bare = bare(bench).await?;
    bench.cluster.remove_namespace("bare", Duration::from_secs(900)).await?;

    let controller = bench.controller()?;
    let ours = ours(bench, &mut part, &controller).await?;
    part.figure("controller: CPU time", seconds(controller.cpu()?));
    part.figure("controller: most memory", format!("{:.1} MiB", controller.most_memory_mib()?));
    drop(controller);
    bench.cluster.remove_namespace("ours", Duration::from_secs(900)).await?;
    // Again: when the machine is not quiet, the two differ.
    let again = self::bare(bench).await?;

    let bares = [bare.makespan, again.makespan].map(|time| time.as_secs_f64());
    let mean = (bares[0] + bares[1]) / 2.0;
    part.figure("bare Jobs, before and after: first create to last Complete", {
        format!("{:.1} s, {:.1} s", bares[0], bares[1])
    });
    part.figure("ComputeJobs: first create to last Finished", seconds(ours.makespan));
    part.figure(
        "of that, creating",
        format!(
            "{}, {}; {}",
            seconds(bare.creating),
            seconds(again.creating),
            seconds(ours.creating)
        ),
    );
    let ratio = ours.makespan.as_secs_f64() / mean;
    let managed = ours.writes.iter().any(|write| is_own(write) && write.resource == "pods");
    part.figure("the controller makes the pods", if managed { "yes" } else { "no" });
    let most = match (managed, bench.waits_for_limit) {
        (true, true) => 0.12,
        (true, false) => 0.7,
        (false, _) => 1.0,
    };
    part.at_most("makespan, of the bare Jobs' mean", ratio, most, "");
    tell_writes(&mut part, &bare, &ours, managed);
    part.tables.push(writes_table(&bare.writes, &ours.writes));
    let rows = ours.cpu.iter().map(|(name, time)| {
        let other = bare.cpu.get(name).copied().unwrap_or_default();
        vec![name.clone(), seconds(other), seconds(*time)]
    });
    part.tables.push(table(&["CPU time until all is quiet", "bare Jobs", "ComputeJobs"], rows));
    bench.cluster.remove_namespace("bare", Duration::from_secs(900)).await?;
    Ok(part)
}

struct Run {
    makespan: Duration,
    creating: Duration,
    writes: Vec<Write>,
    /// CPU time of each component until all was quiet.
    cpu: BTreeMap<String, Duration>,
}

fn spent(
    before: &BTreeMap<String, Duration>,
    after: &BTreeMap<String, Duration>,
) -> BTreeMap<String, Duration> {
    let zero = Duration::ZERO;
    after
        .iter()
        .map(|(name, time)| (name.clone(), time.saturating_sub(*before.get(name).unwrap_or(&zero))))
        .collect()
}

/// Waits until no batch Job and no pod is left in the namespace.
async fn nothing_left(bench: &Bench, limit: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    for path in [batch_jobs("ours", ""), pods("ours", "")] {
        loop {
            let left = bench.cluster.admin.list(&format!("{path}?limit=10")).await?.len();
            if left == 0 {
                break;
            }
            anyhow::ensure!(Instant::now() < deadline, "not empty after {limit:?}: {path}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

async fn bare(bench: &Bench) -> anyhow::Result<Run> {
    bench.namespace("bare").await?;
    let admin = &bench.cluster.admin;
    let jobs = Watch::start(admin, "bare", BATCH_JOBS, watch::batch_job_marks, anything).await?;
    let audit = bench.cluster.audit();
    let mark = audit.mark()?;
    let before = bench.cluster.cpu()?;
    let objects = (0..JOBS).map(|number| bench.bare(&format!("job-{number}"))).collect();
    let began = Instant::now();
    admin.create_all(&batch_jobs("bare", ""), objects, AT_ONCE).await?;
    let creating = began.elapsed();
    let last = jobs
        .until("all bare Jobs are Complete", LIMIT, |objects| {
            (objects.count("complete") == JOBS).then(|| objects.last("complete"))?
        })
        .await?;
    let writes = quiet(bench, mark, "bare").await?;
    let cpu = spent(&before, &bench.cluster.cpu()?);
    Ok(Run { makespan: last - began, creating, writes, cpu })
}

async fn ours(
    bench: &Bench,
    part: &mut Part,
    controller: &windlass_tests::Controller,
) -> anyhow::Result<Run> {
    bench.namespace("ours").await?;
    let admin = &bench.cluster.admin;
    let jobs =
        Watch::start(admin, "ours", COMPUTE_JOBS, watch::compute_job_marks, anything).await?;
    // The first is not counted: it tells that the controller is ready.
    let one_second = json!({ "run": "1s" });
    admin
        .create(&compute_jobs("ours", ""), &compute_job("first", CPUS, "default", &one_second))
        .await?;
    let minute = Duration::from_secs(60);
    jobs.until("the first job ends", minute, |o| o.when("first", "finished")).await?;
    nothing_left(bench, minute).await?;
    let audit = bench.cluster.audit();
    let mark = audit.mark()?;
    quiet(bench, mark, "ours").await?;
    part.at_most("memory of an idle controller", controller.memory_mib()?, IDLE_MIB, "MiB");

    let mark = audit.mark()?;
    let before = bench.cluster.cpu()?;
    let objects = (0..JOBS)
        .map(|number| compute_job(&format!("job-{number}"), CPUS, "default", &one_second))
        .collect();
    let began = Instant::now();
    admin.create_all(&compute_jobs("ours", ""), objects, AT_ONCE).await?;
    let creating = began.elapsed();
    let last = jobs
        .until("all ComputeJobs are Finished", LIMIT, |objects| {
            (objects.count("finished") == JOBS + 1).then(|| objects.last("finished"))?
        })
        .await?;
    let failed = JOBS + 1 - jobs.objects().count("succeeded");
    anyhow::ensure!(failed == 0, "{failed} of {JOBS} jobs failed");
    nothing_left(bench, LIMIT).await?;
    let writes = quiet(bench, mark, "ours").await?;
    let cpu = spent(&before, &bench.cluster.cpu()?);
    // Each job has the result of a pod, no two the same one.
    let results: BTreeSet<_> = jobs
        .objects()
        .live
        .values()
        .filter_map(|job| job["status"]["result"]["text"].as_str().map(str::to_owned))
        .collect();
    part.at_least("different results", results.len() as f64, (JOBS + 1) as f64, "");
    Ok(Run { makespan: last - began, creating, writes, cpu })
}

/// The writes of a namespace since the mark, once nothing is written there any more.
async fn quiet(
    bench: &Bench,
    mark: windlass_tests::audit::Mark,
    namespace: &str,
) -> anyhow::Result<Vec<Write>> {
    let counts = |write: &Write| write.namespace == namespace && !write.is_event();
    let audit = bench.cluster.audit();
    let writes =
        audit.quiet(mark, Duration::from_secs(3), Duration::from_secs(300), counts).await?;
    let concerns = |write: &Write| write.namespace == namespace || write.user == CONTROLLER;
    Ok(writes.into_iter().filter(concerns).collect())
}

/// What a job costs in writes, of our own and of the whole cluster.
fn tell_writes(part: &mut Part, bare: &Run, ours: &Run, managed: bool) {
    let own: Vec<&Write> = ours.writes.iter().filter(|write| is_own(write)).collect();
    let counted = own.iter().filter(|write| !write.is_event() && !write.is_lease()).count();
    let most = OWN_WRITES + if managed { OWN_WRITES_OF_PODS } else { 0.0 };
    part.at_most("own writes a job", per_job(counted), most, "");
    let events = own.iter().filter(|write| write.is_event()).count();
    let leases = own.iter().filter(|write| write.is_lease()).count();
    part.figure(
        "own Events a job; Lease writes in all",
        format!("{:.2}; {leases}", per_job(events)),
    );
    let refused = own.iter().filter(|write| !write.took_effect()).count();
    part.figure("own writes that were refused, in all", refused);
    let (of_bare, of_ours) = (stored(&bare.writes), stored(&ours.writes));
    let text = |(stored, events): (f64, f64)| format!("{stored:.2} (+ {events:.2} Events)");
    part.figure("whole cluster's writes, a bare Job", text(of_bare));
    part.figure("whole cluster's writes, a ComputeJob", text(of_ours));
    if managed {
        let more = of_ours.0 - of_bare.0;
        part.at_most("whole cluster's writes, more than a bare Job", more, MORE_THAN_BARE, "");
    }
}

/// What was stored for a job, and Events beside.
fn stored(writes: &[Write]) -> (f64, f64) {
    let counted = writes.iter().filter(|write| write.took_effect());
    let (events, stored): (Vec<_>, Vec<_>) =
        counted.filter(|write| !write.is_lease()).partition(|write| write.is_event());
    (per_job(stored.len()), per_job(events.len()))
}

/// Whether Windlass or its user wrote it.
fn is_own(write: &Write) -> bool {
    write.user == CONTROLLER || (write.resource == "computejobs" && write.verb == "create")
}

fn writes_table(bare: &[Write], ours: &[Write]) -> String {
    let (bare, ours) = (by_kind(bare), by_kind(ours));
    let keys: BTreeSet<_> = bare.iter().chain(&ours).map(|(key, _)| key.clone()).collect();
    let count = |all: &[((String, String, String), usize)], key| {
        all.iter().find(|(other, _)| other == key).map_or(0, |(_, count)| *count)
    };
    let rows = keys.iter().map(|key| {
        let user = key.0.rsplit(':').next().unwrap_or_default().to_owned();
        let figures = [count(&bare, key), count(&ours, key)].map(|n| format!("{:.2}", per_job(n)));
        vec![user, key.1.clone(), key.2.clone(), figures[0].clone(), figures[1].clone()]
    });
    let head = ["writes a job: by", "verb", "resource", "bare Job", "ComputeJob"];
    table(&head, rows)
}

fn per_job(count: usize) -> f64 {
    count as f64 / JOBS as f64
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
