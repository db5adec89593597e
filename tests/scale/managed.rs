//! What `spec.managedBy` would bring: a thousand Jobs that the cluster's own Job controller leaves alone,
//! with pods that a client creates by itself. An option of `tests/scale/run`: nothing uses it.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use windlass_tests::api::{batch_jobs, pods};
use windlass_tests::watch::{self, PODS, Watch, anything};

use crate::report::Part;
use crate::throughput::seconds;
use crate::{AT_ONCE, Bench, JOBS};

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("1,000 Jobs with managedBy, and pods by the client");
    bench.namespace("managed").await?;
    let admin = &bench.cluster.admin;
    let watch = Watch::start(admin, "managed", PODS, watch::pod_marks, anything).await?;
    let began = Instant::now();
    futures::stream::iter(0..JOBS)
        .map(|number| async move {
            let mut job = bench.bare(&format!("job-{number}"));
            job["spec"]["managedBy"] = "windlass.dev/controller".into();
            let job = admin.create(&batch_jobs("managed", ""), &job).await?;
            let mut pod = bench.template.clone();
            pod["apiVersion"] = "v1".into();
            pod["kind"] = "Pod".into();
            pod["metadata"]["name"] = job["metadata"]["name"].clone();
            pod["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "batch/v1", "kind": "Job", "controller": true,
                "name": job["metadata"]["name"], "uid": job["metadata"]["uid"],
            }]);
            admin.create(&pods("managed", ""), &pod).await
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()))
        .await?;
    let creating = began.elapsed();
    let last = watch
        .until("all pods have ended", Duration::from_secs(600), |objects| {
            (objects.count("terminal") == JOBS).then(|| objects.last("terminal"))?
        })
        .await?;
    part.figure("first create to the last pod's end", seconds(last - began));
    part.figure("of that, creating Jobs and pods", seconds(creating));
    part.tables.push(
        "At the default flags bare Jobs and ours alike wait for the Job controller's 20 requests a second; \
         these wait for nobody. The price would be to create, count and replace pods ourselves, and to keep \
         their ends until they are counted, as the Job controller does by its finalizer.\n"
            .to_owned(),
    );
    bench.cluster.remove_namespace("managed", Duration::from_secs(600)).await?;
    Ok(part)
}
