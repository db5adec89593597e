//! Attempts on standbys: claims and resizes, in the middle of everything else that may go wrong.

use std::collections::BTreeMap;

use super::write_faults::FAULTS;
use crate::play::{play_all, play_numbered};
use crate::server::{ReadFaults, random_below};
use crate::story::{Claims, Story};

/// Writes of the story of two jobs on standbys, with those that fill the pool.
const WRITES: usize = 22;

/// A story with standbys, whose jobs come when some wait.
fn warm(number: u64) -> Story {
    Story {
        standbys: Some(1 + u32::try_from(number % 3).unwrap()),
        jobs_after: 900 + number % 5 * 200,
        ..Story::numbered(number)
    }
}

#[test]
fn one_fault_at_any_write_of_a_claim_breaks_no_promise() {
    let stories = (0..WRITES).flat_map(|write| {
        FAULTS.iter().map(move |fault| Story {
            faults: BTreeMap::from([(write, *fault)]),
            ..warm(write as u64)
        })
    });
    play_all(stories);
}

#[test]
fn two_or_three_controllers_that_claim_break_no_promise() {
    play_numbered(30, |number| {
        let late = ReadFaults { too_old: 2, ..ReadFaults::late(number * 20, number + 7) };
        Story {
            controllers: 2,
            jobs: vec![0, 1, 0, 0],
            cancel: number.is_multiple_of(3).then_some(400 + number * 13),
            read_faults: (!number.is_multiple_of(3)).then_some(late),
            longest: if number.is_multiple_of(4) { 4_000 } else { 150 },
            ..warm(number)
        }
        .one_more_controller_every(5)
        .quota_but_every(4, 2)
    });
}

#[test]
fn random_faults_in_claims_break_no_promise() {
    play_numbered(40, |seed| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| random_below(&mut state, below);
        let faults: BTreeMap<_, _> = (0..1 + random(4))
            .map(|_| {
                let write = usize::try_from(random(32)).unwrap();
                (write, FAULTS[usize::try_from(random(9)).unwrap()])
            })
            .collect();
        let claims = Claims { answered_within: 100 + random(2) * 14_000, deferred: random(4) == 0 };
        Story {
            faults,
            jobs: vec![0, 2, 0],
            cancel: seed.is_multiple_of(5).then(|| 400 + random(600)),
            claims,
            ..warm(seed)
        }
        .one_more_controller_every(2)
        .quota_but_every(3, 5)
    });
}

#[test]
fn a_gateway_that_is_dead_and_a_resize_that_is_deferred_cost_no_job() {
    play_numbered(24, |number| Story {
        jobs: vec![0, 0, 1],
        claims: Claims { answered_within: 20_000, deferred: number.is_multiple_of(2) },
        ..warm(number).one_more_controller_every(3).quota_but_every(3, 4)
    });
}

#[test]
fn attempts_run_on_standbys_that_wait() {
    play_all([Story { jobs: vec![0], jobs_after: 3_000, on_standby: true, ..warm(1) }]);
}
