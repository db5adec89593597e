//! Progress over the socket, from functions that mean well and others.

use windlass_core::report::Event;

use crate::support::{Ended, output, script};

fn told(ended: &Ended) -> Vec<(u64, u64, String)> {
    let progress = ended.reports.iter().filter_map(|report| match &report.event {
        Event::Progress { done, total, message, elapsed_seconds } => {
            assert!(*elapsed_seconds >= 0.0);
            Some((*done, *total, message.clone()))
        }
        _ => None,
    });
    progress.collect()
}

#[test]
fn progress_is_told_while_the_function_runs() {
    let mut running = script(&format!(
        "echo 1 4 first >> \"$WINDLASS_PROGRESS\"; while ! [ -e go ]; do sleep 0.01; done; \
         echo 4 4 last >> \"$WINDLASS_PROGRESS\"; {}",
        output("x")
    ))
    .start();
    assert!(matches!(running.report().unwrap().event, Event::Running { .. }));
    let Event::Progress { done, total, message, .. } = running.report().unwrap().event else {
        panic!()
    };
    assert_eq!((done, total, message.as_str()), (1, 4, "first"));
    std::fs::write(running.directory.path().join("go"), "").unwrap();
    let ended = running.wait();
    // The last line is told with the end, however short the time in between was.
    let last = ended.ending().progress.as_ref().unwrap();
    assert_eq!((last.done, last.total, last.message.as_str()), (4, 4, "last"));
}

#[test]
fn hostile_progress_is_told_within_bounds_or_not_at_all() {
    let ended = script(&format!(
        "p=\"$WINDLASS_PROGRESS\"; printf '9 1\\n-1 5\\nx\\n\\377\\376 1\\n' >> \"$p\"; sleep 0.15; \
         head -c 300000 /dev/zero >> \"$p\"; echo >> \"$p\"; sleep 0.15; \
         printf '2 5 a\\033[2Jb\\n' >> \"$p\"; sleep 0.15; \
         rm \"$p\"; mkfifo \"$p\"; sleep 0.15; {}",
        output("x")
    ))
    .run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    // Nothing but the one line that is good, as progress or at least with the end.
    let last = ended.ending().progress.as_ref();
    assert_eq!(last.map(|p| (p.done, p.total, p.message.as_str())), Some((2, 5, "a [2Jb")));
    assert!(told(&ended).iter().all(|told| *told == (2, 5, "a [2Jb".to_owned())));
}

#[test]
fn a_flood_of_progress_is_told_at_a_bounded_pace() {
    let ended = script(&format!(
        "i=0; while [ $i -lt 20000 ]; do echo $i 20000; i=$((i+1)); done >> \"$WINDLASS_PROGRESS\"; {}",
        output("x")
    ))
    .run();
    let running = ended.ending().running.unwrap();
    let milliseconds = ended.ending().finished.duration_since(running).as_millis();
    let told = told(&ended);
    assert!(told.len() as i128 <= milliseconds / 100 + 2, "{} in {milliseconds} ms", told.len());
    assert!(told.is_sorted());
    assert_eq!(ended.ending().progress.as_ref().unwrap().done, 19_999);
}
