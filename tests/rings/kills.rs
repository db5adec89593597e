//! The server is killed at random instants under load, or stopped with everything that it has started:
//! nothing that was accepted is lost or has a wrong result, no two attempts of a job overlap, no CPU stays
//! taken, no process is left.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::Client;
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::{eventually, processes_of, script, text, traces};

/// Kills, when WINDLASS_KILLS does not say. `tests/run kills` does a thousand.
const KILLS: u64 = 60;

/// One life in so many ends by a stop of all processes at once, the others by kill -9.
const STOPS: u64 = 3;

/// Longest life of a server, in milliseconds. It ends in its start, its recovery or its work.
const LONGEST_LIFE: u64 = 150;

/// Jobs that are submitted in each life, at most.
const JOBS: u64 = 4;

#[test]
fn a_server_that_is_killed_at_any_instant_loses_nothing_and_leaves_nothing() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills: u64 = number("WINDLASS_KILLS").unwrap_or(KILLS);
    let mut random = Random::of_environment();
    let here = tempfile::tempdir().unwrap();
    fs::create_dir_all(traces(here.path()).join("locks")).unwrap();
    // A lock tells whether another attempt of the same job, or a child that it left, still runs.
    script(
        here.path(),
        "marked",
        "exec 9>$HERE/locks/$WINDLASS_JOB; flock -n 9 || echo $WINDLASS_JOB >> $HERE/overlaps; \
         sleep 0.0$(($$ % 5 + 1)) & wait $! && echo done > $WINDLASS_OUTPUT || echo cut > $WINDLASS_OUTPUT",
        "retries: 0",
    );
    let start = || Server::beside(here.path(), &["--cpus", "2"]);

    let mut accepted = BTreeSet::new();
    let (mut unanswered, mut stops) = (0, 0);
    for life in 0..kills {
        let mut server = start();
        let end = Instant::now() + Duration::from_millis(random.below(LONGEST_LIFE));
        let submitting = {
            let (client, jobs) = (server.client.clone(), random.below(JOBS + 1));
            std::thread::spawn(move || submit(&client, life, jobs, end))
        };
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        if random.below(STOPS) == 0 {
            stops += 1;
            server.signal_all(here.path(), "TERM");
            server.ended();
        } else {
            server.kill();
        }
        let (taken, lost) = submitting.join().unwrap();
        accepted.extend(taken);
        unanswered += lost;
    }

    let mut server = start();
    let lost = accepted.iter().filter(|name| !succeeds(&server.client, name)).count();
    // A job that needs all the CPUs runs only if none stayed taken.
    let whole = json!({ "function": "marked", "parallelism": 2, "name": "whole" }).to_string();
    let answer =
        server.client.post(&server.client.jobs(""), &[("Prefer", "wait=60")], whole.as_bytes());
    let leaked = u32::from(answer.json()["status"]["phase"] != "Succeeded");
    let said = server.said();
    assert!(server.stop().success());
    let overlaps = fs::read_to_string(traces(here.path()).join("overlaps")).unwrap_or_default();
    let left = processes_of(here.path().to_str().unwrap());
    println!(
        "{} kills -9 and {stops} stops of all processes: {} jobs acknowledged ({unanswered} submissions unanswered), {lost} lost or wrong, {} \
         overlapping attempts, {leaked} leaked slots, {} processes left",
        kills - stops,
        accepted.len(),
        overlaps.lines().count(),
        left.len(),
    );
    assert!(accepted.len() as u64 > kills / 4, "hardly any load: {} jobs", accepted.len());
    assert_eq!((lost, overlaps.as_str(), leaked, left.as_slice()), (0, "", 0, &[][..]), "{said}");
}

/// Submits jobs until the server is gone: the names that it has acknowledged, and how many it has
/// not answered.
fn submit(client: &Client, life: u64, jobs: u64, end: Instant) -> (Vec<String>, u32) {
    let (mut accepted, mut unanswered) = (Vec::new(), 0);
    for number in 0..jobs {
        let name = format!("job-{life}-{number}");
        let body = json!({ "function": "marked", "name": name }).to_string();
        match client.try_send("POST", &client.jobs(""), &[], body.as_bytes()) {
            Ok(answer) => {
                assert!(matches!(answer.status, 201 | 202), "{}", text(&answer.body));
                accepted.push(name);
            }
            Err(_) => unanswered += 1,
        }
        if Instant::now() >= end {
            break;
        }
    }
    (accepted, unanswered)
}

/// Waits for the end of a job. A lost one is not there, or has not succeeded; a wrong one went on after its sleep was
/// cut short.
fn succeeds(client: &Client, name: &str) -> bool {
    let path = client.jobs(&format!("/{name}"));
    eventually(&format!("{name} ends"), Duration::from_secs(300), || {
        let answer = client.get(&path);
        if answer.status == 404 {
            return Some(false);
        }
        let job = answer.json();
        job["status"]["timeline"]["finished"].is_string().then(|| {
            let (phase, result) = (&job["status"]["phase"], &job["status"]["result"]["text"]);
            phase == "Succeeded" && result == "done\n"
        })
    })
}
