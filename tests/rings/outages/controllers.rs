//! Controllers that are killed, and that are two at once.

use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::Controller;
use windlass_tests::cluster::RELEASE;

use crate::support::outage::{MINUTE, SECOND, TestBed, long_or, on_a_cluster};
use crate::support::random::Random;

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn controllers_that_are_killed_every_other_second_lose_nothing() {
    on_a_cluster("killed", async |bed| {
        let mut random = Random::of_environment();
        let count = long_or(1000, 400);
        let input = json!({ "run": "1s" });
        let (accepted, kills) = futures::join!(
            bed.submit("job", count, &input),
            kill_until_finished(&bed, &mut random, count, long_or(300, 60))
        );
        let (accepted, kills) = (accepted?, kills?);
        let _controller = bed.controller("last")?;
        let converged = bed.converges(&accepted, true).await?;
        println!("{kills} kills -9 of the controller, 1 to 3 s apart; {converged}");
        anyhow::ensure!(kills >= 3, "only {kills} kills: the test shows nothing");
        Ok(())
    });
}

/// Starts a controller and kills it after 1 to 3 s, until all jobs have finished; at most so many seconds.
async fn kill_until_finished(
    bed: &TestBed,
    random: &mut Random,
    count: usize,
    seconds: u64,
) -> anyhow::Result<u32> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kills = 0;
    while bed.jobs.objects().count("finished") < count && Instant::now() < end {
        // Without a Lease: the next would wait until that of the killed one has run out, and do nothing.
        let controller = bed.controller_with("killed", &["--leader-elect=false"])?;
        tokio::time::sleep(random.between(1_000, 3_000)).await;
        controller.kill()?;
        kills += 1;
    }
    Ok(kills)
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn two_controllers_whose_lease_is_deleted_each_second_do_nothing_twice() {
    on_a_cluster("two", async |bed| {
        let count = long_or(1000, 400);
        let mut both = [bed.controller("one")?, bed.controller("other")?];
        let lease =
            format!("/apis/coordination.k8s.io/v1/namespaces/{RELEASE}/leases/windlass-controller");
        let deleting = async {
            let (mut deleted, end) = (0, Instant::now() + MINUTE * 5);
            while bed.jobs.objects().count("finished") < count && Instant::now() < end {
                match bed.admin.delete(&lease).await {
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
        let (accepted, deleted) = futures::join!(bed.submit("job", count, &input), deleting);
        let (accepted, deleted) = (accepted?, deleted?);
        let converged = bed.converges(&accepted, true).await?;
        println!("two controllers at once, their Lease deleted {deleted} times; {converged}");
        let silence = long_or(MINUTE * 10, SECOND * 20);
        bed.stays_silent(silence).await?;
        println!("0 writes in {silence:?} with {} finished jobs", accepted.len());
        both.iter_mut().try_for_each(Controller::must_be_running)
    });
}
