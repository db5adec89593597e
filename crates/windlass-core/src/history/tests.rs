use jiff::SignedDuration;
use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A job that waited so many milliseconds, started at this time and ended a second later.
fn ended(phase: &str, started: Timestamp, waited: i64) -> JobStatus {
    let failure = json!({ "reason": "Crashed", "message": "", "attempt": 1, "time": started });
    serde_json::from_value(json!({
        "phase": phase,
        "failure": (phase == "Failed").then_some(failure),
        "timeline": { "created": started - SignedDuration::from_millis(waited), "started": started,
            "finished": started + SignedDuration::from_secs(1) },
    }))
    .unwrap()
}

#[test]
fn what_happens_to_a_job_is_counted_once() {
    let mut history = History::default();
    let status = ended("Failed", at(0), 1000);
    let started = JobStatus { phase: Some(Phase::Running), failure: None, ..status.clone() };
    history.count(Counted::default(), &started, at(0));
    history.count(Counted::of_status(&started), &started, at(1));
    history.count(Counted::of_status(&started), &status, at(1));
    history.count(Counted::of_status(&status), &status, at(2));
    let report = history.report(None, at(2));
    for window in [report.hour, report.day] {
        assert_eq!((window.all.started, window.all.failed, window.all.succeeded), (1, 1, 0));
        assert_eq!(window.all.failures, BTreeMap::from([("Crashed".to_owned(), 1)]));
        assert_eq!(window.slots.len(), 1);
    }
}

#[test]
fn a_later_attempt_is_no_wait() {
    let mut history = History::default();
    let mut status = ended("Succeeded", at(0), 1000);
    status.timeline.remember(&ended("Failed", at(-1), 0).failure.unwrap());
    history.count(Counted::default(), &status, at(2));
    let all = history.report(None, at(2)).hour.all;
    assert_eq!((all.started, all.succeeded), (0, 1));
}

#[test]
fn a_wait_is_told_too_long_by_nine_percent_at_most() {
    for milliseconds in [0, 1, 9, 10, 99, 1000, 12_345, 3_600_000, i128::from(u32::MAX)] {
        let told = seconds_of(step_of(milliseconds)) * 1000.0;
        let wait = milliseconds as f64;
        assert!(told >= wait - 0.5 && told <= wait * 1.0906 + 0.6, "{wait}: {told}");
    }
    assert_eq!(step_of(-5), 0);
    let mut history = History::default();
    for percent in 1..=100 {
        history.count(Counted::default(), &ended("Succeeded", at(0), percent * 1000), at(1));
    }
    let all = history.report(None, at(1)).hour.all;
    let (half, most) = (all.wait_p50_seconds.unwrap(), all.wait_p95_seconds.unwrap());
    assert!((50.0..54.6).contains(&half) && (95.0..103.7).contains(&most), "{half} {most}");
}

#[test]
fn what_is_kept_is_bounded_and_the_windows_move_on() {
    let mut history = History::default();
    for second in 0..100_000 {
        history.count(Counted::default(), &ended("Succeeded", at(second), 5), at(second + 1));
    }
    assert_eq!(history.slots.len(), 60 + 96);
    let report = history.report(None, at(100_000));
    assert_eq!((report.hour.slots.len(), report.day.slots.len()), (60, 96));
    assert!((3540..=3600).contains(&report.hour.all.succeeded), "{:?}", report.hour.all);
    let later = history.report(None, at(103_400));
    assert!(later.hour.slots.len() < 5 && later.day.slots.len() > 90);
    // What is older than a window, or in the future, makes no slot of its own.
    history.count(Counted::default(), &ended("Cancelled", at(1), 5), at(100_000));
    history.count(Counted::default(), &ended("Cancelled", at(900_000), 5), at(100_000));
    assert_eq!(history.report(None, at(100_000)).day.all.cancelled, 1);
    assert_eq!(history.slots.len(), 60 + 96);
}

#[test]
fn it_can_be_kept_elsewhere_slot_by_slot() {
    let mut history = History::default();
    history.count(Counted::default(), &ended("Failed", at(0), 5), at(1));
    let taken = history.take_changed();
    assert_eq!((taken.len(), history.take_changed().len()), (2, 0));
    history.give_back(&taken);
    assert_eq!(history.take_changed(), taken);
    let text = serde_json::to_string(&taken[0].counts).unwrap();
    assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), taken[0].counts);
    assert_eq!(History::from_slots(taken).report(None, at(2)), history.report(None, at(2)));
}
