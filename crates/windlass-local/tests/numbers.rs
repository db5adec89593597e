//! Numbers that are kept beside jobs: their history, and what they use over time.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::json;
use windlass_core::Jobs as _;
use windlass_core::history::HistoryReport;

use crate::support::{Machine, key, machine, machine_with, spec};

#[tokio::test]
async fn the_history_counts_each_job_once_and_outlives_jobs_and_servers() {
    let machine = machine(1, &[("ok", "echo 1 > $WINDLASS_OUTPUT"), ("bad", "exit 3")]);
    let (ok, bad) = (machine.start("ok").await, machine.start("bad").await);
    machine.finished(&ok).await;
    machine.finished(&bad).await;
    machine.engine.delete(&key(&ok), None).await.unwrap();
    let history = machine.engine.history("default").await.unwrap();
    let all = &history.hour.all;
    assert_eq!((all.succeeded, all.failed, all.cancelled, all.started), (1, 1, 0, 2), "{all:?}");
    assert_eq!(all.failures, BTreeMap::from([("Crashed".to_owned(), 1)]));
    assert!(all.wait_p95_seconds >= all.wait_p50_seconds && history.since.is_none());
    let none = machine.engine.history("other").await.unwrap();
    assert_eq!((none.hour.all.succeeded, none.day.slots.len()), (0, 0));

    machine.engine.shutdown().await;
    let Machine { engine, directory } = machine;
    drop(engine);
    let machine = machine_with(1, directory, windlass_local::Functions::builtin(Vec::new()));
    let again = machine.engine.history("default").await.unwrap();
    let counts = |history: &HistoryReport| {
        let all = &history.day.all;
        (all.succeeded, all.failed, all.started, all.wait_p95_seconds, all.failures.clone())
    };
    assert_eq!(counts(&again), counts(&history));
}

#[tokio::test]
async fn what_a_job_uses_is_sampled_while_it_runs_and_kept_as_long_as_its_log() {
    let script = "while ! [ -e $HERE/go ]; do :; done; echo > $WINDLASS_OUTPUT";
    let machine = machine(2, &[("spin", script), ("short", "echo > $WINDLASS_OUTPUT")]);
    let name = machine.submit("", spec("spin", json!({ "parallelism": 2 }))).await.unwrap();
    let name = name.metadata.name;
    let of = async |name: &str| {
        let job = machine.engine.get(&key(name)).await.unwrap();
        machine.engine.usage(&job).await.unwrap()
    };
    let usage = async || of(&name).await;
    let capacity = async || machine.engine.capacity("default").await.unwrap();
    let in_use = async || capacity().await.used;
    let none = in_use().await.unwrap();
    assert!(none == 0.0 && none.is_sign_positive(), "{none:?}");
    machine.running(&name).await;
    let some = async {
        loop {
            let usage = usage().await;
            if usage.samples.len() > 1 {
                return usage;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(60), some).await.unwrap();
    assert_eq!((told.attempt, told.granted, told.interval_seconds), (Some(1), Some(2), 1));
    // One thread, on a machine that may have other things to do.
    for sample in &told.samples {
        assert!(sample.cpus > 0.02 && sample.cpus < 1.2, "{told:?}");
        assert!(sample.memory_bytes > 100_000, "{told:?}");
    }
    let used = in_use().await.unwrap();
    assert!(used > 0.02 && used < 1.2, "{used}");
    let uid = machine.engine.get(&key(&name)).await.unwrap().metadata.uid;
    let each = capacity().await.used_by;
    assert!(each.len() == 1 && each[&uid] > 0.02 && each[&uid] < 1.2, "{each:?}");
    // What cannot be read is as if nothing was used.
    let (logs, away) = (machine.path("logs"), machine.path("away"));
    fs::rename(&logs, &away).unwrap();
    fs::write(&logs, "").unwrap();
    assert_eq!(in_use().await, Some(0.0));
    fs::remove_file(&logs).unwrap();
    fs::rename(&away, &logs).unwrap();
    fs::write(machine.path("go"), "").unwrap();
    machine.result(&name).await;
    // A job may be told to have ended a moment before its last process is gone: until then it holds its CPUs.
    let nothing_runs = async {
        while in_use().await != Some(0.0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), nothing_runs).await.unwrap();
    assert!(usage().await.samples.starts_with(&told.samples));
    assert_eq!(fs::read_dir(machine.path("logs")).unwrap().count(), 1);
    machine.engine.delete(&key(&name), None).await.unwrap();
    assert_eq!(fs::read_dir(machine.path("logs")).unwrap().count(), 0);
    let short = machine.start("short").await;
    machine.result(&short).await;
    assert!(of(&short).await.samples.is_empty());
}
