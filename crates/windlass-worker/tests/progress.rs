//! Progress as the function tells it.

use windlass_core::report::Event;
use windlass_core::status::Progress;

use crate::bench::Bench;

#[test]
fn the_latest_progress_is_told_while_the_function_runs_and_at_its_end() {
    let bench = Bench::new();
    let mut worker = bench.sh(r#"
        printf '1 10\n2 10\n3 10 three\n' >> "$WINDLASS_PROGRESS"
        while [ ! -e "$DIR/go" ]; do sleep 0.01; done
        printf '4 10\n10 10 all\n' >> "$WINDLASS_PROGRESS"
        : > "$WINDLASS_OUTPUT"
        "#);
    worker.group();
    let first = loop {
        match worker.next_report() {
            Some(Event::Progress { done: 3, total, message, elapsed_seconds }) => {
                break (total, message, elapsed_seconds);
            }
            // The look may come between two lines.
            Some(Event::Progress { done: 1 | 2, .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((first.0, first.1.as_str()), (10, "three"));
    assert!((0.0..60.0).contains(&first.2), "{first:?}");
    std::fs::write(bench.path("go"), "").unwrap();
    let (_, ending) = worker.ending();
    let last = ending.progress.unwrap();
    assert_eq!((last.done, last.message.as_str(), last.percent.as_str()), (10, "all", "100%"));
}

#[test]
fn hostile_lines_are_ignored() {
    let bench = Bench::new();
    let mut worker = bench.sh(r#"
        printf '5 10 good\033[2J\n' >> "$WINDLASS_PROGRESS"
        {
            printf '11 10\n-1 10\n+6 10\nsix ten\n\377\376 10\n7 99999999999999999999999\n\n\0\0\n'
            printf '8 10 '; head -c 3000 /dev/zero | tr '\0' x; printf '\n9 10 without an end'
        } >> "$WINDLASS_PROGRESS"
        echo up > "$DIR/up"
        while [ ! -e "$DIR/go" ]; do sleep 0.01; done
        head -c 5000000 /dev/zero >> "$WINDLASS_PROGRESS"
        : > "$WINDLASS_OUTPUT"
        "#);
    worker.group();
    match worker.next_report() {
        Some(Event::Progress { done: 5, total: 10, message, .. }) => {
            assert_eq!(message, "good [2J");
        }
        other => panic!("{other:?}"),
    }
    bench.line_of("up");
    std::fs::write(bench.path("go"), "").unwrap();
    let (_, ending) = worker.ending();
    assert_eq!(ending.progress.map(|progress| progress.done), Some(5));
}

#[test]
fn progress_that_cannot_be_read_fails_nothing() {
    let script = r#"
        rm "$WINDLASS_PROGRESS"; mkdir "$WINDLASS_PROGRESS"; sleep 0.3; printf x > "$WINDLASS_OUTPUT"
    "#;
    let (code, ending) = Bench::new().sh(script).ending();
    assert_eq!((code, ending.progress), (0, None::<Progress>));
}
