//! What may go wrong around the controller on a real cluster: each fault with its stated outcome. After the
//! last of them everything converges within a minute, nothing is lost, done twice or left, and then
//! nothing is written.
//!
//! Pods are kwok's but for the last tests; API server, etcd, controller-manager and scheduler are real.
//! Each test breaks the whole cluster, so they run one after the other. `tests/run outages` runs the
//! long forms, `tests/run cluster` short ones.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_tests::api::{Refused, batch_jobs, compute_jobs, pods};
use windlass_tests::cluster::{RELEASE, compute_job};
use windlass_tests::proxy::Mood;
use windlass_tests::watch::Objects;
use windlass_tests::{Controller, Proxy};

use crate::support::cluster::{Namespace, get};
use crate::support::http::Client;
use crate::support::outage::{
    MINUTE, Random, World, in_cluster_controllers, long_or, on_a_cluster,
};
use crate::support::{quantile, text};

const SECOND: Duration = Duration::from_secs(1);

/// How long a component that was killed may take to come back before it is started again.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a kubelet is busy with a pod that it has started. It looks at a pod again only with a list of
/// containers that is newer than its last look, and it lists them once a second: before that a deletion
/// waits up to a second in the kubelet, whatever deletes it.
const BUSY: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn controllers_that_are_killed_every_other_second_lose_nothing() {
    on_a_cluster("killed", async |world| {
        let mut random = Random::of_environment();
        let count = long_or(1000, 400);
        let input = json!({ "run": "1s" });
        let (accepted, kills) = futures::join!(
            world.submit("job", count, &input),
            kill_until_finished(&world, &mut random, count, long_or(300, 60))
        );
        let (accepted, kills) = (accepted?, kills?);
        let _controller = world.controller("last")?;
        let converged = world.converges(&accepted, true).await?;
        println!("{kills} kills -9 of the controller, 1 to 3 s apart; {converged}");
        anyhow::ensure!(kills >= 3, "only {kills} kills: the test shows nothing");
        Ok(())
    });
}

/// Starts a controller and kills it after 1 to 3 s, until all jobs have finished; at most so many seconds.
async fn kill_until_finished(
    world: &World,
    random: &mut Random,
    count: usize,
    seconds: u64,
) -> anyhow::Result<u32> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kills = 0;
    while world.jobs.objects().count("finished") < count && Instant::now() < end {
        // Without a Lease: the next would wait until that of the killed one has run out, and do nothing.
        let controller = world.controller_with("killed", &["--leader-elect=false"])?;
        tokio::time::sleep(random.between(1_000, 3_000)).await;
        controller.kill()?;
        kills += 1;
    }
    Ok(kills)
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn two_controllers_whose_lease_is_deleted_each_second_do_nothing_twice() {
    on_a_cluster("two", async |world| {
        let count = long_or(1000, 400);
        let mut both = [world.controller("one")?, world.controller("other")?];
        let lease =
            format!("/apis/coordination.k8s.io/v1/namespaces/{RELEASE}/leases/windlass-controller");
        let deleting = async {
            let (mut deleted, end) = (0, Instant::now() + MINUTE * 5);
            while world.jobs.objects().count("finished") < count && Instant::now() < end {
                match world.admin.delete(&lease).await {
                    Ok(_) => deleted += 1,
                    // There is none, or not yet.
                    Err(refused) if refused.code == 404 => {}
                    Err(refused) => return Err(refused),
                }
                tokio::time::sleep(SECOND).await;
            }
            Ok(deleted)
        };
        let input = json!({ "run": "1s" });
        let (accepted, deleted) = futures::join!(world.submit("job", count, &input), deleting);
        let (accepted, deleted) = (accepted?, deleted?);
        let converged = world.converges(&accepted, true).await?;
        println!("two controllers at once, their Lease deleted {deleted} times; {converged}");
        let silence = long_or(MINUTE * 10, SECOND * 20);
        world.stays_silent(silence).await?;
        println!("0 writes in {silence:?} with {} finished jobs", accepted.len());
        for controller in &mut both {
            anyhow::ensure!(
                controller.is_running(),
                "a controller has ended: {}",
                controller.said()
            );
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn another_controller_takes_over_in_seconds() {
    on_a_cluster("takeover", async |world| {
        let mut leader = world.controller("first")?;
        runs(&world, "before", MINUTE).await?;
        let mut accepted = vec!["before".to_owned()];
        for (ending, bound) in [("stopped", SECOND * 3), ("killed", SECOND * 15)] {
            let next = standing_by(&world, ending).await?;
            let began = Instant::now();
            match ending {
                "stopped" => leader.stop()?,
                _ => leader.kill()?,
            }
            let job = format!("after-{ending}");
            runs(&world, &job, MINUTE).await?;
            let created = world.carriers.objects().last("there").unwrap_or_else(Instant::now);
            let took = created.duration_since(began);
            println!("the leader was {ending}: another creates a batch Job {took:.1?} later");
            anyhow::ensure!(took <= bound, "{took:?} of {bound:?}\n{}", world.state().await);
            accepted.push(job);
            leader = next;
        }
        println!("{}", world.converges(&accepted, true).await?);
        Ok(())
    });
}

/// Submits a job and waits for its end.
async fn runs(world: &World, name: &str, limit: Duration) -> anyhow::Result<()> {
    let finished = world.jobs.objects().count("finished");
    let job = compute_job(name, 1, "default", &json!({ "run": "100ms" }));
    world.create(&compute_jobs(&world.namespace, ""), &job).await?;
    world.finished(finished + 1, limit).await
}

/// A controller beside the one that leads, once its watches have brought everything.
async fn standing_by(world: &World, name: &str) -> anyhow::Result<Controller> {
    let controller = world.controller_with(name, &["--operations", "127.0.0.1:0"])?;
    let deadline = Instant::now() + MINUTE;
    loop {
        let said = std::fs::read_to_string(world.log(name))?;
        let address = said.lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line["address"].as_str()?.to_owned())
        });
        if let Some(address) = address {
            let client = Client {
                host: address.clone(),
                address,
                token: String::new(),
                namespace: world.namespace.clone(),
            };
            if client.try_send("GET", "/readyz", &[], b"").is_ok_and(|answer| answer.status == 200)
            {
                return Ok(controller);
            }
        }
        anyhow::ensure!(Instant::now() < deadline, "not ready: {said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ends a component again and again while jobs are submitted and run.
fn a_component_that_is_killed(name: &str, component: &str, kills: u32, jobs: usize) {
    on_a_cluster(name, async |world| {
        let mut random = Random::of_environment();
        let mut controller = world.controller("controller")?;
        let killing = async {
            for _ in 0..kills {
                world.cluster.script("restart", &[component, "KILL"]).await?;
                ready(&world, component).await?;
                tokio::time::sleep(random.between(500, 2_500)).await;
            }
            anyhow::Ok(())
        };
        let submitting = async {
            // In lots, so that some are under way at each kill.
            let (lots, mut all) = (kills as usize, Vec::new());
            for lot in 0..lots {
                let prefix = format!("job-{lot}");
                all.extend(world.submit(&prefix, jobs / lots, &json!({ "run": "1s" })).await?);
                tokio::time::sleep(random_pause(lot)).await;
            }
            anyhow::Ok(all)
        };
        let (killed, accepted) = futures::join!(killing, submitting);
        killed?;
        let accepted = accepted?;
        // A write that is answered with 500, as without etcd, kwok does not try again, as a kubelet would, before
        // its pod changes.
        for pod in world.admin.list(&pods(&world.namespace, "")).await? {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let touched = json!({ "metadata": { "annotations": { "touched": "1" } } });
            match world.admin.merge(&pods(&world.namespace, name), &touched).await {
                Ok(_) | Err(Refused { code: 404, .. }) => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        // The log of an API server that is killed has gaps.
        let converged = world.converges(&accepted, false).await?;
        println!("{kills} kills -9 of {component}; {converged}");
        anyhow::ensure!(controller.is_running(), "the controller has ended: {}", controller.said());
        Ok(())
    });
}

fn random_pause(lot: usize) -> Duration {
    Duration::from_millis(500 + (lot as u64 * 7919) % 2500)
}

/// Waits until the API server answers and writes. A component that does not come back is started again, as
/// a kubelet would: an API server whose predecessor was killed in the middle of something may give up while
/// it starts.
async fn ready(world: &World, component: &str) -> anyhow::Result<()> {
    let (deadline, mut patience) = (Instant::now() + MINUTE * 2, Instant::now() + PATIENCE);
    loop {
        match world.admin.get("/api/v1/namespaces/default").await {
            Ok(_) => return Ok(()),
            Err(refused) => anyhow::ensure!(Instant::now() < deadline, "it stays away: {refused}"),
        }
        if Instant::now() >= patience {
            println!("{component} did not come back within {PATIENCE:?}, and is started again");
            world.cluster.script("restart", &[component, "KILL"]).await?;
            patience = Instant::now() + PATIENCE;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn an_api_server_that_is_killed_again_and_again_loses_no_job() {
    a_component_that_is_killed("api", "kube-apiserver", long_or(20, 2), long_or(400, 60));
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn an_etcd_that_is_killed_again_and_again_loses_no_job() {
    a_component_that_is_killed("etcd", "etcd", long_or(10, 2), long_or(300, 60));
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_strangers_job_with_an_attempts_name_is_left_alone_and_stops_no_other() {
    on_a_cluster("stranger", async |world| {
        // The names are computed from the UID, so the strangers come before the controller does.
        let mut strangers = Vec::new();
        let accepted = world.submit("blocked", 2, &json!({ "run": "1s" })).await?;
        for (number, name) in accepted.iter().enumerate() {
            let job = world.job(name).await?;
            let uid = job["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let carrier = windlass_core::name::attempt(name, &uid, 1);
            // The second pretends to be ours, by its labels.
            let labels = match number {
                0 => json!({}),
                _ => json!({ "windlass.dev/job": name, "windlass.dev/job-uid": uid,
                    "windlass.dev/attempt": "1", "windlass.dev/cpus": "1",
                    "windlass.dev/queue": "default" }),
            };
            let stranger = json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": { "name": carrier, "labels": labels },
                "spec": { "suspend": true, "template": { "spec": { "restartPolicy": "Never",
                    "containers": [{ "name": "stranger", "image": "windlass.test/nothing:1" }] } } },
            });
            let made = world.admin.create(&batch_jobs(&world.namespace, ""), &stranger).await?;
            strangers.push((carrier, made["metadata"]["uid"].clone()));
        }
        let _controller = world.controller("controller")?;
        let others = world.submit("other", 50, &json!({ "run": "1s" })).await?;
        world.finished(others.len(), MINUTE).await?;
        for (carrier, uid) in &strangers {
            let found = world.admin.get(&batch_jobs(&world.namespace, carrier)).await?;
            anyhow::ensure!(&found["metadata"]["uid"] == uid, "{carrier} is another now");
            anyhow::ensure!(
                found["metadata"]["deletionTimestamp"].is_null(),
                "{carrier} is deleted"
            );
        }
        for name in &accepted {
            let job = world.job(name).await?;
            anyhow::ensure!(
                job["status"]["timeline"]["finished"].is_null(),
                "{name}: {}",
                job["status"]
            );
            let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
            let told =
                conditions.map(|condition| &condition["reason"]).any(|why| why == "NameTaken");
            anyhow::ensure!(told, "{name} does not say why: {}", job["status"]);
        }
        for (carrier, _) in &strangers {
            world.admin.delete(&batch_jobs(&world.namespace, carrier)).await?;
        }
        let all: Vec<_> = accepted.into_iter().chain(others).collect();
        let converged = world.converges(&all, true).await?;
        println!("2 strangers' Jobs in the way; {converged}");
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn malformed_resources_stop_no_other_job() {
    on_a_cluster("malformed", async |world| {
        let mut controller = world.controller("controller")?;
        let (good, bad) = (long_or(900, 90), long_or(100, 10));
        let before = world.submit("before", 10, &json!({ "run": "1s" })).await?;
        let kinds = ["computejobs", "computefunctions", "computequeues"];
        let mut sound = Vec::new();
        for kind in kinds {
            sound.push(with_version(&world, kind, None).await?);
        }
        let made = malformed(&world, bad).await;
        // Strict again before anything is asked of it.
        for (kind, version) in kinds.iter().zip(sound) {
            with_version(&world, kind, Some(version)).await?;
        }
        made?;
        let mut accepted = world.submit("job", good, &json!({ "run": "1s" })).await?;
        accepted.extend(before);
        world.finished(accepted.len(), MINUTE * 3).await?;
        anyhow::ensure!(controller.is_running(), "the controller has ended: {}", controller.said());
        each_is_told(&world, bad).await?;
        // One that starts with all of them there reads them in its first list.
        controller.kill()?;
        let mut controller = world.controller("restarted")?;
        accepted.extend(world.submit("after", 10, &json!({ "run": "1s" })).await?);
        let converged = world.converges(&accepted, true).await?;
        anyhow::ensure!(controller.is_running(), "the controller has ended: {}", controller.said());
        println!("{bad} malformed ComputeJobs, a function and a queue; {converged}");
        Ok(())
    });
}

/// Waits until each malformed job was told so: by an Event, or in its status where that can be read.
async fn each_is_told(world: &World, count: usize) -> anyhow::Result<()> {
    let events = format!("/api/v1/namespaces/{}/events", world.namespace);
    let deadline = Instant::now() + MINUTE;
    loop {
        let mut told: HashSet<String> = HashSet::new();
        for event in world.admin.list(&events).await? {
            let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
            if event["type"] == "Warning" && event["reason"] == "Malformed" {
                told.insert(name.to_owned());
            }
        }
        for job in world.admin.list(&compute_jobs(&world.namespace, "")).await? {
            let name = job["metadata"]["name"].as_str().unwrap_or_default();
            if job["status"]["failure"]["reason"] == "Invalid" {
                told.insert(name.to_owned());
            }
        }
        let untold: Vec<_> =
            (0..count).map(|n| format!("bad-{n}")).filter(|name| !told.contains(name)).collect();
        if untold.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "not told of: {}", untold.join(", "));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Gives a kind this version and returns the one that it had; with none, one whose schema takes anything.
async fn with_version(world: &World, plural: &str, sound: Option<Value>) -> anyhow::Result<Value> {
    let path =
        format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.windlass.dev");
    let mut definition = world.admin.get(&path).await?;
    let anything = json!({ "openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let version = &mut definition["spec"]["versions"][0];
    let before = version.clone();
    match sound {
        Some(sound) => *version = sound,
        None => {
            version["schema"] = anything;
            // A field to select by must be in the schema.
            if let Some(version) = version.as_object_mut() {
                version.remove("selectableFields");
            }
        }
    }
    world.admin.replace(&path, &definition).await?;
    Ok(before)
}

/// Objects that no schema of ours takes. Creation is tried until the looser schema is in force.
async fn malformed(world: &World, count: usize) -> anyhow::Result<()> {
    let huge = "x".repeat(1 << 16);
    let specs = [
        Value::Null,
        json!("a text"),
        json!([]),
        json!({}),
        json!({ "function": 7 }),
        json!({ "function": "kwok", "parallelism": "many" }),
        json!({ "function": "kwok", "parallelism": -1 }),
        json!({ "function": "kwok", "parallelism": 1e300 }),
        json!({ "function": huge, "input": { "x": huge } }),
        json!({ "function": "kwok", "input": [1, 2, 3] }),
    ];
    let statuses = [
        Value::Null,
        json!("Running"),
        json!({ "phase": "Dancing" }),
        json!({ "attempt": "first" }),
        json!({ "timeline": { "finished": "yesterday" } }),
    ];
    let create = async |path: &str, object: Value| {
        let deadline = Instant::now() + MINUTE;
        loop {
            match world.admin.create(path, &object).await {
                Ok(_) => return anyhow::Ok(()),
                Err(refused) if refused.code == 409 => return Ok(()),
                Err(refused) => anyhow::ensure!(Instant::now() < deadline, "{refused}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    for number in 0..count {
        let mut job = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": format!("bad-{number}") },
        });
        let spec = &specs[number % specs.len()];
        if !spec.is_null() {
            job["spec"] = spec.clone();
        }
        create(&compute_jobs(&world.namespace, ""), job).await?;
        let status = &statuses[number / specs.len() % statuses.len()];
        if !status.is_null() {
            let path = compute_jobs(&world.namespace, &format!("bad-{number}/status"));
            // Some statuses cannot be stored at all; what can is what is to be read.
            let stored = world.admin.merge(&path, &json!({ "status": status })).await;
            if let Err(refused) = stored {
                anyhow::ensure!((400..500).contains(&refused.code), "{refused}");
            }
        }
    }
    for (kind, plural, spec) in [
        ("ComputeFunction", "computefunctions", json!({ "command": "not a list" })),
        ("ComputeQueue", "computequeues", json!({ "cpus": "all of them" })),
    ] {
        let object = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": kind,
            "metadata": { "name": "bad" }, "spec": spec,
        });
        let path = format!("/apis/windlass.dev/v1alpha1/namespaces/{}/{plural}", world.namespace);
        create(&path, object).await?;
    }
    Ok(())
}

/// A controller behind a proxy that begins in this mood.
async fn proxied(world: &World, mood: Mood) -> anyhow::Result<(Proxy, Controller)> {
    let proxy = Proxy::start(&world.kubeconfig).await?;
    proxy.be(mood);
    let account = format!("{RELEASE}-controller");
    let directory = world.directory.path();
    let config = world.cluster.account(&account, directory, Some(&proxy.address)).await?;
    let controller = Controller::start(&config, &world.log("proxied"), &[])?;
    Ok((proxy, controller))
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_minute_of_429_is_waited_out() {
    on_a_cluster("busy", async |world| {
        let (proxy, mut controller) = proxied(&world, Mood::Fair).await?;
        let mut accepted = world.submit("before", 100, &json!({ "run": "3s" })).await?;
        world.finished(1, MINUTE).await?;
        proxy.be(Mood::Busy);
        let storm = Duration::from_secs(long_or(60, 10));
        let began = Instant::now();
        accepted.extend(world.submit("during", 200, &json!({ "run": "1s" })).await?);
        tokio::time::sleep(storm.saturating_sub(began.elapsed())).await;
        let refused = proxy.spoilt();
        proxy.be(Mood::Fair);
        let converged = world.converges(&accepted, true).await?;
        println!("{storm:?} of nothing but 429, {refused} requests refused; {converged}");
        anyhow::ensure!(refused > 0, "nothing was refused: the test shows nothing");
        // It asks again, but it does not hammer: 300 jobs, each at most once a second.
        let most = 300 * storm.as_secs() + 300;
        anyhow::ensure!(refused <= most, "{refused} requests in {storm:?}");
        anyhow::ensure!(controller.is_running(), "the controller has ended: {}", controller.said());
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn lost_answers_start_nothing_twice() {
    on_a_cluster("forgetful", async |world| {
        let (proxy, mut controller) = proxied(&world, Mood::Fair).await?;
        proxy.be(Mood::Forgetful);
        let count = long_or(300, 60);
        let accepted = world.submit("job", count, &json!({ "run": "1s" })).await?;
        world.finished(count, MINUTE * 4).await?;
        let lost = proxy.spoilt();
        proxy.be(Mood::Fair);
        let converged = world.converges(&accepted, true).await?;
        println!("{lost} answers to writes were lost; {converged}");
        anyhow::ensure!(lost as usize > count / 2, "{lost} answers lost: the test shows nothing");
        anyhow::ensure!(controller.is_running(), "the controller has ended: {}", controller.said());
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_list_that_is_never_answered_is_asked_for_again() {
    on_a_cluster("mute", async |world| {
        let (proxy, mut controller) = proxied(&world, Mood::Mute).await?;
        // Its five watches begin with lists.
        let deadline = Instant::now() + MINUTE;
        while proxy.spoilt() < 5 {
            anyhow::ensure!(Instant::now() < deadline, "it asks for {} lists", proxy.spoilt());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        proxy.be(Mood::Fair);
        let accepted = world.submit("job", 20, &json!({ "run": "1s" })).await?;
        world.finished(accepted.len(), MINUTE * 2).await?;
        let took = began.elapsed();
        let converged = world.converges(&accepted, true).await?;
        println!(
            "the first lists were never answered; 20 jobs ended {took:.1?} later; {converged}"
        );
        anyhow::ensure!(controller.is_running(), "the controller has ended: {}", controller.said());
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_right_that_is_taken_away_for_a_while_loses_nothing() {
    on_a_cluster("rights", async |world| {
        let mut controller = world.controller("controller")?;
        let mut accepted = world.submit("before", 20, &json!({ "run": "1s" })).await?;
        let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{RELEASE}-controller");
        let sound = world.admin.get(&role).await?;
        let pause = Duration::from_secs(long_or(60, 6));
        let rights = [
            ("jobs", "create"),
            ("computejobs/status", "patch"),
            ("jobs", "delete"),
            ("pods", "watch"),
        ];
        for (number, (resource, verb)) in rights.into_iter().enumerate() {
            let mut less = sound.clone();
            less["metadata"]["resourceVersion"] = Value::Null;
            let mut taken = 0;
            let has = |list: &Value, word: &str| {
                list.as_array().is_some_and(|words| words.iter().any(|other| other == word))
            };
            if let Some(rules) = less["rules"].as_array_mut() {
                for rule in rules.iter_mut().filter(|rule| has(&rule["resources"], resource)) {
                    if let Some(verbs) = rule["verbs"].as_array_mut() {
                        let before = verbs.len();
                        verbs.retain(|other| other != verb);
                        taken += before - verbs.len();
                    }
                }
                // A rule without verbs is none.
                rules
                    .retain(|rule| rule["verbs"].as_array().is_some_and(|verbs| !verbs.is_empty()));
            }
            anyhow::ensure!(
                taken > 0,
                "the controller has no right to {verb} {resource}: {sound:#}"
            );
            world.admin.replace(&role, &less).await?;
            let submitted =
                world.submit(&format!("without-{number}"), 20, &json!({ "run": "1s" })).await;
            tokio::time::sleep(pause).await;
            let mut whole = sound.clone();
            whole["metadata"]["resourceVersion"] = Value::Null;
            world.admin.replace(&role, &whole).await?;
            accepted.extend(submitted?);
        }
        let converged = world.converges(&accepted, true).await?;
        println!("4 rights taken away for {pause:?} each; {converged}");
        anyhow::ensure!(controller.is_running(), "the controller has ended: {}", controller.said());
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn pods_and_batch_jobs_that_are_deleted_by_hand_are_replaced() {
    on_a_cluster("by-hand", async |world| {
        let _controller = world.controller("controller")?;
        let accepted = world.submit("job", 60, &json!({ "run": "4s" })).await?;
        world
            .pods
            .until("some pods run", MINUTE, |o| (o.count("running") >= 40).then_some(()))
            .await?;
        let (some_pods, some_carriers) = {
            let (pods, carriers) = (world.pods.objects(), world.carriers.objects());
            let running = pods.live.iter().filter(|(_, pod)| pod["status"]["phase"] == "Running");
            let some: Vec<_> = running.map(|(name, _)| name.clone()).take(15).collect();
            let others =
                carriers.live.keys().filter(|name| !some.iter().any(|pod| pod.starts_with(*name)));
            let others: Vec<_> = others.take(15).cloned().collect();
            (some, others)
        };
        for pod in &some_pods {
            world.admin.delete(&pods(&world.namespace, pod)).await?;
        }
        for carrier in &some_carriers {
            world.admin.delete(&batch_jobs(&world.namespace, carrier)).await?;
        }
        let converged = world.converges(&accepted, true).await?;
        let again =
            world.jobs.objects().live.values().filter(|job| job["status"]["attempt"] == 2).count();
        println!(
            "{} pods and {} batch Jobs deleted by hand, {again} jobs had a second attempt; {converged}",
            some_pods.len(),
            some_carriers.len()
        );
        anyhow::ensure!(again > 0, "no job had a second attempt: the test shows nothing");
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn batch_jobs_that_are_suspended_or_deleted_without_their_pods_start_nothing_twice() {
    on_a_cluster("orphans", async |world| {
        let controller = world.controller("first")?;
        let accepted = world.submit("job", 40, &json!({ "run": "8s" })).await?;
        world
            .jobs
            .until("all are told to run", MINUTE, |o| (o.count("running") == 40).then_some(()))
            .await?;
        // The next one knows only what it finds.
        controller.kill()?;
        let carriers: Vec<_> = world.carriers.objects().live.keys().cloned().collect();
        let (suspended, orphaning) = (&carriers[..12], &carriers[12..24]);
        let suspend = async |carrier: &str, suspend: bool| {
            let path = batch_jobs(&world.namespace, carrier);
            world.admin.merge(&path, &json!({ "spec": { "suspend": suspend } })).await
        };
        for carrier in suspended {
            suspend(carrier, true).await?;
        }
        for carrier in orphaning {
            world.admin.delete_and_orphan(&batch_jobs(&world.namespace, carrier)).await?;
        }
        let _controller = world.controller("second")?;
        let (briefly, for_long) = suspended.split_at(6);
        for carrier in briefly {
            suspend(carrier, false).await?;
        }
        // Those that stay suspended are in the way of the next attempt.
        let are_gone = |o: &Objects| {
            let gone = |name: &String| !o.live.contains_key(name);
            for_long.iter().chain(orphaning).all(gone).then_some(())
        };
        world.carriers.until("the orphaned and the suspended are gone", MINUTE, are_gone).await?;
        let converged = world.converges(&accepted, true).await?;
        let again =
            world.jobs.objects().live.values().filter(|job| job["status"]["attempt"] == 2).count();
        println!(
            "{} batch Jobs suspended, {} of them for a moment, {} deleted without their pods, {again} \
             jobs had a second attempt; {converged}",
            suspended.len(),
            briefly.len(),
            orphaning.len()
        );
        let least = for_long.len();
        anyhow::ensure!(
            again >= least,
            "{again} jobs had a second attempt: the test shows nothing"
        );
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn the_jobs_of_a_deleted_node_run_again_only_when_it_is_known_to_be_dead() {
    on_a_cluster("node", async |world| {
        let controller = world.controller("controller")?;
        let accepted = world.submit("job", 40, &json!({ "hold": true, "run": "0s" })).await?;
        world
            .pods
            .until("all pods run", MINUTE, |o| (o.count("running") == 40).then_some(()))
            .await?;
        let (node, lost) = {
            let pods = world.pods.objects();
            let node = pods.live.values().next().map(|pod| pod["spec"]["nodeName"].clone());
            let node = node.unwrap_or_default().as_str().unwrap_or_default().to_owned();
            let lost: Vec<_> = on_node(&pods, &node).map(str::to_owned).collect();
            (node, lost)
        };
        world.admin.delete(&format!("/api/v1/nodes/{node}")).await?;
        // The cluster's own collector of pods waits 40 s for a node to come back, and looks each 20 s.
        let gone = |o: &Objects| on_node(o, &node).next().is_none().then_some(());
        world.pods.until("its pods are gone", MINUTE * 3, gone).await?;
        // Nobody has said that its machine is off: there may be processes, so there is no second attempt.
        tokio::time::sleep(Duration::from_secs(15)).await;
        for job in &lost {
            let status = world.job(job).await?["status"].take();
            anyhow::ensure!(status["attempt"] == 1, "{job} was started again: {status:#}");
            anyhow::ensure!(
                status["timeline"]["finished"].is_null(),
                "{job} has ended: {status:#}"
            );
        }
        controller.kill()?;
        let _fenced = world.controller_with("fenced", &["--deleted-nodes-are-fenced"])?;
        let all_run = |objects: &Objects| {
            let running =
                objects.live.iter().filter(|(_, pod)| pod["status"]["phase"] == "Running");
            let names: Vec<_> = running.map(|(name, _)| name.clone()).collect();
            (names.len() == 40).then_some(names)
        };
        let running = world.pods.until("all run again", MINUTE, all_run).await?;
        for pod in &running {
            world.cluster.release(&world.namespace, pod).await?;
        }
        let converged = world.converges(&accepted, true).await?;
        world.cluster.add_nodes(world.directory.path(), 10, 1_000).await?;
        println!("a node with {} pods was deleted; {converged}", lost.len());
        anyhow::ensure!(!lost.is_empty(), "the node had no pods");
        Ok(())
    });
}

/// Names of the jobs whose pods are on this node.
fn on_node<'a>(objects: &'a Objects, node: &'a str) -> impl Iterator<Item = &'a str> {
    let here = objects.live.values().filter(move |pod| pod["spec"]["nodeName"] == node);
    here.filter_map(|pod| pod["metadata"]["labels"]["windlass.dev/job"].as_str())
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_job_that_is_deleted_and_created_again_has_its_own_result() {
    on_a_cluster("again", async |world| {
        let _controller = world.controller("controller")?;
        let count = 50;
        let names = world.submit("job", count, &json!({ "run": "2s" })).await?;
        world
            .pods
            .until("half of the pods run", MINUTE, |o| {
                (o.count("running") >= count / 2).then_some(())
            })
            .await?;
        for name in &names {
            world.admin.delete(&compute_jobs(&world.namespace, name)).await?;
            let again = compute_job(name, 1, "default", &json!({ "run": "1s" }));
            world.admin.create(&compute_jobs(&world.namespace, ""), &again).await?;
        }
        let converged = world.converges(&names, true).await?;
        println!("{count} jobs deleted and created again under the same name; {converged}");
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_kubelet_that_is_away_delays_and_loses_nothing() {
    on_a_cluster("kubelet", async |world| {
        let real = Namespace::new("kubelet-real");
        in_cluster_controllers(&world.admin, 1).await?;
        let spec = json!({ "function": "echo" });
        real.apply("before", &spec).map_err(anyhow::Error::msg)?;
        real.wait("before");
        world.cluster.script("stop", &["kubelet", "TERM"]).await?;
        real.apply("during", &spec).map_err(anyhow::Error::msg)?;
        // Its pod is bound to the node, and nobody starts it.
        let deadline = Instant::now() + MINUTE;
        while get(&["pods", "-n", &real.0])["items"][0]["spec"]["nodeName"].is_null() {
            anyhow::ensure!(Instant::now() < deadline, "the pod is not bound");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(Duration::from_secs(long_or(70, 10))).await;
        let phase = real.job("during")["status"]["phase"].take();
        anyhow::ensure!(phase != "Failed", "{}", real.job("during"));
        world.cluster.script("restart", &["kubelet"]).await?;
        let began = Instant::now();
        let status = real.wait("during")["status"].take();
        anyhow::ensure!(status["phase"] == "Succeeded", "{status:#}");
        anyhow::ensure!(began.elapsed() < MINUTE, "{:?}", began.elapsed());
        println!(
            "a kubelet was away; the waiting job ended {:.1} s after it came back, in attempt {}",
            began.elapsed().as_secs_f64(),
            status["attempt"]
        );
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_cancelled_jobs_cpus_are_free_within_a_second() {
    on_a_cluster("cancels", async |world| {
        in_cluster_controllers(&world.admin, 1).await?;
        let real = Namespace::new("cancels-real");
        let mut times = Vec::new();
        for number in 0..long_or(200, 10) {
            let name = format!("cancel-{number}");
            let spec = json!({ "function": "misbehave", "input": { "mode": "spin" } });
            real.apply(&name, &spec).map_err(anyhow::Error::msg)?;
            let processes = running(&real, &name).await?;
            let began = Instant::now();
            let cancel = json!({ "spec": { "cancel": true } });
            world.admin.merge(&compute_jobs(&real.0, &name), &cancel).await?;
            let deadline = began + MINUTE;
            while processes.iter().any(|process| process.exists()) {
                anyhow::ensure!(Instant::now() < deadline, "{name} goes on: {}", real.job(&name));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times.push(began.elapsed());
            let status = real.wait(&name)["status"].take();
            anyhow::ensure!(status["phase"] == "Cancelled", "{status:#}");
        }
        let most = quantile(&mut times, 990);
        println!(
            "{} cancels, until no process of the job is left: p50 {:?}, p99 {most:?}, most {:?}",
            times.len(),
            quantile(&mut times, 500),
            times.last()
        );
        anyhow::ensure!(most <= SECOND, "p99 {most:?}");
        Ok(())
    });
}

/// A process, by its directory in /proc, which another one may take over only long after.
struct Process(std::path::PathBuf);

impl Process {
    fn exists(&self) -> bool {
        // A zombie has no command line.
        std::fs::read(self.0.join("cmdline")).is_ok_and(|line| !line.is_empty())
    }
}

fn has_run_for(job: &Value, time: Duration) -> bool {
    let since = job["status"]["timeline"]["running"].as_str().and_then(|at| at.parse().ok());
    since.is_some_and(|since: Timestamp| {
        Timestamp::now().duration_since(since).unsigned_abs() >= time
    })
}

/// Waits until worker and function of a job have run for [`BUSY`], and gives both.
async fn running(namespace: &Namespace, job: &str) -> anyhow::Result<Vec<Process>> {
    let pod = format!("\"job\":\"{job}\"");
    let deadline = Instant::now() + MINUTE;
    loop {
        let (mut worker, mut function) = (None, None);
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let environment =
                text(&std::fs::read(entry.path().join("environ")).unwrap_or_default());
            if environment.contains(&format!("WINDLASS_JOB={job}\0")) {
                function = Some(Process(entry.path()));
            } else if environment.contains("WINDLASS_ASSIGNMENT=") && environment.contains(&pod) {
                worker = Some(Process(entry.path()));
            }
        }
        if let (Some(worker), Some(function)) = (worker, function)
            && has_run_for(&namespace.job(job), BUSY)
        {
            return Ok(vec![worker, function]);
        }
        anyhow::ensure!(Instant::now() < deadline, "{job} does not run: {}", namespace.job(job));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
