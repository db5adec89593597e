//! Objects that no schema of ours takes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_tests::api::compute_jobs;

use crate::support::outage::{MINUTE, TestBed, long_or, on_a_cluster};

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn malformed_resources_stop_no_other_job() {
    on_a_cluster("malformed", async |bed| {
        let mut controller = bed.controller("controller")?;
        let (good, bad) = (long_or(900, 90), long_or(100, 10));
        let before = bed.submit("before", 10, &json!({ "run": "1s" })).await?;
        let kinds = ["computejobs", "computefunctions", "computequeues"];
        let mut sound = Vec::new();
        for kind in kinds {
            sound.push(with_version(&bed, kind, None).await?);
        }
        let made = malformed(&bed, bad).await;
        // Strict again before anything is asked of it.
        for (kind, version) in kinds.iter().zip(sound) {
            with_version(&bed, kind, Some(version)).await?;
        }
        made?;
        let mut accepted = bed.submit("job", good, &json!({ "run": "1s" })).await?;
        accepted.extend(before);
        bed.finished(accepted.len(), MINUTE * 3).await?;
        controller.must_be_running()?;
        each_is_told(&bed, bad).await?;
        // One that starts with all of them there reads them in its first list.
        controller.kill()?;
        let mut controller = bed.controller("restarted")?;
        accepted.extend(bed.submit("after", 10, &json!({ "run": "1s" })).await?);
        let converged = bed.converges(&accepted, true).await?;
        controller.must_be_running()?;
        println!("{bad} malformed ComputeJobs, a function and a queue; {converged}");
        Ok(())
    });
}

/// Waits until each malformed job was told so: by an Event, or in its status where that can be read.
async fn each_is_told(bed: &TestBed, count: usize) -> anyhow::Result<()> {
    let events = format!("/api/v1/namespaces/{}/events", bed.namespace);
    let deadline = Instant::now() + MINUTE;
    loop {
        let mut told: HashSet<String> = HashSet::new();
        for event in bed.admin.list(&events).await? {
            let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
            if event["type"] == "Warning" && event["reason"] == "Malformed" {
                told.insert(name.to_owned());
            }
        }
        for job in bed.admin.list(&compute_jobs(&bed.namespace, "")).await? {
            let name = job["metadata"]["name"].as_str().unwrap_or_default();
            if job["status"]["failure"]["reason"] == "Invalid" {
                told.insert(name.to_owned());
            }
        }
        let untold: Vec<_> =
            (0..count).map(|n| format!("bad-{n}")).filter(|name| !told.contains(name)).collect();
        if untold.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "not told of: {}", untold.join(", "));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Gives a kind this version and returns the one that it had; with none, one whose schema takes anything.
async fn with_version(bed: &TestBed, plural: &str, sound: Option<Value>) -> anyhow::Result<Value> {
    let path =
        format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.windlass.dev");
    let mut definition = bed.admin.get(&path).await?;
    let anything = json!({ "openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let version = &mut definition["spec"]["versions"][0];
    let before = version.clone();
    match sound {
        Some(sound) => *version = sound,
        None => {
            version["schema"] = anything;
            // A field to select by must be in the schema.
            if let Some(version) = version.as_object_mut() {
                version.remove("selectableFields");
            }
        }
    }
    bed.admin.replace(&path, &definition).await?;
    Ok(before)
}

/// Objects that no schema of ours takes. Creation is tried until the looser schema is in force.
async fn malformed(bed: &TestBed, count: usize) -> anyhow::Result<()> {
    let huge = "x".repeat(1 << 16);
    let specs = [
        Value::Null,
        json!("a text"),
        json!([]),
        json!({}),
        json!({ "function": 7 }),
        json!({ "function": "kwok", "parallelism": "many" }),
        json!({ "function": "kwok", "parallelism": -1 }),
        json!({ "function": "kwok", "parallelism": 1e300 }),
        json!({ "function": huge, "input": { "x": huge } }),
        json!({ "function": "kwok", "input": [1, 2, 3] }),
    ];
    let statuses = [
        Value::Null,
        json!("Running"),
        json!({ "phase": "Dancing" }),
        json!({ "attempt": "first" }),
        json!({ "timeline": { "finished": "yesterday" } }),
    ];
    let create = async |path: &str, object: Value| {
        let deadline = Instant::now() + MINUTE;
        loop {
            match bed.admin.create(path, &object).await {
                Ok(_) => return anyhow::Ok(()),
                Err(refused) if refused.code == 409 => return Ok(()),
                Err(refused) => anyhow::ensure!(Instant::now() < deadline, "{refused}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    for number in 0..count {
        let mut job = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
            "metadata": { "name": format!("bad-{number}") },
        });
        let spec = &specs[number % specs.len()];
        if !spec.is_null() {
            job["spec"] = spec.clone();
        }
        create(&compute_jobs(&bed.namespace, ""), job).await?;
        let status = &statuses[number / specs.len() % statuses.len()];
        if !status.is_null() {
            let path = compute_jobs(&bed.namespace, &format!("bad-{number}/status"));
            // Some statuses cannot be stored at all; what can is what is to be read.
            let stored = bed.admin.merge(&path, &json!({ "status": status })).await;
            if let Err(refused) = stored {
                anyhow::ensure!((400..500).contains(&refused.code), "{refused}");
            }
        }
    }
    for (kind, plural, spec) in [
        ("ComputeFunction", "computefunctions", json!({ "command": "not a list" })),
        ("ComputeQueue", "computequeues", json!({ "cpus": "all of them" })),
    ] {
        let object = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": kind,
            "metadata": { "name": "bad" }, "spec": spec,
        });
        let path = format!("/apis/windlass.dev/v1alpha1/namespaces/{}/{plural}", bed.namespace);
        create(&path, object).await?;
    }
    Ok(())
}
