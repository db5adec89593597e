//! Jobs that end well, and what is told of them.

use std::collections::BTreeMap;
use std::fs;

use futures::TryStreamExt as _;
use serde_json::json;
use windlass_core::idempotency::is_of_request;
use windlass_core::jobs::{Filter, RETRY_ANNOTATION, Submission};
use windlass_core::labels::{self, Selector};
use windlass_core::log_tail::{LogRange, WantedLog};
use windlass_core::result::sha256;
use windlass_core::{Error, Jobs as _, Phase, name};

use crate::support::{Machine, eventually, function, key, machine, machine_at, machine_with, spec};

#[tokio::test]
async fn a_job_is_told_from_its_submission_to_its_result() {
    let machine = machine(4, &[("copy", "cp $WINDLASS_INPUT $WINDLASS_OUTPUT")]);
    let wanted = spec("copy", json!({ "input": { "b": 2, "a": [1] }, "parallelism": 3 }));
    let job = machine.submit("", wanted).await.unwrap();
    let name = job.metadata.name.clone();
    assert!(name.starts_with("copy-") && name::problem(&name).is_none(), "{name}");
    assert_eq!(job.metadata.namespace, "default");
    assert_eq!(job.metadata.uid.chars().nth(14), Some('7'), "{}", job.metadata.uid);

    let result = machine.result(&name).await;
    assert_eq!(result.bytes, br#"{"a":[1],"b":2}"#);
    assert_eq!(
        (result.content_type.as_str(), &result.sha256),
        ("text/plain", &sha256(&result.bytes))
    );

    let status = machine.engine.get(&key(&name)).await.unwrap().status;
    assert_eq!((status.attempt, status.parallelism, status.retries), (Some(1), Some(3), 0));
    assert!(status.node.is_some() && status.job.is_none() && status.pod.is_none());
    assert!(status.usage.is_some() && status.failure.is_none());
    let timeline = &status.timeline;
    let times = [
        timeline.created,
        timeline.admitted,
        timeline.started,
        timeline.running,
        timeline.finished,
    ];
    let times = times.map(Option::unwrap);
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.iter().all(|time| time.subsec_nanosecond() % 1_000_000 == 0), "{times:?}");
    eventually("nothing is left", || machine.left().is_empty().then_some(())).await;
}

#[tokio::test]
async fn results_around_every_limit_are_the_same_bytes() {
    let machine = machine(1, &[("give", "cp $HERE/given $WINDLASS_OUTPUT")]);
    for length in [0, 1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 1 << 20] {
        // Not UTF-8, and no two lengths alike.
        let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
        fs::write(machine.path("given"), &bytes).unwrap();
        let name = machine.start("give").await;
        let result = machine.result(&name).await;
        assert!(result.bytes == bytes, "{length}");
        assert_eq!(result.sha256, sha256(&bytes));
        let status = machine.engine.get(&key(&name)).await.unwrap().status;
        assert_eq!(status.result.unwrap().location.is_some(), length > 32 * 1024, "{length}");
        machine.engine.delete(&key(&name), None).await.unwrap();
    }
    eventually("no result outlives its job", || machine.left().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_part_of_a_stored_result_is_read() {
    let machine = machine(1, &[("give", "seq 100000 > $WINDLASS_OUTPUT")]);
    let name = machine.start("give").await;
    let whole = machine.result(&name).await.bytes;
    for part in [0..1, 300_000..400_000, 588_894..588_895] {
        let result = machine.engine.result(&key(&name), false).await.unwrap();
        assert_eq!(result.bytes, 588_895);
        let expected = &whole[part.start as usize..part.end as usize];
        let read: Vec<_> = result.read(part).await.unwrap().try_collect().await.unwrap();
        assert!(read.concat() == expected);
    }
}

#[tokio::test]
async fn a_stored_result_that_was_changed_is_not_given_out() {
    let machine = machine(1, &[("give", "head -c 40000 /dev/zero > $WINDLASS_OUTPUT")]);
    let name = machine.start("give").await;
    machine.result(&name).await;
    let stored = fs::read_dir(machine.path("results")).unwrap().next().unwrap().unwrap().path();
    fs::write(stored, vec![1; 40_000]).unwrap();
    let result = machine.engine.result(&key(&name), false).await.unwrap();
    let whole = 0..result.bytes;
    let read: std::io::Result<Vec<_>> = result.read(whole).await.unwrap().try_collect().await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn the_data_directory_may_be_relative() {
    let directory = tempfile::tempdir().unwrap();
    let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
    let up: std::path::PathBuf = up;
    let data = up.join(directory.path().strip_prefix("/").unwrap());
    let give =
        json!({ "command": ["/bin/sh", "-c", "head -c 40000 /dev/zero > $WINDLASS_OUTPUT"] });
    let give = function("give", directory.path(), give);
    let functions = windlass_local::Functions::builtin(vec![give]);
    let machine = machine_at(1, directory, functions, data);
    let name = machine.start("give").await;
    assert_eq!(machine.result(&name).await.bytes.len(), 40_000);
}

#[tokio::test]
async fn watchers_see_progress_while_the_function_runs() {
    let script = "echo 1 4 first >> $WINDLASS_PROGRESS; while ! [ -e $HERE/go ]; do sleep 0.01; done; \
                  echo ok > $WINDLASS_OUTPUT";
    let machine = machine(1, &[("slow", script)]);
    let name = machine.start("slow").await;
    let job = machine.until(&name, |job| job.status.progress.is_some()).await;
    assert_eq!(job.status.phase, Some(Phase::Running));
    let progress = job.status.progress.unwrap();
    assert_eq!((progress.done, progress.total, progress.message.as_str()), (1, 4, "first"));
    let none = machine.engine.result(&key(&name), false).await.err().unwrap();
    assert!(matches!(none, Error::Conflict(_)), "{none}");
    fs::write(machine.path("go"), "").unwrap();
    assert_eq!(machine.result(&name).await.bytes, b"ok\n");
}

#[tokio::test]
async fn a_function_sees_the_variables_that_it_names_and_starts_in_the_directory_that_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let env = json!({
        "command": ["/bin/sh", "-c", "env > $WINDLASS_OUTPUT; pwd >> $WINDLASS_OUTPUT"],
        "passEnv": ["CARGO_MANIFEST_DIR", "NOT_SET_ANYWHERE"],
        "workingDirectory": place.path(),
    });
    let functions =
        windlass_local::Functions::builtin(vec![function("env", directory.path(), env)]);
    let machine = machine_with(1, directory, functions);
    let name = machine.submit("", spec("env", json!({}))).await.unwrap().metadata.name;
    let text = String::from_utf8(machine.result(&name).await.bytes).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let passed = concat!("CARGO_MANIFEST_DIR=", env!("CARGO_MANIFEST_DIR"));
    assert!(lines.contains(&passed), "{text}");
    assert!(!text.contains("NOT_SET_ANYWHERE") && !text.contains("CARGO_PKG_NAME"), "{text}");
    let place = place.path().canonicalize().unwrap();
    assert_eq!(lines.last(), Some(&place.to_str().unwrap()));
}

#[tokio::test]
async fn a_function_sees_its_contract_and_nothing_else_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let env = json!({
        "command": ["/bin/sh", "-c", "env > $WINDLASS_OUTPUT; pwd >> $WINDLASS_OUTPUT"],
        "env": [{ "name": "MODEL", "value": "large" }],
    });
    let functions =
        windlass_local::Functions::builtin(vec![function("env", directory.path(), env)]);
    let machine = machine_with(4, directory, functions);
    let wanted = spec("env", json!({ "parallelism": 2 }));
    let name = machine.submit("", wanted).await.unwrap().metadata.name;
    let text = String::from_utf8(machine.result(&name).await.bytes).unwrap();
    let env: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    for (variable, value) in [
        ("MODEL", "large"),
        ("WINDLASS_PARALLELISM", "2"),
        ("RAYON_NUM_THREADS", "2"),
        ("OMP_NUM_THREADS", "2"),
        ("WINDLASS_JOB", &name),
        ("WINDLASS_ATTEMPT", "1"),
    ] {
        assert_eq!(env.get(variable), Some(&value), "{variable}");
    }
    // The windlass program's directory comes first, so that `windlass function ...` is found.
    assert!(env["PATH"].split(':').next().unwrap().ends_with("/examples"), "{}", env["PATH"]);
    let known =
        ["PATH", "HOME", "LANG", "TZ", "USER", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "MODEL"];
    let threads = windlass_core::contract::THREAD_COUNT_VARIABLES;
    for variable in env.keys() {
        let ours = variable.starts_with("WINDLASS_")
            || variable.starts_with("LC_")
            || *variable == windlass_core::contract::TRACEPARENT;
        assert!(ours || known.contains(variable) || threads.contains(variable), "{variable}");
    }
    assert!(!env.contains_key("WINDLASS_ASSIGNMENT"));
}

#[tokio::test]
async fn a_name_is_taken_once_and_kept_to_the_rules() {
    let machine = machine(1, &[("ok", "echo > $WINDLASS_OUTPUT")]);
    let wanted = || spec("ok", json!({}));
    let first = machine.submit("mine", wanted()).await.unwrap();
    let taken = machine.submit("mine", wanted()).await.unwrap_err();
    assert!(matches!(taken, Error::Conflict(_)), "{taken}");
    for bad in ["../escape", "UPPER", "a/b"] {
        let Error::Invalid(problems) = machine.submit(bad, wanted()).await.unwrap_err() else {
            panic!()
        };
        assert_eq!(problems[0].pointer, "/name");
    }
    let elsewhere =
        Submission { namespace: "elsewhere".into(), spec: wanted(), ..Submission::default() };
    assert!(matches!(machine.engine.submit(elsewhere).await, Err(Error::NotFound { .. })));
    // The same name again after a delete is another job.
    machine.engine.delete(&key("mine"), None).await.unwrap();
    let second = machine.submit("mine", wanted()).await.unwrap();
    assert_ne!(first.metadata.uid, second.metadata.uid);
    machine.result("mine").await;
}

#[tokio::test]
async fn a_call_under_a_name_that_is_taken_does_not_begin() {
    let machine = machine(2, &[("once", "echo begun >> $HERE/trace; echo > $WINDLASS_OUTPUT")]);
    let call = || machine.call("mine", spec("once", json!({})));
    let (one, other) = tokio::join!(call(), call());
    let taken = one.and(other).unwrap_err();
    assert!(matches!(taken, Error::Conflict(_)), "{taken}");
    machine.result("mine").await;
    let taken = call().await.unwrap_err();
    assert!(matches!(taken, Error::Conflict(_)), "{taken}");
    // One that is let in ends after all that came before it.
    machine.call("other", spec("once", json!({}))).await.unwrap();
    machine.result("other").await;
    assert_eq!(fs::read_to_string(machine.path("trace")).unwrap(), "begun\nbegun\n");
}

/// The names of all pages, and how many each has.
async fn pages(machine: &Machine, mut filter: Filter) -> (Vec<String>, Vec<usize>) {
    let (mut names, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = machine.engine.list("default", &filter).await.unwrap();
        sizes.push(page.items.len());
        names.extend(page.items.into_iter().map(|job| job.metadata.name));
        filter.continue_from = page.continue_from;
        if filter.continue_from.is_none() {
            return (names, sizes);
        }
    }
}

#[tokio::test]
async fn a_page_of_jobs_with_a_label_is_full() {
    let machine = machine(1, &[("a", "echo > $WINDLASS_OUTPUT")]);
    for number in 0..10 {
        let color = if number % 3 == 0 { "color=blue" } else { "color=red" };
        let submission = Submission {
            namespace: "default".into(),
            name: Some(format!("job-{number}")),
            spec: spec("a", json!({})),
            labels: labels::parse(color).unwrap(),
            ..Submission::default()
        };
        machine.engine.submit(submission).await.unwrap();
    }
    machine.submit("no-label", spec("a", json!({}))).await.unwrap();
    let filter = |selector: &str| {
        let labels = Selector::parse(selector).unwrap();
        Filter { limit: 2, labels, ..Filter::default() }
    };
    let (names, sizes) = pages(&machine, filter("color=blue")).await;
    assert_eq!(names, ["job-0", "job-3", "job-6", "job-9"]);
    assert_eq!(sizes, [2, 2]);
    let (names, sizes) = pages(&machine, filter("color!=red")).await;
    assert_eq!(names, ["job-0", "job-3", "job-6", "job-9", "no-label"]);
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(pages(&machine, filter("!color")).await.0, ["no-label"]);
    assert_eq!(pages(&machine, filter("nothing")).await.0, [""; 0]);
}

#[tokio::test]
async fn a_label_that_nobody_may_give_is_refused() {
    let machine = machine(1, &[("a", "echo > $WINDLASS_OUTPUT")]);
    let submission = Submission {
        namespace: "default".into(),
        spec: spec("a", json!({})),
        labels: labels::parse("windlass.dev/a=b").unwrap(),
        ..Submission::default()
    };
    let Err(Error::Invalid(problems)) = machine.engine.submit(submission).await else { panic!() };
    assert_eq!(problems[0].pointer, "/labels/windlass.dev~1a");
}

#[tokio::test]
async fn jobs_are_listed_by_name_page_by_page() {
    let machine = machine(1, &[("a", "echo > $WINDLASS_OUTPUT"), ("b", "exit 1")]);
    for number in 0..5 {
        let function = if number % 2 == 0 { "a" } else { "b" };
        machine.submit(&format!("job-{number}"), spec(function, json!({}))).await.unwrap();
    }
    let (names, _) = pages(&machine, Filter { limit: 2, ..Filter::default() }).await;
    assert_eq!(names, ["job-0", "job-1", "job-2", "job-3", "job-4"]);
    for name in &names {
        machine.finished(name).await;
    }
    let failed = Filter { phase: Some(Phase::Failed), ..Filter::default() };
    assert_eq!(machine.engine.list("default", &failed).await.unwrap().items.len(), 2);
    let of_a = Filter { function: Some("a".into()), ..Filter::default() };
    assert_eq!(machine.engine.list("default", &of_a).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn what_a_job_was_asked_for_is_known_after_a_restart() {
    let functions = windlass_local::Functions::builtin(Vec::new());
    let machine = machine(1, &[("touch", ": > $WINDLASS_OUTPUT")]);
    let submission = Submission {
        namespace: "default".into(),
        name: Some("key-1".into()),
        spec: spec("touch", json!({})),
        labels: labels::parse("team=blue").unwrap(),
        retry_of: Some("key-0".into()),
        request_sha256: Some("digest".into()),
        ..Submission::default()
    };
    let job = machine.engine.submit(submission.clone()).await.unwrap();
    assert!(is_of_request(&job, "digest"));
    machine.finished("key-1").await;
    let Machine { engine, directory } = machine;
    engine.shutdown().await;
    drop(engine);
    let machine = machine_with(1, directory, functions);
    let job = machine.engine.get(&key("key-1")).await.unwrap();
    assert!(is_of_request(&job, "digest"), "{job:?}");
    assert_eq!(job.metadata.labels["team"], "blue");
    assert_eq!(job.metadata.annotations[RETRY_ANNOTATION], "key-0");
    let page = machine.engine.list("default", &Filter::default()).await.unwrap();
    assert_eq!(page.items, [job]);
}

#[tokio::test]
async fn a_job_is_heard_from_attempt_to_attempt_until_it_has_ended() {
    let script = "echo attempt $WINDLASS_ATTEMPT; until [ -e $HERE/go$WINDLASS_ATTEMPT ]; \
                  do sleep 0.02; done; echo done; exit 3";
    let machine = machine(1, &[("talk", script)]);
    let (name, begun) = ("talker", jiff::Timestamp::now().as_microsecond());
    machine.submit(name, spec("talk", json!({ "retries": 1 }))).await.unwrap();
    machine.running(name).await;
    let mut said = machine
        .engine
        .follow_logs(&key(name), LogRange { tail: 1 << 20, timestamps: false })
        .await
        .unwrap();
    let mut heard = String::new();
    for (attempt, end) in [(1, "attempt 1\n"), (2, "attempt 2\n")] {
        let hear = async {
            while !heard.ends_with(end) {
                let piece = said.try_next().await.unwrap().unwrap();
                heard.push_str(std::str::from_utf8(&piece).unwrap());
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), hear).await.unwrap();
        fs::write(machine.path(&format!("go{attempt}")), "").unwrap();
    }
    while let Some(piece) = said.try_next().await.unwrap() {
        heard.push_str(std::str::from_utf8(&piece).unwrap());
    }
    assert_eq!(heard, "attempt 1\ndone\nattempt 2\ndone\n");
    assert_eq!(machine.finished(name).await.status.phase, Some(Phase::Failed));
    // After the end only its end is heard.
    let said = machine
        .engine
        .follow_logs(&key(name), LogRange { tail: 5, timestamps: false })
        .await
        .unwrap();
    let pieces: Vec<_> = said.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"done\n");
    // With the times at which its lines came, of the attempt that said them last.
    let timed = LogRange { tail: 1 << 20, timestamps: true };
    let timed = WantedLog { attempt: None, range: timed };
    let said = machine.engine.logs(&key(name), timed).await.unwrap();
    let said = String::from_utf8(said).unwrap();
    let (mut lines, ended) = (said.lines(), jiff::Timestamp::now().as_microsecond());
    for expected in ["attempt 2", "done"] {
        let (time, line) = lines.next().unwrap().split_once(' ').unwrap();
        let time: jiff::Timestamp = time.parse().unwrap();
        assert!(line == expected && (begun..=ended).contains(&time.as_microsecond()), "{said}");
    }
    assert_eq!(lines.next(), None);
    // An earlier attempt's is there as long.
    let range = LogRange { tail: 1 << 20, timestamps: false };
    let plain = |attempt| WantedLog { attempt: Some(attempt), range };
    let first = machine.engine.logs(&key(name), plain(1)).await.unwrap();
    assert_eq!(first, b"attempt 1\ndone\n");
    let second = machine.engine.logs(&key(name), plain(2)).await.unwrap();
    assert_eq!(second, b"attempt 2\ndone\n");
    for beyond in [0, 3] {
        let error = machine.engine.logs(&key(name), plain(beyond)).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { kind: "attempt", .. }), "{error}");
    }
}
