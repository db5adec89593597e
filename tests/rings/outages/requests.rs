//! Requests that are refused, lost or never answered.

use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::cluster::RELEASE;
use windlass_tests::proxy::Mood;
use windlass_tests::{Controller, Proxy};

use crate::support::outage::{Converged, MINUTE, TestBed, long_or, on_a_cluster};

/// A controller behind a proxy that begins in this mood.
async fn proxied(bed: &TestBed, mood: Mood) -> anyhow::Result<(Proxy, Controller)> {
    let proxy = Proxy::start(&bed.kubeconfig).await?;
    proxy.be(mood);
    let account = format!("{RELEASE}-controller");
    let directory = bed.directory.path();
    let config = bed.cluster.account(&account, directory, Some(&proxy.address)).await?;
    let controller = Controller::start(&config, &bed.log("proxied"), &[])?;
    Ok((proxy, controller))
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_minute_of_429_is_waited_out() {
    on_a_cluster("busy", async |bed| {
        let (proxy, mut controller) = proxied(&bed, Mood::Fair).await?;
        let mut accepted = bed.submit("before", 100, &json!({ "run": "3s" })).await?;
        bed.finished(1, MINUTE).await?;
        proxy.be(Mood::Busy);
        let storm = Duration::from_secs(long_or(60, 10));
        let began = Instant::now();
        accepted.extend(bed.submit("during", 200, &json!({ "run": "1s" })).await?);
        tokio::time::sleep(storm.saturating_sub(began.elapsed())).await;
        let (refused, converged) = calmed(&bed, &proxy, &accepted).await?;
        println!("{storm:?} of nothing but 429, {refused} requests refused; {converged}");
        anyhow::ensure!(refused > 0, "nothing was refused: the test shows nothing");
        // It asks again, but it does not hammer: 300 jobs, each at most once a second.
        let most = 300 * storm.as_secs() + 300;
        anyhow::ensure!(refused <= most, "{refused} requests in {storm:?}");
        controller.must_be_running()
    });
}

/// The trouble is over: how many requests it has spoilt, and what it took to converge.
async fn calmed(
    bed: &TestBed,
    proxy: &Proxy,
    accepted: &[String],
) -> anyhow::Result<(u64, Converged)> {
    let spoilt = proxy.spoilt();
    proxy.be(Mood::Fair);
    Ok((spoilt, bed.converges(accepted, true).await?))
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn lost_answers_start_nothing_twice() {
    on_a_cluster("forgetful", async |bed| {
        let (proxy, mut controller) = proxied(&bed, Mood::Fair).await?;
        proxy.be(Mood::Forgetful);
        let count = long_or(300, 60);
        let accepted = bed.submit("job", count, &json!({ "run": "1s" })).await?;
        bed.finished(count, MINUTE * 4).await?;
        let (lost, converged) = calmed(&bed, &proxy, &accepted).await?;
        println!("{lost} answers to writes were lost; {converged}");
        anyhow::ensure!(lost as usize > count / 2, "{lost} answers lost: the test shows nothing");
        controller.must_be_running()
    });
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_list_that_is_never_answered_is_asked_for_again() {
    on_a_cluster("mute", async |bed| {
        let (proxy, mut controller) = proxied(&bed, Mood::Mute).await?;
        // Its five watches begin with lists.
        let deadline = Instant::now() + MINUTE;
        while proxy.spoilt() < 5 {
            anyhow::ensure!(Instant::now() < deadline, "it asks for {} lists", proxy.spoilt());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        proxy.be(Mood::Fair);
        let accepted = bed.submit("job", 20, &json!({ "run": "1s" })).await?;
        bed.finished(accepted.len(), MINUTE * 2).await?;
        let took = began.elapsed();
        let converged = bed.converges(&accepted, true).await?;
        println!(
            "the first lists were never answered; 20 jobs ended {took:.1?} later; {converged}"
        );
        controller.must_be_running()
    });
}
