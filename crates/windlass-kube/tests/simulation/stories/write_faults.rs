//! Writes that fail, controllers that die, and controllers that act at once.

use std::collections::BTreeMap;

use crate::play::{play_all, play_numbered};
use crate::server::{WriteFault, random_below};
use crate::story::Story;

pub(super) const FAULTS: [WriteFault; 9] = [
    WriteFault::Refused(409),
    WriteFault::Refused(429),
    WriteFault::Refused(500),
    WriteFault::Refused(503),
    WriteFault::Refused(504),
    WriteFault::Unanswered,
    WriteFault::DeathBefore,
    WriteFault::DeathAfter,
    WriteFault::Refused(403),
];

/// Writes of the story of two jobs.
pub(super) const WRITES: usize = 14;

/// Beside these, where the controller makes pods and tells the ends of batch Jobs.
const WRITES_OF_PODS: usize = 8;

#[test]
fn a_job_that_passes_straight_through_costs_four_writes() {
    let story = Story { quota: None, jobs: vec![0], managed: Some(false), ..Story::default() };
    // batch Job, running, finished, batch Job's deletion; beside them the user's own.
    assert!(play_all([story]).into_iter().all(|writes| writes <= 4));
}

#[test]
fn a_job_whose_batch_job_is_managed_costs_two_writes_more() {
    let story = |longest| Story {
        quota: None,
        jobs: vec![0],
        managed: Some(true),
        longest,
        ..Story::default()
    };
    // The pod, and the end of the batch Job. That it runs costs another write only after 15 s.
    assert!(play_all([story(150), story(12_000)]).into_iter().all(|writes| writes <= 6));
}

#[test]
fn an_api_server_that_drops_the_field_has_the_job_controller_make_the_pod() {
    play_numbered(24, |number| Story {
        managed: Some(true),
        drops_managed_by: true,
        jobs: vec![0, 1, 0, 3],
        ..Story::numbered(number).one_more_controller_every(2).quota_but_every(3, 4)
    });
}

#[test]
fn one_fault_at_any_write_breaks_no_promise() {
    let stories = (0..WRITES + WRITES_OF_PODS).flat_map(|write| {
        FAULTS.iter().map(move |fault| Story {
            faults: BTreeMap::from([(write, *fault)]),
            managed: (write >= WRITES).then_some(true),
            ..Story::numbered(write as u64)
        })
    });
    play_all(stories);
}

#[test]
fn two_or_three_controllers_at_once_break_no_promise() {
    play_numbered(40, |number| {
        let two = Story { controllers: 2, ..Story::numbered(number) };
        Story {
            jobs: vec![0, 1, 0, 3, 0],
            cancel: number.is_multiple_of(3).then_some(number * 13),
            ..two.one_more_controller_every(5).quota_but_every(3, 4)
        }
    });
}

/// Up to three faults, each at any of the first writes.
pub(super) fn random_faults(random: &mut impl FnMut(u64) -> u64) -> BTreeMap<usize, WriteFault> {
    let count = random(4);
    let one = |_| {
        let write = usize::try_from(random(24)).unwrap();
        (write, FAULTS[usize::try_from(random(9)).unwrap()])
    };
    (0..count).map(one).collect()
}

#[test]
fn random_faults_and_deaths_break_no_promise() {
    play_numbered(80, |seed| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| random_below(&mut state, below);
        let faults = random_faults(&mut random);
        Story {
            faults,
            quota: (!seed.is_multiple_of(5)).then_some(2 + u32::try_from(random(3)).unwrap()),
            jobs: vec![0, 2, 0],
            cancel: seed.is_multiple_of(3).then(|| random(600)),
            ..Story::numbered(seed).one_more_controller_every(2)
        }
    });
}
