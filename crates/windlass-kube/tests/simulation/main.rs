//! The real controller against an API server in memory, with one fault at every write, with pairs of
//! faults, with controllers that die and two that act at once. The server checks our promises at each
//! write: never two live pods of a job, never more CPUs than the quota, no status that goes back. In
//! the end every job has ended as it should, nothing is left of it, and nobody writes any more.
//!
//! Time is real: each world waits most of it, so that hundreds run side by side.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use windlass_kube::{ReportEndpoint, Settings};

use server::{Fault, Server, Unruly, lot};

/// Longest time until every job has ended.
const END: Duration = Duration::from_secs(180);
/// So long after the end nobody has anything left to do: a claim that one of two controllers has not seen made
/// counts for 10 s, and what a queue has granted is told every 5 s, and once more when that write fails,
const SETTLE: Duration = Duration::from_secs(22);
/// and nobody may write for this long.
const QUIET: Duration = Duration::from_secs(4);

/// What somebody does to a batch Job that is not his.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByHand {
    Delete,
    /// Deletes it and leaves its pod, and the controllers start anew.
    Orphan,
    /// Suspends it, and has it go on after so many milliseconds.
    Suspend(u64),
}

/// One story.
#[derive(Clone, Debug)]
struct Story {
    faults: BTreeMap<usize, Fault>,
    controllers: usize,
    /// CPUs of the queue; without it jobs pass straight through.
    quota: Option<u32>,
    /// Crashes of each job before it succeeds.
    jobs: Vec<u32>,
    /// A job that is cancelled after so many milliseconds.
    cancel: Option<u64>,
    /// What somebody does by hand to the first batch Job, so many milliseconds after it was there.
    by_hand: Option<(ByHand, u64)>,
    unruly: Option<Unruly>,
    /// Longest time that an attempt runs, in milliseconds.
    longest: u64,
    /// Queue and jobs come when the controllers have begun already.
    created_late: bool,
    /// Whether no attempt is made beyond those that must fail and one that succeeds.
    only_needed: bool,
    /// Somebody else's batch Job has the name of the first attempt of the first job, for so many milliseconds.
    stranger: Option<u64>,
    spread: u64,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            faults: BTreeMap::new(),
            controllers: 1,
            quota: Some(3),
            jobs: vec![0, 1],
            cancel: None,
            by_hand: None,
            unruly: None,
            longest: 150,
            created_late: false,
            only_needed: false,
            stranger: None,
            spread: 1,
        }
    }
}

fn start(server: &Server, controller: usize) -> JoinHandle<()> {
    start_with(server, Settings { name: format!("c{controller}"), ..settings() }, controller)
}

fn settings() -> Settings {
    Settings {
        namespace: None,
        report: ReportEndpoint { url: "http://gateway/v1/reports".into(), authorities: None },
        lease_namespace: None,
        name: String::new(),
        deleted_nodes_are_fenced: false,
        ended: None,
    }
}

fn start_with(server: &Server, settings: Settings, controller: usize) -> JoinHandle<()> {
    let client = server.client(controller);
    tokio::spawn(async move {
        let ready = watch::Sender::new(false);
        let metrics = windlass_kube::Metrics::register(&mut Registry::default());
        windlass_kube::run(client, settings, metrics, ready, std::future::pending()).await.unwrap();
    })
}

fn key(plural: &str, name: &str) -> server::Key {
    (plural.to_owned(), "default".to_owned(), name.to_owned())
}

fn create_function(server: &Server) {
    let mut state = server.lock();
    state.create(
        key("computefunctions", "f"),
        json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction", "metadata": {},
            "spec": { "image": "i", "command": ["f"], "retries": 2 } }),
    );
    state.create(("nodes".into(), String::new(), "n".into()), json!({ "metadata": {} }));
}

/// Its UID.
fn create_job(server: &Server, index: usize, crashes: u32) -> String {
    let job = server.lock().create(
        key("computejobs", &format!("j{index}")),
        json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob", "metadata": {},
            "spec": { "function": "f", "parallelism": 2, "minParallelism": 1 + index % 2,
                "input": { "crashes": crashes } } }),
    );
    job["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Tells a story to its end. What went wrong, if anything.
async fn tell(story: Story) -> Result<usize, String> {
    let server = Server::new(story.faults.clone());
    server.lock().unruly = story.unruly;
    create_function(&server);
    let mut controllers = Vec::new();
    if story.created_late {
        controllers.extend((0..story.controllers).map(|i| start(&server, i)));
        // Their watches are there.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    {
        let mut state = server.lock();
        if let Some(cpus) = story.quota {
            state.create(
                key("computequeues", "default"),
                json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue", "metadata": {},
                    "spec": { "cpus": cpus } }),
            );
        }
    }
    for (index, crashes) in story.jobs.iter().enumerate() {
        let uid = create_job(&server, index, *crashes);
        if index == 0 && story.stranger.is_some() {
            let name = windlass_core::name::attempt("j0", &uid, 1);
            let labels = json!({ "windlass.dev/job": "j0", "windlass.dev/job-uid": uid,
                "windlass.dev/attempt": "1", "windlass.dev/cpus": "0", "windlass.dev/queue": "default" });
            let stranger = json!({ "apiVersion": "batch/v1", "kind": "Job",
                "metadata": { "labels": labels }, "spec": { "suspend": true } });
            server.lock().create(key("jobs", &name), stranger);
        }
    }
    let world = tokio::spawn(cluster::run(server.clone(), story.longest, story.spread));
    if controllers.is_empty() {
        controllers.extend((0..story.controllers).map(|i| start(&server, i)));
    }
    let mut deaths = server.lock().deaths.subscribe();
    let began = Instant::now();
    let (mut cancel, mut by_hand) = (story.cancel, story.by_hand);
    let mut stranger = story.stranger.map(|until| began + Duration::from_millis(until));
    let mut made = None;
    let mut suspended = None;
    let ended = timeout(END, async {
        loop {
            if deaths.has_changed().unwrap() {
                let all = deaths.borrow_and_update().clone();
                server.lock().deaths.send_modify(Vec::clear);
                deaths.mark_unchanged();
                for dead in all {
                    controllers[dead].abort();
                    controllers[dead] = start(&server, dead);
                }
            }
            if cancel.is_some_and(|at| began.elapsed() >= Duration::from_millis(at)) {
                cancel = None;
                let mut state = server.lock();
                let key = ("computejobs".to_owned(), "default".to_owned(), "j0".to_owned());
                let mut job = state.objects[&key].clone();
                job["spec"]["cancel"] = json!(true);
                state.put(&key, job);
            }
            if let Some((what, after)) = by_hand {
                let mut state = server.lock();
                // A pod that is made after its batch Job was deleted is the story of `Delete`.
                let may = |job: &Value| what != ByHand::Orphan || job["status"]["had_pod"] == true;
                let first = state.all("jobs").next().filter(|(_, job)| may(job));
                let first = first.map(|(key, _)| key.clone());
                if let Some(key) = first
                    && made.get_or_insert_with(Instant::now).elapsed()
                        >= Duration::from_millis(after)
                {
                    by_hand = None;
                    match what {
                        ByHand::Delete => state.delete(&key),
                        ByHand::Orphan => {
                            state.delete_and_orphan(&key);
                            state.deaths.send_replace((0..story.controllers).collect());
                        }
                        ByHand::Suspend(pause) => {
                            state.suspend(&key, true);
                            suspended = Some((key, Instant::now() + Duration::from_millis(pause)));
                        }
                    }
                }
            }
            if stranger.take_if(|until| Instant::now() >= *until).is_some() {
                let mut state = server.lock();
                let is_strange = |job: &Value| job["metadata"]["ownerReferences"].is_null();
                let strange = state.all("jobs").find(|(_, job)| is_strange(job));
                let strange = strange.map(|(key, _)| key.clone());
                let told = state.objects[&key("computejobs", "j0")]["status"].to_string();
                match strange {
                    Some(key) if told.contains("NameTaken") => state.remove(&key),
                    found => state.broken.push(format!("a stranger's {found:?}: {told}")),
                }
            }
            if let Some((key, _)) = suspended.take_if(|(_, until)| Instant::now() >= *until) {
                server.lock().suspend(&key, false);
            }
            if is_over(&server) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // What the other controller had begun is over by then.
    tokio::time::sleep(SETTLE).await;
    let writes = server.lock().writes.len();
    let quiet = match ended {
        Ok(()) => {
            tokio::time::sleep(QUIET).await;
            server.lock().writes.len() == writes
        }
        Err(_) => false,
    };
    world.abort();
    for controller in &controllers {
        controller.abort();
    }
    let state = server.lock();
    let mut wrong = state.broken.clone();
    if ended.is_err() {
        wrong.push("did not end".into());
    } else if !quiet {
        wrong.push("writes go on after the end".into());
    }
    for (index, crashes) in story.jobs.iter().enumerate() {
        let job = &state.objects[&("computejobs".into(), "default".into(), format!("j{index}"))];
        let cancelled = index == 0 && story.cancel.is_some();
        let phase = job["status"]["phase"].as_str().unwrap_or("none");
        let expected = if *crashes > 2 { "Failed" } else { "Succeeded" };
        if phase != expected && !(cancelled && phase == "Cancelled") {
            wrong.push(format!("j{index} is {phase}: {}", job["status"]));
        }
        if story.only_needed && job["status"]["attempt"] != u64::from(*crashes) + 1 {
            wrong.push(format!("j{index} has attempt {}", job["status"]["attempt"]));
        }
    }
    if wrong.is_empty() {
        Ok(writes)
    } else {
        let objects: Vec<_> = state.objects.keys().collect();
        Err(format!("{story:?}\n{wrong:#?}\n{:#?}\n{objects:?}", state.writes))
    }
}

fn is_over(server: &Server) -> bool {
    let state = server.lock();
    let phase = |job: &Value| job["status"]["phase"].as_str().unwrap_or("").to_owned();
    let over = |job: &Value| matches!(phase(job).as_str(), "Succeeded" | "Failed" | "Cancelled");
    state.all("computejobs").all(|(_, job)| over(job))
        && state.all("jobs").next().is_none()
        && state.all("pods").next().is_none()
}

/// Tells all the stories side by side. The numbers of their writes, in no order.
fn tell_all(stories: impl IntoIterator<Item = Story>) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut told = JoinSet::new();
        for story in stories {
            told.spawn(tell(story));
        }
        let (mut writes, mut wrong) = (Vec::new(), Vec::new());
        while let Some(story) = told.join_next().await {
            match story.unwrap() {
                Ok(count) => writes.push(count),
                Err(what) => wrong.push(what),
            }
        }
        let count = wrong.len();
        let titles: String =
            wrong.iter().map(|what| what.chars().take(500).collect::<String>() + "\n").collect();
        let all = count + writes.len();
        assert!(wrong.is_empty(), "{count} of {all} stories:\n{titles}\n{}", wrong[0]);
        writes
    })
}

const FAULTS: [Fault; 9] = [
    Fault::Refused(409),
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::Refused(504),
    Fault::Unanswered,
    Fault::DeathBefore,
    Fault::DeathAfter,
    Fault::Refused(403),
];

/// Writes of the story of two jobs.
const WRITES: usize = 14;

#[test]
fn a_job_that_passes_straight_through_costs_four_writes() {
    let story = Story { quota: None, jobs: vec![0], ..Story::default() };
    // batch Job, running, finished, batch Job's deletion; beside them the user's own.
    assert!(tell_all([story]).into_iter().all(|writes| writes <= 4));
}

#[test]
fn one_fault_at_any_write_breaks_no_promise() {
    let stories = (0..WRITES).flat_map(|write| {
        FAULTS.iter().map(move |fault| Story {
            faults: BTreeMap::from([(write, *fault)]),
            spread: write as u64,
            ..Story::default()
        })
    });
    tell_all(stories);
}

#[test]
fn two_or_three_controllers_at_once_break_no_promise() {
    let stories = (0..40_u64).map(|spread| Story {
        controllers: 2 + usize::from(spread.is_multiple_of(5)),
        quota: (!spread.is_multiple_of(4)).then_some(3),
        jobs: vec![0, 1, 0, 3, 0],
        cancel: spread.is_multiple_of(3).then_some(spread * 13),
        spread,
        ..Story::default()
    });
    tell_all(stories);
}

/// Running is told after 2 s, so that a status names an attempt that still runs and that late watches do not
/// show.
#[test]
fn attempts_that_are_told_to_run_are_not_started_again() {
    let stories = (0..40_u64).map(|seed| Story {
        controllers: 1 + usize::from(seed.is_multiple_of(2)),
        quota: (!seed.is_multiple_of(5)).then_some(3),
        jobs: vec![0, 1, 0],
        unruly: Some(Unruly {
            late: 200 + seed * 80,
            too_old: 4,
            late_pods: 0,
            refused_reads: (seed % 3) as u32,
            seed: seed + 77,
        }),
        longest: 6_000,
        spread: seed,
        ..Story::default()
    });
    tell_all(stories);
}

#[test]
fn a_batch_job_that_is_deleted_by_hand_is_made_again_when_its_pod_is_known_to_be_dead() {
    // A second controller that has the same claim may make the batch Job that was deleted once more, and a
    // pod of the first come after that: see ARCHITECTURE, "What is known and left".
    let stories = (0..48_u64).map(|spread| Story {
        jobs: vec![u32::from(spread.is_multiple_of(3)) * 2, 1],
        quota: (!spread.is_multiple_of(2)).then_some(2),
        by_hand: Some((ByHand::Delete, spread * 5)),
        spread,
        ..Story::default()
    });
    tell_all(stories);
}

/// What a pod has done is not done again because the batch Job is known to be over before.
#[test]
fn a_pod_that_its_watch_shows_late_is_asked_for() {
    let stories = (0..24_u64).map(|seed| Story {
        controllers: 1 + usize::from(seed.is_multiple_of(3)),
        quota: (!seed.is_multiple_of(2)).then_some(3),
        only_needed: true,
        unruly: Some(Unruly {
            late: 20,
            too_old: 0,
            late_pods: 3_000,
            refused_reads: 0,
            seed: seed + 3,
        }),
        spread: seed,
        ..Story::default()
    });
    tell_all(stories);
}

#[test]
fn a_queue_that_is_as_new_as_its_jobs_lets_none_pass() {
    let stories = (0..40_u64).map(|seed| Story {
        controllers: 1 + usize::from(seed.is_multiple_of(3)),
        quota: Some(2),
        jobs: vec![0, 1, 0],
        unruly: Some(Unruly {
            late: seed * 40,
            too_old: 2,
            late_pods: 0,
            refused_reads: 0,
            seed: seed + 5,
        }),
        created_late: true,
        spread: seed,
        ..Story::default()
    });
    tell_all(stories);
}

#[test]
fn a_strangers_batch_job_is_told_and_waited_for() {
    let stories = (0..6_u64).map(|spread| Story {
        controllers: 1 + usize::from(spread.is_multiple_of(2)),
        quota: (!spread.is_multiple_of(3)).then_some(4),
        stranger: Some(3_000),
        spread,
        ..Story::default()
    });
    tell_all(stories);
}

#[test]
fn a_pod_that_a_deletion_of_its_batch_job_has_left_counts_after_a_restart() {
    let stories = (0..48_u64).map(|spread| Story {
        controllers: 1 + usize::from(spread.is_multiple_of(3)),
        quota: (!spread.is_multiple_of(2)).then_some(2),
        by_hand: Some((ByHand::Orphan, spread * 5)),
        unruly: spread.is_multiple_of(5).then_some(Unruly {
            late: 40 * spread,
            too_old: 2,
            late_pods: 0,
            refused_reads: 1,
            seed: spread + 1,
        }),
        cancel: spread.is_multiple_of(4).then_some(spread * 7),
        spread,
        ..Story::default()
    });
    tell_all(stories);
}

#[test]
fn a_batch_job_that_is_suspended_and_goes_on_makes_no_second_pod_of_a_job() {
    let stories = (0..48_u64).map(|spread| Story {
        controllers: 1 + usize::from(spread.is_multiple_of(3)),
        quota: (!spread.is_multiple_of(2)).then_some(2),
        by_hand: Some((ByHand::Suspend(200 + spread * 80), spread * 5)),
        spread,
        ..Story::default()
    });
    tell_all(stories);
}

#[test]
fn watches_that_are_late_and_begin_again_break_no_promise() {
    let stories = (0..60_u64).map(|seed| Story {
        controllers: 1 + usize::from(seed.is_multiple_of(2)),
        quota: (!seed.is_multiple_of(5)).then_some(3),
        jobs: vec![0, 1, 0],
        cancel: seed.is_multiple_of(4).then_some(seed * 9),
        // Of a pod that is made of a batch Job that was deleted before, a second controller whose watch has
        // not shown that one yet cannot know.
        by_hand: (seed % 6 == 3).then_some((ByHand::Delete, seed * 3)),
        unruly: Some(Unruly {
            late: 20 + seed * 10,
            too_old: 4,
            late_pods: 0,
            refused_reads: (seed % 4) as u32,
            seed: seed + 1,
        }),
        spread: seed,
        ..Story::default()
    });
    tell_all(stories);
}

/// One controller with a defect: it panics at the first start of one job, and when another has ended.
#[test]
fn a_panic_at_one_of_a_hundred_jobs_stops_no_other() {
    const JOBS: usize = 100;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::new(BTreeMap::new());
        create_function(&server);
        (0..JOBS).for_each(|index| drop(create_job(&server, index, 0)));
        let starts = AtomicUsize::new(0);
        let authorities = move || {
            assert!(starts.fetch_add(1, Ordering::Relaxed) != 50, "a defect");
            Arc::from("")
        };
        let url = "http://gateway/v1/reports".to_owned();
        let settings = Settings {
            report: ReportEndpoint { url, authorities: Some(Arc::new(authorities)) },
            ended: Some(Arc::new(|job| assert!(job.metadata.name != "j7", "another defect"))),
            ..settings()
        };
        let world = tokio::spawn(cluster::run(server.clone(), 150, 1));
        let controller = start_with(&server, settings, 0);
        let succeeded = || {
            let state = server.lock();
            state
                .all("computejobs")
                .filter(|(_, job)| job["status"]["phase"] == "Succeeded")
                .count()
        };
        let others = timeout(END, async {
            while succeeded() < JOBS - 1 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(others.await.is_ok(), "{} of {JOBS} jobs succeeded", succeeded());
        tokio::time::sleep(SETTLE).await;
        assert_eq!(succeeded(), JOBS - 1, "the job is left alone for minutes");
        assert!(!controller.is_finished(), "the controller has ended");
        assert_eq!(server.lock().broken, Vec::<String>::new());
        let left = server.lock().all("jobs").count();
        assert!(left <= 1, "{left} batch Jobs are left");
        controller.abort();
        world.abort();
    });
}

#[test]
fn random_faults_and_deaths_break_no_promise() {
    let stories = (0..80_u64).map(|seed| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| lot(&mut state, below);
        let faults = (0..random(4)).map(|_| {
            let write = usize::try_from(random(24)).unwrap();
            (write, FAULTS[usize::try_from(random(9)).unwrap()])
        });
        Story {
            faults: faults.collect(),
            controllers: 1 + usize::from(seed.is_multiple_of(2)),
            quota: (!seed.is_multiple_of(5)).then_some(2 + u32::try_from(random(3)).unwrap()),
            jobs: vec![0, 2, 0],
            cancel: seed.is_multiple_of(3).then(|| random(600)),
            spread: seed,
            ..Story::default()
        }
    });
    tell_all(stories);
}
