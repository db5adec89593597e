//! Watches that are late and that end, and reads that are refused.

use crate::play::play_numbered;
use crate::server::ReadFaults;
use crate::story::{ByHand, Story};

#[test]
fn watches_that_are_late_and_begin_again_break_no_promise() {
    play_numbered(60, |number| Story {
        jobs: vec![0, 1, 0],
        cancel: number.is_multiple_of(4).then_some(number * 9),
        // Of a pod that is made of a batch Job that was deleted before, a second controller whose watch has
        // not shown that one yet cannot know.
        by_hand: (number % 6 == 3).then_some((ByHand::Delete, number * 3)),
        read_faults: Some(ReadFaults {
            too_old: 4,
            refused_reads: (number % 4) as u32,
            ..ReadFaults::late(20 + number * 10, number + 1)
        }),
        ..Story::numbered(number).one_more_controller_every(2).quota_but_every(3, 5)
    });
}

/// Running is reported after 2 s, so that a status names an attempt that still runs and that late watches do not
/// show.
#[test]
fn attempts_that_are_told_to_run_are_not_started_again() {
    play_numbered(40, |number| {
        let late = ReadFaults::late(200 + number * 80, number + 77);
        let refused_reads = (number % 3) as u32;
        Story {
            jobs: vec![0, 1, 0],
            read_faults: Some(ReadFaults { too_old: 4, refused_reads, ..late }),
            longest: 6_000,
            ..Story::numbered(number).one_more_controller_every(2).quota_but_every(3, 5)
        }
    });
}

/// What a pod has done is not done again because the batch Job is known to be over before.
#[test]
fn a_pod_that_its_watch_shows_late_is_asked_for() {
    play_numbered(24, |number| Story {
        only_needed: true,
        read_faults: Some(ReadFaults { late_pods: 3_000, ..ReadFaults::late(20, number + 3) }),
        ..Story::numbered(number).one_more_controller_every(3).quota_but_every(3, 2)
    });
}

#[test]
fn a_queue_that_is_as_new_as_its_jobs_lets_none_pass() {
    play_numbered(40, |number| Story {
        quota: Some(2),
        jobs: vec![0, 1, 0],
        read_faults: Some(ReadFaults { too_old: 2, ..ReadFaults::late(number * 40, number + 5) }),
        created_late: true,
        ..Story::numbered(number).one_more_controller_every(3)
    });
}
