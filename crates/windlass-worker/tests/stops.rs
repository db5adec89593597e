//! Nothing of a function outlives its attempt.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use windlass_core::Outcome;
use windlass_core::report::Event;
use windlass_core::status::FailureReason;

use crate::bench::{Bench, Exited, Worker};
use crate::processes::{assert_gone, eventually, is_alive, members};

/// Ignores SIGTERM, and its child does.
const STUBBORN: &str = r#"
    trap '' TERM
    sleep 1000 &
    echo $$ > "$DIR/up"
    while :; do sleep 1; done
"#;

const OBEDIENT: &str = r#"sleep 1000 & echo $$ > "$DIR/up"; wait"#;

/// Starts a script that writes into `$DIR/up`, and waits for that. Gives its process group too.
fn start_until_up(bench: &Bench, script: &str) -> (Worker, i32) {
    let mut worker = bench.sh(script);
    let group = worker.group();
    bench.line_of("up");
    (worker, group)
}

fn assert_stopped_without_a_word(bench: &Bench, exited: &Exited) {
    assert_eq!(exited.code, 143, "{exited:#?}");
    let finished = exited.events.iter().any(|event| matches!(event, Event::Finished(_)));
    assert!(!finished, "{exited:#?}");
    match bench.left_word().map(|word| word.outcome) {
        Some(Outcome::Failed { reason: FailureReason::Lost, .. }) => {}
        other => panic!("left {other:?}; {exited:#?}"),
    }
}

#[test]
fn a_timeout_ends_a_function_that_ignores_sigterm_after_the_grace() {
    let mut bench = Bench::new();
    bench.assignment.timeout_seconds = 1;
    let started = Instant::now();
    let mut worker = bench.sh(STUBBORN);
    let group = worker.group();
    let message = worker.timeout();
    assert!(message.contains("longer than 1 s"), "{message}");
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    assert_gone(group);
}

#[test]
fn a_timeout_does_not_wait_for_the_grace_of_a_function_that_stops() {
    let mut bench = Bench::new();
    bench.assignment.timeout_seconds = 1;
    bench.grace = 3_600;
    let mut worker = bench.sh(&format!("trap 'echo stopping >&2; exit 0' TERM; {OBEDIENT}"));
    let group = worker.group();
    // Its exit code and output do not count any more.
    let message = worker.timeout();
    assert!(message.ends_with("stopping"), "{message}");
    assert_gone(group);
}

#[test]
fn sigterm_to_the_worker_ends_the_function_and_reports_nothing() {
    let once: &[Signal] = &[Signal::TERM];
    for (script, signals) in
        [(OBEDIENT, once), (STUBBORN, once), (STUBBORN, &[Signal::TERM, Signal::TERM, Signal::INT])]
    {
        let bench = Bench::new();
        let (worker, group) = start_until_up(&bench, script);
        for signal in signals {
            worker.signal(*signal);
        }
        assert_stopped_without_a_word(&bench, &worker.exited());
        assert_gone(group);
    }
}

#[test]
fn a_stop_that_reaches_the_function_first_is_no_failure_of_the_function() {
    // The shell says 143 of the command that was ended; or gives up because of it.
    for script in [
        r#"echo $$ > "$DIR/up"; exec sleep 900"#,
        "sleep 900 & echo $! > $DIR/up; wait $!",
        "sleep 900 & echo $! > $DIR/up; wait $! || exit 1",
    ] {
        let bench = Bench::new();
        let (worker, group) = start_until_up(&bench, script);
        let first = Pid::from_raw(bench.pid_of("up")).unwrap();
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            // One of them ends it; the others find it gone.
            kill_process(first, signal).unwrap_or_default();
        }
        eventually("the function is gone", || members(group).is_empty().then_some(()));
        worker.signal(Signal::TERM);
        assert_stopped_without_a_word(&bench, &worker.exited());
    }
}

#[test]
fn a_function_that_signals_itself_has_failed() {
    let (reason, message) = Bench::new().sh("kill -TERM $$").failure();
    assert_eq!(
        (reason, message.as_str()),
        (FailureReason::Killed, "the function was killed by signal 15")
    );
}

#[test]
fn a_server_that_is_gone_ends_the_function() {
    let bench = Bench::new();
    let (mut worker, group) = start_until_up(&bench, STUBBORN);
    worker.hang_up();
    assert_stopped_without_a_word(&bench, &worker.exited());
    assert_gone(group);
}

#[test]
fn a_function_does_not_outlive_a_killed_worker() {
    let bench = Bench::new();
    let mut worker = bench.sh(r#"trap '' TERM; echo $$ > "$DIR/up"; exec sleep 1000"#);
    let group = worker.group();
    assert_eq!(bench.pid_of("up"), group);
    worker.signal(Signal::KILL);
    assert_eq!(worker.exited().code, -9);
    eventually("the function is gone", || members(group).is_empty().then_some(()));
}

#[test]
fn what_a_function_leaves_in_its_group_is_ended() {
    let bench = Bench::new();
    let script = r#"
        echo $$ > "$DIR/group"
        for i in 1 2 3; do (trap '' TERM; sleep 1000) & done
        printf done > "$WINDLASS_OUTPUT"
    "#;
    let worker = bench.sh(script);
    assert_eq!(worker.result().text.as_deref(), Some("done"));
    assert_gone(bench.pid_of("group"));
}

#[test]
fn a_process_that_left_the_group_is_ended_too() {
    let bench = Bench::new();
    let script = r#"
        setsid sh -c 'echo $$ > "$DIR/stray"; exec sleep 1000' &
        while [ ! -s "$DIR/stray" ]; do sleep 0.01; done
        echo "last words" >&2; exit 1
    "#;
    let (reason, message) = bench.sh(script).failure();
    let stray = bench.pid_of("stray");
    assert_eq!(reason, FailureReason::Crashed);
    assert!(message.ends_with("last words"), "{message}");
    assert!(!is_alive(stray), "the process that called setsid is left");
}

#[test]
fn children_that_a_function_leaves_are_reaped_while_it_runs() {
    let bench = Bench::new();
    let script = r#"
        i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done
        echo $$ > "$DIR/up"; exec sleep 900
    "#;
    let (worker, _) = start_until_up(&bench, script);
    eventually("only the function is left", || (worker.children() == 1).then_some(()));
}

#[test]
fn a_worker_that_can_have_no_thread_more_goes_on() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: the limit of processes of a user needs a user of its own");
        return;
    }
    let mut bench = Bench::new();
    bench.assignment.timeout_seconds = 2;
    // The inner shell starts children until there is no room for another, and the outer one takes the
    // room that the inner one leaves.
    let script = "sh -c 'sleep 900 & sleep 900 & sleep 900 &' 2>/dev/null; sleep 900 & \
                  echo said >&2; while :; do :; done";
    let exited = bench.sh_as_another_user(5, script).exited();
    assert_eq!((exited.code, exited.stderr.as_str()), (1, "said\n"), "{exited:#?}");
}
