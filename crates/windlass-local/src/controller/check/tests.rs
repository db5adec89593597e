use std::fs::{self, Permissions};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use tokio::sync::Notify;

use super::*;

/// A check by a program that does this instead of Python.
async fn by(script: &str, limit: Duration) -> Checked {
    let here = tempfile::tempdir().unwrap();
    let python = here.path().join("python");
    fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
    let command = ["./python", "-m", PYTHON_WORKER, "a:f"].map(str::to_owned);
    let program = Program { command: command.into(), ..program_in(here.path()) };
    checked(program, Path::new("/opt/windlass"), Instant::now() + limit).await
}

fn program_in(directory: &Path) -> Program {
    Program {
        command: Vec::new(),
        env: Vec::new(),
        directory: Some(directory.to_str().unwrap().to_owned()),
        hidden: None,
        run_as: None,
    }
}

#[test]
fn a_program_is_looked_up_where_it_will_be_started() {
    let here = tempfile::tempdir().unwrap();
    let file = |name: &str, mode| {
        fs::write(here.path().join(name), "").unwrap();
        fs::set_permissions(here.path().join(name), Permissions::from_mode(mode)).unwrap();
    };
    file("good", 0o755);
    file("data", 0o644);
    let found = |name: &str, path: &Path| {
        let program = Program { command: vec![name.to_owned()], ..program_in(here.path()) };
        looked_up(&program, path.as_os_str())
    };
    assert!(matches!(found("./good", Path::new("")), Checked::Good(None)));
    assert!(matches!(found("good", here.path()), Checked::Good(None)));
    for (name, path) in [
        ("./data", here.path()),
        ("data", here.path()),
        ("./gone", here.path()),
        ("good", Path::new("/none")),
    ] {
        assert!(
            matches!(found(name, path), Checked::Bad(why) if why.contains("no such program")),
            "{name}"
        );
    }
    for (name, is_told) in [("shop.tasks:price", true), ("price", false), ("a:", false)] {
        let Checked::Bad(why) = found(name, here.path()) else { panic!("{name}") };
        let hint = format!("\"python -m windlass.worker {name}\"");
        assert_eq!(why.contains(&hint), is_told, "{why}");
    }
}

#[tokio::test]
async fn a_function_that_cannot_be_imported_is_told_with_the_reason() {
    let says = "echo \"$@\" >&2; echo \"No module named 'a'\" >&2; exit 1";
    let Checked::Bad(why) = by(says, LIMITS[0]).await else { panic!() };
    assert_eq!(why, "-m windlass.worker a:f --check\nNo module named 'a'");
}

#[tokio::test]
async fn a_file_that_hides_the_client_is_told() {
    let python = "Error while finding module specification for 'windlass.worker' (ModuleNotFoundError: __path__ \
                  attribute not found on 'windlass' while trying to find 'windlass.worker')";
    let Checked::Bad(why) = by(&format!("echo \"{python}\" >&2; exit 1"), LIMITS[0]).await else {
        panic!()
    };
    assert!(
        why.ends_with("a file windlass.py hides the Python client: give it another name"),
        "{why}"
    );
}

#[tokio::test]
async fn what_says_nothing_of_the_function_is_not_held_against_it() {
    assert!(matches!(by("exit 0", LIMITS[0]).await, Checked::Good(None)));
    let older = "echo 'error: unrecognized arguments: --check' >&2; exit 2";
    assert!(matches!(by(older, LIMITS[0]).await, Checked::Good(None)));
    let misspelt = "echo 'error: unrecognized arguments: --colld --check' >&2; exit 2";
    assert!(matches!(by(misspelt, LIMITS[0]).await, Checked::Bad(why) if why.contains("--colld")));
    let slow = by("exec sleep 600", Duration::from_millis(300)).await;
    assert!(matches!(slow, Checked::Unknown(why) if why.contains("not imported")));
    assert!(matches!(by("kill -KILL $$", LIMITS[0]).await, Checked::Unknown(_)));
}

#[tokio::test]
async fn how_a_function_is_called_is_told_below_what_its_import_prints() {
    let says = "echo 'a model is loaded'; echo 'f(x) is called with each item'";
    let Checked::Good(how) = by(says, LIMITS[0]).await else { panic!() };
    assert_eq!(how.as_deref(), Some("f(x) is called with each item"));
    // An earlier client.
    let silent = by("echo 'a model is loaded'", LIMITS[0]).await;
    assert!(matches!(silent, Checked::Good(None)));
}

#[tokio::test]
async fn what_an_import_has_started_holds_up_no_check() {
    let began = Instant::now();
    let found = by("sleep 60 2>/dev/null & echo 'f(x) is called once'", LIMITS[0]).await;
    assert!(matches!(found, Checked::Good(Some(_))));
    assert!(began.elapsed() < LIMITS[0], "{:?}", began.elapsed());
}

#[tokio::test]
async fn no_more_are_checked_at_once_than_are_to_be() {
    let cpus = 3;
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let checks = (0..4 * cpus).map(|number| {
        let (now, most) = (&now, &most);
        async move {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, SeqCst);
            number
        }
    });
    let found = at_once(cpus, checks).await;
    assert_eq!(found, (0..4 * cpus).collect::<Vec<_>>());
    assert_eq!(most.into_inner(), cpus);
}

#[tokio::test]
async fn one_that_hangs_holds_up_no_other() {
    let (ended, are_all) = (AtomicUsize::new(0), Notify::new());
    let checks = (0..20).map(|number| {
        let (ended, are_all) = (&ended, &are_all);
        async move {
            if number == 0 {
                are_all.notified().await;
            } else if ended.fetch_add(1, SeqCst) == 18 {
                are_all.notify_one();
            }
            number
        }
    });
    let found = tokio::time::timeout(LIMITS[0], at_once(2, checks)).await;
    assert_eq!(found.unwrap(), (0..20).collect::<Vec<usize>>());
}

#[tokio::test]
async fn what_others_have_left_no_time_for_is_not_blamed_for_it() {
    let here = tempfile::tempdir().unwrap();
    // Not started: it would be told that it is not there.
    let program = Program { command: vec!["./none".to_owned()], ..program_in(here.path()) };
    let found = checked(program, Path::new("/opt/windlass"), Instant::now()).await;
    assert!(matches!(found, Checked::Unknown(why) if why == NOT_CHECKED));
}

#[tokio::test]
async fn it_sees_nothing_of_the_servers_environment() {
    let says = "env >&2; exit 1";
    let Checked::Bad(env) = by(says, LIMITS[0]).await else { panic!() };
    assert!(!env.contains("CARGO"), "{env}");
    assert!(!env.contains("NEXTEST"), "{env}");
}
