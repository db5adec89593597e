use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::admit::Preemption;
use crate::{Admission, Capacity, JobStatus, Share, Waiting};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Ten jobs of `f` with one CPU have taken 10 to 19 s.
fn times() -> RunTimes {
    let mut times = RunTimes::default();
    (10..20).for_each(|seconds| times.add("f", f64::from(seconds), 1, at(0)));
    times
}

fn waiting(queue: &str, sequence: u64) -> Waiting {
    let queue = queue.to_owned();
    Waiting { queue, priority: 0, since: at(0), sequence, min: 1, max: 1 }
}

fn known(name: &str, function: &str) -> KnownJob {
    KnownJob { name: name.into(), function: function.into(), ..KnownJob::default() }
}

/// So many equal jobs of a function wait on one CPU; the first of them has just started.
fn line(function: &str, jobs: u64) -> (Admission<u64>, BTreeMap<u64, KnownJob>) {
    let mut admission = Admission::new(Capacity(Some(1)));
    (0..=jobs).for_each(|id| admission.wait(id, waiting("q", id)));
    admission.next(at(0)).unwrap();
    let known = (0..=jobs).map(|id| (id, known(&id.to_string(), function))).collect();
    (admission, known)
}

fn told(all: &(Admission<u64>, BTreeMap<u64, KnownJob>), times: &RunTimes) -> Vec<Estimate> {
    told_if(all, times, |excerpt| excerpt)
}

fn told_if(
    (admission, known): &(Admission<u64>, BTreeMap<u64, KnownJob>),
    times: &RunTimes,
    change: impl Fn(Excerpt<u64>) -> Excerpt<u64>,
) -> Vec<Estimate> {
    let holding = known.keys().copied().filter(|id| admission.granted(id).is_some());
    let excerpt = change(admission.excerpt(holding, MAX_WAITING));
    estimate(
        &Situation { excerpt, known: known.clone(), arrivals: Arrivals::since(at(0)) },
        times,
        at(0),
    )
}

#[test]
fn jobs_start_one_after_the_other_and_after_as_long_as_others_took() {
    let estimates = told(&line("f", 10), &times());
    assert_eq!(estimates.len(), 11);
    assert!(estimates[0].position.is_none() && estimates[0].estimated_start_time.is_none());
    let seconds = |time: Option<Timestamp>| time.unwrap().duration_since(at(0)).as_secs_f64();
    for (place, job) in (1..).zip(&estimates[1..]) {
        assert_eq!(job.position, Some(place));
        let start = seconds(job.estimated_start_time);
        let expected = 14.5 * f64::from(place);
        assert!((start / expected - 1.0).abs() < 0.2, "{place}: {start}");
        assert!(seconds(job.earliest_start_time) <= start);
        assert!(seconds(job.latest_start_time) >= start);
        assert!(seconds(job.estimated_completion_time) > start);
    }
}

#[test]
fn nothing_is_told_of_functions_without_history_and_of_what_depends_on_them() {
    let mut few = RunTimes::default();
    (0..MIN_ENDED_JOBS - 1).for_each(|_| few.add("f", 10.0, 1, at(0)));
    for estimate in told(&line("f", 2), &few) {
        assert_eq!(
            (estimate.estimated_start_time, estimate.estimated_completion_time),
            (None, None)
        );
        assert!(estimate.not_told.is_some());
    }
    few.add("f", 10.0, 1, at(0));
    assert!(told(&line("f", 2), &few).iter().all(|estimate| estimate.not_told.is_none()));
    // With a CPU of its own, a job does not depend on one of which nothing is known.
    let (mut admission, mut jobs) = line("f", 3);
    admission.set_capacity(Capacity(Some(2)));
    admission.occupy(9, "q", 1);
    jobs.insert(9, known("9", "new"));
    let estimates = told(&(admission, jobs), &times());
    let start = |name: &str| {
        let found = estimates.iter().find(|estimate| estimate.name == name).unwrap();
        (found.estimated_start_time.is_some(), found.not_told.is_some())
    };
    assert_eq!(start("9"), (false, true));
    assert_eq!(start("3"), (false, true), "it starts three times as late if `9` has no end");
}

#[test]
fn a_job_whose_queue_is_on_hold_or_too_small_has_a_position_and_no_start() {
    let mut all = line("f", 2);
    let quota = |quota| Some(Share { quota: Some(quota), ..Share::default() });
    all.0.set_queue("held", quota(0));
    all.0.wait(9, waiting("held", 9));
    all.1.insert(9, known("9", "f"));
    let estimates = told(&all, &times());
    let held = estimates.iter().find(|estimate| estimate.name == "9").unwrap();
    assert_eq!((held.position, held.estimated_start_time), (Some(1), None));
    assert!(held.not_told.as_ref().unwrap().contains("does not start"), "{held:?}");
    let others = estimates.iter().filter(|estimate| estimate.name != "9");
    assert!(others.into_iter().all(|other| other.not_told.is_none()));
    for job in told_if(&all, &times(), Excerpt::without_starts) {
        let is_drained = job.not_told.is_some_and(|why| why.contains("being drained"));
        assert!(is_drained == job.position.is_some() && job.estimated_start_time.is_none());
    }
}

/// Two CPUs: one job of a queue that preempts waits behind two lower ones of it that run, and one of another queue waits.
fn preempting() -> (Admission<u64>, BTreeMap<u64, KnownJob>) {
    let mut admission = Admission::new(Capacity(Some(2)));
    let preemption = Preemption::LowerPriority;
    admission.set_queue("p", Some(Share { preemption, ..Share::default() }));
    (0..2).for_each(|id| admission.wait(id, waiting("p", id)));
    while admission.next(at(0)).is_some() {}
    admission.wait(2, Waiting { priority: 1, ..waiting("p", 2) });
    admission.wait(3, waiting("q", 3));
    (admission, (0..4).map(|id| (id, known(&id.to_string(), "f"))).collect())
}

#[test]
fn no_start_is_told_while_jobs_end_for_others_or_may_and_all_that_wait_have_a_position() {
    let mut all = preempting();
    let place = |told: &[Estimate], name: &str| {
        let job = told.iter().find(|told| told.name == name).unwrap();
        assert!(job.estimated_start_time.is_none() && job.not_told.is_some(), "{job:?}");
        job.position
    };
    let before = told(&all, &times());
    assert_eq!((place(&before, "2"), place(&before, "3")), (Some(1), Some(1)));
    assert!(before[0].estimated_completion_time.is_some());
    // Its CPUs are kept for it now, and a later one of its queue comes after it.
    let preempted = all.0.preempt(at(1)).unwrap();
    assert_eq!((preempted.by, preempted.victims.len()), (2, 1));
    all.0.wait(4, Waiting { priority: 2, ..waiting("p", 4) });
    all.1.insert(4, known("4", "f"));
    let after = told(&all, &times());
    assert_eq!(["2", "4", "3"].map(|name| place(&after, name)), [Some(1), Some(2), Some(1)]);
    let victim = preempted.victims[0].to_string();
    let victim = after.iter().find(|told| told.name == victim).unwrap();
    assert!(victim.estimated_completion_time.is_none() && victim.not_told.is_some());
    let holding = all.1.keys().copied().filter(|id| all.0.granted(id).is_some());
    assert!(all.0.excerpt(holding, MAX_WAITING).is_whole);
}

#[test]
fn starts_are_told_again_once_nothing_waits_that_may_have_others_ended() {
    let mut all = preempting();
    all.0.leave(&2);
    let told = told(&all, &times());
    let other = told.iter().find(|told| told.name == "3").unwrap();
    assert!(other.estimated_start_time.is_some(), "{other:?}");
}

#[test]
fn a_job_that_is_being_ended_has_no_end_of_its_own_and_makes_room_at_once() {
    let mut all = line("f", 1);
    let start = |all: &_| {
        let told = told(all, &times());
        let start = told[1].estimated_start_time.unwrap().duration_since(at(0)).as_secs_f64();
        (told[0].estimated_completion_time.is_some(), told[0].not_told.is_some(), start > 5.0)
    };
    assert_eq!(start(&all), (true, false, true));
    all.1.get_mut(&0).unwrap().is_ending = true;
    assert_eq!(start(&all), (false, true, false));
}

#[test]
fn jobs_like_those_that_came_lately_come_again_and_some_start_first() {
    let (admission, known) = line("f", 4);
    let holding = [0];
    let start = |arrivals: Arrivals| {
        let excerpt = admission.excerpt(holding, MAX_WAITING);
        let told =
            estimate(&Situation { excerpt, known: known.clone(), arrivals }, &times(), at(0));
        let last = told.last().unwrap();
        last.estimated_start_time.map(|start| start.duration_since(at(0)).as_secs_f64())
    };
    let arrivals = |count: i64, function: &str, priority| {
        let mut arrivals = Arrivals::since(at(-20 * count));
        for seconds in (1..=count).rev() {
            let since = at(-20 * seconds);
            arrivals.add(function, Waiting { priority, since, ..waiting("q", 0) });
        }
        arrivals
    };
    let alone = start(Arrivals::since(at(0))).unwrap();
    // One each 20 s takes 14.5 of them from those behind it.
    let behind = start(arrivals(20, "f", 5)).unwrap();
    assert!((2.5..5.5).contains(&(behind / alone)), "{alone} {behind}");
    assert_eq!(start(arrivals(20, "f", -5)), Some(alone), "they come later");
    assert_eq!(start(arrivals(5, "f", 5)), Some(alone), "too few");
    assert_eq!(start(arrivals(20, "new", 5)), Some(alone), "nobody knows how long they take");
    let mut at_once = Arrivals::since(at(0));
    (0..1000).for_each(|_| at_once.add("f", Waiting { priority: 5, ..waiting("q", 0) }));
    assert_eq!(start(at_once), Some(alone), "no time has passed");
}

#[test]
fn one_crowd_of_a_long_time_does_not_come_all_the_time() {
    let crowd = |count: usize| {
        let mut arrivals = Arrivals::since(at(-10_000));
        (0..count).for_each(|_| arrivals.add("f", Waiting { since: at(-1), ..waiting("q", 0) }));
        arrivals
    };
    // It comes within the next 100 s in one of a hundred plays.
    let few = crowd(200);
    let within = |play| {
        let part = (f64::from(play) + 0.5) / 100.0;
        few.play_again(part, at(0), |_| true).take_while(|(after, _)| *after < 100.0).count()
    };
    let counts: Vec<_> = (0..100).map(within).collect();
    assert_eq!(counts.iter().sum::<usize>(), 200, "{counts:?}");
    // Of more it is known only since when they came.
    let many = crowd(300);
    let last = many.play_again(0.5, at(0), |_| true).nth(1000).unwrap();
    assert!(last.0 < 10.0, "{last:?}");
}

#[test]
fn a_line_of_any_length_leaves_room_for_those_that_come() {
    for waiting in 1..=MAX_WAITING {
        let (plays, later) = plays(waiting);
        assert!(later >= waiting.max(256) && (8..=32).contains(&plays), "{waiting}");
        assert!(plays.is_power_of_two() && plays * (waiting + later) <= MAX_STARTS, "{waiting}");
    }
}

#[test]
fn progress_tells_how_long_a_job_goes_on_and_its_time_so_far_what_remains_without() {
    let (admission, mut jobs) = line("f", 0);
    let remaining = |jobs: &BTreeMap<u64, KnownJob>| {
        let estimates = told(&(admission.clone(), jobs.clone()), &times());
        estimates[0].estimated_completion_time.map(|end| end.duration_since(at(0)).as_secs_f64())
    };
    let first = jobs.get_mut(&0).unwrap();
    (first.admitted, first.running) = (Some(at(-16)), Some(at(-16)));
    let without = remaining(&jobs).unwrap();
    assert!((1.0..3.0).contains(&without), "of 17, 18 and 19 s: {without}");
    jobs.get_mut(&0).unwrap().progress = Some(Progress::new(160, 1000, "", 16.0));
    assert_eq!(remaining(&jobs), Some(without), "when it told its first progress is not known");
    let mut with = |progress: (u64, u64), first: (i64, u64)| {
        let job = jobs.get_mut(&0).unwrap();
        job.progress = Some(Progress::new(progress.0, progress.1, "", 16.0));
        job.first_progress = Some((at(first.0), first.1));
        remaining(&jobs)
    };
    let rate = with((160, 1000), (-8, 1)).unwrap();
    assert!((rate - 42.0).abs() < 1.0, "{rate}");
    // One report, too little since, too short ago, or a count that begins again: as long as others.
    for (progress, first) in [
        ((160, 1000), (-8, 160)),
        ((165, 1000), (-8, 160)),
        ((160, 1000), (0, 1)),
        ((5, 1000), (-8, 90)),
    ] {
        assert_eq!(with(progress, first), Some(without), "{progress:?} {first:?}");
    }
    assert_eq!(with((1000, 1000), (-8, 1)), None, "nobody knows what it does now");
    assert_eq!(with((0, 0), (-8, 0)), Some(without));
    assert!(with((160, 1000), (-8, 1)).is_some());
    jobs.get_mut(&0).unwrap().timeout_seconds = 20;
    assert_eq!(remaining(&jobs), Some(4.0), "it is ended then");
    // Longer than any other, and it tells nothing.
    jobs.insert(0, KnownJob { admitted: Some(at(-100)), ..known("0", "f") });
    assert_eq!(remaining(&jobs), None);
}

#[test]
fn more_cpus_make_a_job_shorter_as_far_as_they_did() {
    let mut linear = RunTimes::default();
    let mut serial = RunTimes::default();
    for cpus in [1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8] {
        linear.add("f", 64.0 / f64::from(cpus), cpus, at(0));
        serial.add("f", 64.0, cpus, at(0));
    }
    let middle = |times: &RunTimes, cpus| times.durations("f", cpus).unwrap().quantile(0.5, 0.0);
    assert!((middle(&linear, 16).unwrap() - 4.0).abs() < 0.1);
    // It is believed at first that more CPUs help.
    assert!((30.0..64.0).contains(&middle(&serial, 16).unwrap()));
}

#[test]
fn history_is_bounded_and_what_cannot_be_is_not_counted() {
    let mut times = RunTimes::from_functions([]);
    for bad in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        (0..10).for_each(|_| times.add("f", bad, 1, at(0)));
    }
    (0..10).for_each(|_| times.add("f", 1.0, 0, at(0)));
    assert_eq!(times.durations("f", 1), None);
    (0..10).for_each(|_| times.add("f", 0.0, 1, at(0)));
    assert!(times.durations("f", 1).unwrap().quantile(0.5, 0.0).unwrap() >= 0.0);
    for function in 0..2000 {
        (0..300).for_each(|_| times.add(&function.to_string(), 1.0, 1, at(function)));
    }
    let kept = times.take_changed();
    let functions: Vec<_> = kept.iter().filter_map(|(_, ended)| ended.as_ref()).collect();
    assert_eq!(functions.len(), 500);
    let text = serde_json::to_string(functions[0]).unwrap();
    assert!(text.len() < 2000, "{}", text.len());
    assert!(times.durations("1999", 1).is_some() && times.durations("f", 1).is_none());
    assert!(times.take_changed().is_empty());
    times.give_back(&kept);
    assert_eq!(times.take_changed(), kept);
    let again =
        RunTimes::from_functions(kept.into_iter().filter_map(|(name, ended)| Some((name, ended?))));
    assert_eq!(again.durations("1999", 1), times.durations("1999", 1));
}

#[test]
fn what_nobody_keeps_is_not_remembered_as_changed() {
    let mut times = RunTimes::default();
    (0..2000).for_each(|function| times.add(&function.to_string(), 1.0, 1, at(function)));
    assert_eq!(times.take_changed(), []);
}

#[test]
fn what_was_cancelled_or_never_ran_is_no_run_time() {
    let mut times = RunTimes::default();
    let ended = |phase: &str, running: bool| -> JobStatus {
        let told = json!({ "phase": phase, "parallelism": 2, "timeline": { "admitted": at(0),
            "running": running.then(|| at(1)), "finished": at(9) } });
        serde_json::from_value(told).unwrap()
    };
    for _ in 0..10 {
        times.count("f", &ended("Cancelled", true));
        times.count("f", &ended("Failed", false));
        times.count("f", &ended("Running", true));
    }
    assert_eq!(times.durations("f", 2), None);
    (0..5).for_each(|_| times.count("f", &ended("Succeeded", true)));
    assert_eq!(times.durations("f", 2).unwrap().quantile(0.5, 0.0), Some(9.0));
}

#[test]
fn of_a_long_line_the_front_of_each_queue_is_estimated_and_a_thousand_queues_are_as_well() {
    let mut admission = Admission::new(Capacity(Some(4)));
    for id in 0..3000 {
        admission.wait(id, waiting(&format!("q{}", id % 1000), id));
    }
    let excerpt = admission.excerpt([], MAX_WAITING);
    assert!(excerpt.waiting.len() == MAX_WAITING && !excerpt.is_whole);
    assert!(excerpt.waiting.iter().all(|(.., position)| *position == 1));
    let jobs: BTreeMap<_, _> = (0..3000).map(|id| (id, known(&id.to_string(), "f"))).collect();
    let estimates = told(&(admission, jobs), &times());
    assert!(estimates.iter().all(|estimate| estimate.estimated_start_time.is_some()));
    let mut admission = Admission::new(Capacity(Some(4)));
    (0..5000).for_each(|id| admission.wait(id, waiting("q", id)));
    let front = admission.excerpt([], MAX_WAITING);
    let ids: Vec<_> = front.waiting.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
}

proptest! {
    /// Whatever the history, the clock and the line: never before now, always the same, and equal jobs of a queue in
    /// their order.
    #[test]
    fn estimates_are_in_order_and_never_in_the_past(
        history in prop::collection::vec((0.0..1e4_f64, 0_u32..9), 0..40),
        jobs in 1_u64..40,
        cpus in 1_u32..6,
        began in -1_000_i64..1_000,
        progress in prop::option::of((0_u64..50, 0_u64..50)),
    ) {
        let mut times = RunTimes::default();
        history.iter().for_each(|(seconds, cpus)| times.add("f", *seconds, *cpus, at(0)));
        let mut all = line("f", jobs);
        all.0.set_capacity(Capacity(Some(cpus)));
        let first = all.1.get_mut(&0).unwrap();
        (first.admitted, first.running) = (Some(at(began)), Some(at(began)));
        first.progress = progress.map(|(done, total)| Progress::new(done, total, "", 1.0));
        let estimates = told(&all, &times);
        prop_assert_eq!(&estimates, &told(&all, &times));
        let mut before = [None; 3];
        for estimate in &estimates {
            let starts = [estimate.earliest_start_time, estimate.estimated_start_time,
                estimate.latest_start_time];
            let ends = [estimate.earliest_completion_time, estimate.estimated_completion_time,
                estimate.latest_completion_time];
            prop_assert!(starts.iter().chain(&ends).flatten().all(|time| *time >= at(0)));
            prop_assert!(starts.is_sorted() && ends.is_sorted());
            prop_assert!(starts[1].is_some() || estimate.not_told.is_some() || estimate.position.is_none());
            if starts[1].is_some() {
                prop_assert!(before.iter().zip(&starts).all(|(one, other)| one <= other));
                before = starts;
            }
        }
    }
}
