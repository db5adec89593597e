//! Somebody deletes, orphans or suspends a batch Job, or has made one of the same name.

use crate::play::play_numbered;
use crate::server::ReadFaults;
use crate::story::{ByHand, Story};

#[test]
fn a_batch_job_that_is_deleted_by_hand_is_made_again_when_its_pod_is_known_to_be_dead() {
    // A second controller that has the same claim may make the batch Job that was deleted once more, and a
    // pod of the first come after that: see docs/limits.md.
    play_numbered(48, |number| Story {
        jobs: vec![u32::from(number.is_multiple_of(3)) * 2, 1],
        by_hand: Some((ByHand::Delete, number * 5)),
        ..Story::numbered(number).quota_but_every(2, 2)
    });
}

/// Not while a second controller's request for the same batch Job may be on its way: it would make the Job anew, and no
/// answer of the API server tells the two apart.
#[test]
fn a_pod_that_a_deletion_of_its_batch_job_has_left_counts_after_a_restart() {
    play_numbered(48, |number| {
        let late = ReadFaults::late(40 * number, number + 1);
        let read_faults = ReadFaults { too_old: 2, refused_reads: 1, ..late };
        Story {
            by_hand: Some((ByHand::Orphan, 50 + number * 5)),
            read_faults: number.is_multiple_of(5).then_some(read_faults),
            cancel: number.is_multiple_of(4).then_some(number * 7),
            ..Story::numbered(number).one_more_controller_every(3).quota_but_every(2, 2)
        }
    });
}

#[test]
fn a_pod_whose_labels_are_removed_is_ended_before_another_starts() {
    play_numbered(24, |number| Story {
        by_hand: Some((ByHand::Unlabel, number * 8)),
        cancel: number.is_multiple_of(4).then_some(number * 9),
        longest: 12_000,
        ..Story::numbered(number).one_more_controller_every(3).quota_but_every(2, 2)
    });
}

/// Whether it ran, whether it could not start yet, or whether its pod was just made: another one has another number.
#[test]
fn an_attempt_whose_pod_is_lost_while_no_controller_runs_is_not_started_again() {
    play_numbered(48, |number| Story {
        by_hand: Some((ByHand::LosePod(100 + number * 40), number * 12)),
        managed: Some(true),
        longest: 12_000,
        ..Story::numbered(number).one_more_controller_every(3).quota_but_every(2, 2)
    });
}

/// A lost attempt is no retry, and changes nothing of how a job ends that crashes each time.
#[test]
fn a_job_that_always_crashes_fails_although_an_attempt_is_lost() {
    play_numbered(6, |number| Story {
        by_hand: Some((ByHand::LosePod(100), number * 12)),
        managed: Some(true),
        jobs: vec![3],
        ..Story::numbered(number).one_more_controller_every(3)
    });
}

#[test]
fn batch_jobs_that_were_ours_to_manage_end_when_new_ones_are_not() {
    play_numbered(24, |number| Story {
        by_hand: Some((ByHand::LeavePods, number * 8)),
        managed: Some(true),
        jobs: vec![0, 1, 0],
        ..Story::numbered(number).one_more_controller_every(3).quota_but_every(2, 2)
    });
}

#[test]
fn a_batch_job_that_is_suspended_and_goes_on_makes_no_second_pod_of_a_job() {
    play_numbered(48, |number| Story {
        by_hand: Some((ByHand::Suspend(200 + number * 80), number * 5)),
        ..Story::numbered(number).one_more_controller_every(3).quota_but_every(2, 2)
    });
}

#[test]
fn a_strangers_batch_job_is_told_and_waited_for() {
    play_numbered(6, |number| Story {
        stranger: Some(3_000),
        ..Story::numbered(number).one_more_controller_every(2).quota_but_every(4, 3)
    });
}
