//! What others do to our objects: take their names, delete, suspend and orphan them, and take rights away.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use windlass_tests::api::{batch_jobs, compute_jobs, pods};
use windlass_tests::cluster::{RELEASE, compute_job};
use windlass_tests::watch::Objects;

use crate::support::http::Client;
use crate::support::outage::{MINUTE, TestBed, long_or, on_a_cluster};
use crate::support::ready::is_ready;

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_strangers_job_with_an_attempts_name_is_left_alone_and_stops_no_other() {
    on_a_cluster("stranger", async |bed| {
        // The names are computed from the UID, so the strangers come before the controller does.
        let mut strangers = Vec::new();
        let accepted = bed.submit("blocked", 2, &json!({ "run": "1s" })).await?;
        for (number, name) in accepted.iter().enumerate() {
            let job = bed.job(name).await?;
            let uid = job["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let batch_job = windlass_core::name::attempt(name, &uid, 1);
            // The second pretends to be ours, by its labels.
            let labels = match number {
                0 => json!({}),
                _ => json!({ "windlass.dev/job": name, "windlass.dev/job-uid": uid,
                    "windlass.dev/attempt": "1", "windlass.dev/cpus": "1",
                    "windlass.dev/queue": "default" }),
            };
            let stranger = json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": { "name": batch_job, "labels": labels },
                "spec": { "suspend": true, "template": { "spec": { "restartPolicy": "Never",
                    "containers": [{ "name": "stranger", "image": "windlass.test/nothing:1" }] } } },
            });
            let made = bed.admin.create(&batch_jobs(&bed.namespace, ""), &stranger).await?;
            strangers.push((batch_job, made["metadata"]["uid"].clone()));
        }
        let _controller = bed.controller("controller")?;
        let others = bed.submit("other", 50, &json!({ "run": "1s" })).await?;
        bed.finished(others.len(), MINUTE).await?;
        for (batch_job, uid) in &strangers {
            let found = bed.admin.get(&batch_jobs(&bed.namespace, batch_job)).await?;
            anyhow::ensure!(&found["metadata"]["uid"] == uid, "{batch_job} is another now");
            anyhow::ensure!(
                found["metadata"]["deletionTimestamp"].is_null(),
                "{batch_job} is deleted"
            );
        }
        for name in &accepted {
            let job = bed.job(name).await?;
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
        for (batch_job, _) in &strangers {
            bed.admin.delete(&batch_jobs(&bed.namespace, batch_job)).await?;
        }
        let all: Vec<_> = accepted.into_iter().chain(others).collect();
        let converged = bed.converges(&all, true).await?;
        println!("2 strangers' Jobs in the way; {converged}");
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_right_that_is_taken_away_for_a_while_loses_nothing() {
    on_a_cluster("rights", async |bed| {
        let mut controller = bed.controller("controller")?;
        let mut accepted = bed.submit("before", 20, &json!({ "run": "1s" })).await?;
        let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{RELEASE}-controller");
        let sound = bed.admin.get(&role).await?;
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
            bed.admin.replace(&role, &less).await?;
            let submitted =
                bed.submit(&format!("without-{number}"), 20, &json!({ "run": "1s" })).await;
            tokio::time::sleep(pause).await;
            let mut whole = sound.clone();
            whole["metadata"]["resourceVersion"] = Value::Null;
            bed.admin.replace(&role, &whole).await?;
            accepted.extend(submitted?);
        }
        let converged = bed.converges(&accepted, true).await?;
        println!("4 rights taken away for {pause:?} each; {converged}");
        controller.must_be_running()
    });
}

/// Waits until this controller says that it is ready, or that it is not.
async fn until_ready(controller: &Client, ready: bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while is_ready(controller) != ready {
        anyhow::ensure!(began.elapsed() < MINUTE, "ready: {} for a minute", !ready);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("ready: {ready} after {:.1?}", began.elapsed());
    Ok(())
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_controller_that_the_api_server_refuses_is_not_ready() {
    on_a_cluster("refused", async |bed| {
        let (mut controller, client) = bed.ready_controller("controller").await?;
        let role = format!(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{RELEASE}/roles/{RELEASE}-controller"
        );
        let mut sound = bed.admin.get(&role).await?;
        sound["metadata"]["resourceVersion"] = Value::Null;
        let mut less = sound.clone();
        less["rules"] = json!([]);
        bed.admin.replace(&role, &less).await?;
        let refused = until_ready(&client, false).await;
        bed.admin.replace(&role, &sound).await?;
        refused?;
        until_ready(&client, true).await?;
        let accepted = bed.submit("after", 5, &json!({ "run": "1s" })).await?;
        bed.converges(&accepted, true).await?;
        controller.must_be_running()
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn pods_and_batch_jobs_that_are_deleted_by_hand_are_replaced() {
    on_a_cluster("by-hand", async |bed| {
        let (accepted, _controller) = bed.under_way(60, &json!({ "run": "4s" }), 40).await?;
        let (some_pods, some_batch_jobs) = {
            let (pods, batch_jobs) = (bed.pods.objects(), bed.batch_jobs.objects());
            let running = pods.live.iter().filter(|(_, pod)| pod["status"]["phase"] == "Running");
            let some: Vec<_> = running.map(|(name, _)| name.clone()).take(15).collect();
            let others = batch_jobs
                .live
                .keys()
                .filter(|name| !some.iter().any(|pod| pod.starts_with(*name)));
            let others: Vec<_> = others.take(15).cloned().collect();
            (some, others)
        };
        for pod in &some_pods {
            bed.delete(&pods(&bed.namespace, pod)).await?;
        }
        for batch_job in &some_batch_jobs {
            bed.delete(&batch_jobs(&bed.namespace, batch_job)).await?;
        }
        let converged = bed.converges(&accepted, true).await?;
        let again = with_a_second_attempt(&bed);
        println!(
            "{} pods and {} batch Jobs deleted by hand, {again} jobs had a second attempt; {converged}",
            some_pods.len(),
            some_batch_jobs.len()
        );
        anyhow::ensure!(again > 0, "no job had a second attempt: the test shows nothing");
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn batch_jobs_that_are_suspended_or_deleted_without_their_pods_start_nothing_twice() {
    on_a_cluster("orphans", async |bed| {
        let controller = bed.controller("first")?;
        let accepted = bed.submit("job", 40, &json!({ "run": "8s" })).await?;
        bed.jobs
            .until("all are told to run", MINUTE, |o| (o.count("running") == 40).then_some(()))
            .await?;
        // The next one knows only what it finds.
        controller.kill()?;
        let all: Vec<_> = bed.batch_jobs.objects().live.keys().cloned().collect();
        let (suspended, orphaning) = (&all[..12], &all[12..24]);
        // Every second one by its parallelism.
        let suspend = async |batch_job: &str, suspend: bool| {
            let path = batch_jobs(&bed.namespace, batch_job);
            let at = suspended.iter().position(|name| name == batch_job);
            let by_parallelism = at.is_some_and(|at| at % 2 == 1);
            let spec = match by_parallelism {
                true => json!({ "parallelism": u8::from(!suspend) }),
                false => json!({ "suspend": suspend }),
            };
            bed.admin.merge(&path, &json!({ "spec": spec })).await
        };
        for batch_job in suspended {
            suspend(batch_job, true).await?;
        }
        for batch_job in orphaning {
            bed.admin.delete_and_orphan(&batch_jobs(&bed.namespace, batch_job)).await?;
        }
        let _controller = bed.controller("second")?;
        let (briefly, for_long) = suspended.split_at(6);
        for batch_job in briefly {
            suspend(batch_job, false).await?;
        }
        let are_gone = |o: &Objects| {
            let gone = |name: &String| !o.live.contains_key(name);
            orphaning.iter().all(gone).then_some(())
        };
        bed.batch_jobs.until("the orphaned are gone", MINUTE, are_gone).await?;
        // Those that stay suspended wait, and go on as the same attempt.
        let mut resumed = Vec::new();
        for batch_job in for_long {
            let waits = bed.batch_jobs.objects().live.get(batch_job).cloned();
            let waits = waits.with_context(|| format!("{batch_job} was suspended and is gone"))?;
            resumed.push(waits["metadata"]["labels"]["windlass.dev/job"].clone());
            suspend(batch_job, false).await?;
        }
        let converged = bed.converges(&accepted, true).await?;
        for job in &resumed {
            let status =
                bed.job(job.as_str().context("the label of a job")?).await?["status"].take();
            anyhow::ensure!(status["attempt"] == 1, "{job} was resumed: {status}");
        }
        let again = with_a_second_attempt(&bed);
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

/// How many jobs had to be started again.
fn with_a_second_attempt(bed: &TestBed) -> usize {
    bed.jobs.objects().live.values().filter(|job| job["status"]["attempt"] == 2).count()
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_job_that_is_deleted_and_created_again_has_its_own_result() {
    on_a_cluster("again", async |bed| {
        let count = 50;
        let (names, _controller) = bed.under_way(count, &json!({ "run": "2s" }), count / 2).await?;
        for name in &names {
            bed.admin.delete(&compute_jobs(&bed.namespace, name)).await?;
            let again = compute_job(name, 1, "default", &json!({ "run": "1s" }));
            bed.admin.create(&compute_jobs(&bed.namespace, ""), &again).await?;
        }
        let converged = bed.converges(&names, true).await?;
        println!("{count} jobs deleted and created again under the same name; {converged}");
        Ok(())
    });
}
