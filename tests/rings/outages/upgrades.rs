//! A release that is upgraded and rolled back, again and again, while jobs run.

use std::cell::Cell;

use serde_json::json;
use windlass_tests::cluster::RELEASE;
use windlass_tests::watch::Objects;

use crate::support::outage::{
    MINUTE, SECOND, TestBed, in_cluster_controllers, long_or, on_a_cluster,
};
use crate::support::release::{APPLIED, run};

/// Jobs that run all the time.
const RUNNING: usize = 200;
/// They are submitted in such groups.
const GROUP: usize = 50;

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn upgrades_and_rollbacks_lose_nothing_of_200_running_jobs() {
    on_a_cluster("upgrades", async |bed| {
        in_cluster_controllers(&bed.admin, 1).await?;
        let (changes, is_over) = (long_or(10, 2), Cell::new(false));
        let changing = async {
            let changed = change(&bed, changes).await;
            is_over.set(true);
            changed
        };
        let (accepted, changed) = futures::join!(keep_running(&bed, &is_over), changing);
        let (accepted, ended_between) = (accepted?, changed?);
        let converged = bed.converges(&accepted, true).await?;
        println!("{changes} upgrades and rollbacks, {RUNNING} jobs running; {converged}");
        anyhow::ensure!(ended_between > 0, "nothing has ended meanwhile: the test shows nothing");
        Ok(())
    });
}

/// Submits jobs, so that so many run until it is over; gives the names of all.
async fn keep_running(bed: &TestBed, is_over: &Cell<bool>) -> anyhow::Result<Vec<String>> {
    let mut accepted = Vec::new();
    while !is_over.get() {
        let finished = bed.jobs.objects().count("finished");
        if accepted.len() < finished + RUNNING {
            let prefix = format!("job-{}", accepted.len());
            accepted.extend(bed.submit(&prefix, GROUP, &json!({ "run": "8s" })).await?);
        } else {
            tokio::time::sleep(SECOND / 4).await;
        }
    }
    Ok(accepted)
}

/// Upgrades and rolls back in turn, so that each replaces the pods of controller and gateway. Gives how many jobs have ended
/// from the first to the last.
async fn change(bed: &TestBed, changes: u32) -> anyhow::Result<usize> {
    let all_run = |pods: &Objects| (pods.count("running") >= RUNNING).then_some(());
    bed.pods.until(&format!("{RUNNING} pods run"), MINUTE, all_run).await?;
    let ended = || bed.jobs.objects().count("finished");
    let before = ended();
    for number in 0..changes {
        let values = format!(
            "controller.podAnnotations.change=no-{number},gateway.podAnnotations.change=no-{number}"
        );
        let helm = move || match number % 2 {
            0 => {
                let chart = ["upgrade", RELEASE, "charts/windlass", "-n", RELEASE];
                let values = ["--reuse-values", "--set", &values];
                run("helm", &[&chart[..], &values, &APPLIED].concat());
            }
            _ => run("helm", &[&["rollback", RELEASE, "-n", RELEASE][..], &APPLIED].concat()),
        };
        tokio::task::spawn_blocking(helm).await?;
    }
    Ok(ended() - before)
}
