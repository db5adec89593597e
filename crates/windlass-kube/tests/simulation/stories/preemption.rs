//! Jobs that are ended for others, where their queues say so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::late_needs::{phase_is, wait_for};
use super::write_faults::{FAULTS, WRITES, random_faults};
use crate::cluster;
use crate::controller::start;
use crate::objects::{
    create_function, create_job_of, create_queue_of, create_shared_queues, create_urgent_job,
    let_queue_preempt,
};
use crate::play::{play_all, play_numbered, plays_all};
use crate::server::{ReadFaults, Server, random_below};
use crate::story::{ByHand, Story};
use crate::virtual_time::block_on;

/// Longest time until something follows.
const SOON: Duration = Duration::from_secs(20);

/// An urgent job comes while three others run, or wait.
fn urgent(number: u64) -> Story {
    Story {
        shared: number.is_multiple_of(2),
        urgent_after: Some(300 + 37 * (number % 20)),
        longest: 1500,
        jobs: vec![0, 0, 1],
        ..Story::numbered(number)
    }
}

/// Of all faults at all writes, every so many are played, so that each write and each fault has its turn. With
/// `WINDLASS_STORIES=all` all of them are.
const FAULTS_SHARE: usize = 5;

#[test]
fn one_fault_at_any_write_breaks_no_promise_to_who_is_ended_for_another() {
    let share = if plays_all() { 1 } else { FAULTS_SHARE };
    let pairs = (0..WRITES).flat_map(|write| FAULTS.iter().map(move |fault| (write, *fault)));
    // It shares no divisor with the number of faults: no write and no fault is left out.
    let some = pairs.enumerate().filter(|(number, _)| number.is_multiple_of(share));
    let stories = some.map(|(number, pair)| Story {
        faults: BTreeMap::from([pair]),
        managed: Some(false),
        ..urgent(number as u64)
    });
    play_all(stories);
}

/// Stories, when WINDLASS_STORIES does not say. `tests/run stories` plays ten thousand.
const STORIES: u64 = 80;

/// How many stories are played: so many, unless WINDLASS_STORIES says another number.
fn stories(by_default: u64) -> u64 {
    let told = std::env::var("WINDLASS_STORIES").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(by_default)
}

/// Two or three controllers, queues that share CPUs and preempt, up to three faults, late reads and a job that is cancelled.
fn any_story(seed: u64) -> Story {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = |below: u64| random_below(&mut state, below);
    let faults = random_faults(&mut random);
    let jobs = (0..2 + random(4)).map(|_| u32::from(random(4) == 0)).collect();
    let late = (random(3) == 0).then(|| ReadFaults::late(random(400), seed + 1));
    let two = Story { controllers: 2, managed: Some(random(4) == 0), ..urgent(seed) };
    Story {
        faults,
        jobs,
        shared: true,
        quota: Some(2 + u32::try_from(random(3)).unwrap()),
        cancel: (random(3) == 0).then(|| random(1500)),
        urgent_after: Some(random(1500)),
        read_faults: late,
        ..two.one_more_controller_every(5)
    }
}

#[test]
#[ignore = "takes ten minutes for ten thousand stories: tests/run stories"]
fn no_story_ever_grants_more_than_the_cpus_that_queues_share() {
    let number = stories(STORIES);
    let began = Instant::now();
    let threads: u64 = std::thread::available_parallelism().unwrap().get().try_into().unwrap();
    let played: usize = std::thread::scope(|scope| {
        // In every fourth, somebody suspends a batch Job and resumes it.
        let story = |seed: u64| if seed % 4 == 3 { interfered(seed) } else { any_story(seed) };
        let of_thread =
            |thread| move || play_all((thread..number).step_by(threads as usize).map(story));
        let playing: Vec<_> = (0..threads).map(|thread| scope.spawn(of_thread(thread))).collect();
        playing.into_iter().map(|thread| thread.join().unwrap().len()).sum()
    });
    assert_eq!(played as u64, number);
    println!("{played} stories in {:.0?}", began.elapsed());
}

/// A story in which somebody suspends the first batch Job, and resumes it. The cluster's Job controller makes the pods: one that
/// we manage gets none from anybody else. No watch is behind the other: that the pod has ended which the suspension deletes may
/// be seen before the suspension else (docs/limits.md).
fn interfered(seed: u64) -> Story {
    let pause = ByHand::Suspend(60 + seed * 37 % 700);
    let by_hand = Some((pause, seed * 13 % 300));
    Story { by_hand, read_faults: None, managed: Some(false), ..any_story(seed) }
}

#[test]
fn a_batch_job_that_somebody_suspends_and_resumes_gives_its_cpus_to_nobody_twice() {
    play_all((0..stories(60)).map(interfered));
}

/// Stories in which, in many of their courses, a pod came of a batch Job that was deleted before a controller started anew:
/// on CPUs that others had by then, or beside the next attempt.
const LATE_PODS: [u64; 16] =
    [430, 635, 787, 928, 1479, 1481, 1615, 3638, 3893, 3902, 4157, 6452, 6594, 7502, 7776, 8170];

/// And in which another controller made the batch Job again of an attempt that had made room a moment ago.
const LATE_CREATIONS: [u64; 12] =
    [367, 2480, 4989, 5458, 5592, 5813, 7614, 7625, 8773, 9015, 9556, 9939];

#[test]
fn nothing_comes_late_of_an_attempt_that_has_made_room() {
    play_all(LATE_PODS.into_iter().chain(LATE_CREATIONS).map(any_story));
}

#[test]
fn two_or_three_controllers_end_jobs_for_others_and_break_no_promise() {
    play_numbered(40, |number| {
        let two = Story { controllers: 2, ..urgent(number) };
        Story {
            cancel: number.is_multiple_of(3).then_some(number * 13),
            read_faults: number
                .is_multiple_of(4)
                .then_some(ReadFaults::late(10 * number, number + 1)),
            ..two.one_more_controller_every(5)
        }
    });
}

#[test]
fn a_job_that_is_ended_for_another_says_so_and_is_run_again() {
    for is_shared in [false, true] {
        block_on(async move {
            let server = Server::new(BTreeMap::new());
            create_function(&server);
            if is_shared {
                create_shared_queues(&server, 3);
            } else {
                create_queue_of(&server, "default", json!({ "cpus": 3 }));
            }
            let_queue_preempt(&server, is_shared.then_some(3));
            let cluster = tokio::spawn(cluster::run(server.clone(), 4_000, 1));
            let queue = if is_shared { "other" } else { "default" };
            let spec = json!({ "function": "f", "queue": queue, "parallelism": 2, "input": { "crashes": 0 } });
            create_job_of(&server, "j0", spec);
            let controller = start(&server, 0, false);
            wait_for(&server, "j0", SOON, phase_is("Running")).await;
            create_urgent_job(&server);
            wait_for(&server, "j0", SOON, |status| {
                status["failure"]["reason"] == "Preempted"
                    && status["failure"]["message"]
                        == "ended for a job of queue \"default\" with priority 9"
            })
            .await;
            wait_for(&server, "urgent", SOON, phase_is("Succeeded")).await;
            wait_for(&server, "j0", SOON, |status| {
                status["phase"] == "Succeeded"
                    && status["attempt"] == 2
                    && status["retries"].is_null()
            })
            .await;
            controller.abort();
            cluster.abort();
        });
    }
}
