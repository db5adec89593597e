//! Queues that share the CPUs of a ClusterComputeQueue.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::late_needs::{phase_is, wait_for};
use super::write_faults::{FAULTS, WRITES};
use crate::cluster;
use crate::controller::start;
use crate::objects::{
    cluster_queue_key, create_cluster_queue, create_function, create_job_of, create_namespace,
    create_queue_of,
};
use crate::play::{play_all, play_numbered};
use crate::server::{ReadFaults, Server, key};
use crate::story::Story;
use crate::virtual_time::block_on;

/// Longest time until something follows.
const SOON: Duration = Duration::from_secs(20);

/// In this time a job that wrongly may start would have started.
const WOULD_START: Duration = Duration::from_secs(2);

fn shared(number: u64) -> Story {
    Story { shared: true, jobs: vec![0, 1, 0, 0], ..Story::numbered(number) }
}

#[test]
fn one_fault_at_any_write_breaks_no_promise_of_shared_cpus() {
    let stories = (0..WRITES).flat_map(|write| {
        FAULTS.iter().map(move |fault| Story {
            faults: BTreeMap::from([(write, *fault)]),
            managed: Some(false),
            ..shared(write as u64)
        })
    });
    play_all(stories);
}

#[test]
fn two_or_three_controllers_share_cpus_and_break_no_promise() {
    play_numbered(40, |number| {
        let two = Story { controllers: 2, ..shared(number) };
        Story {
            jobs: vec![0, 1, 0, 3, 0],
            cancel: number.is_multiple_of(3).then_some(number * 13),
            read_faults: number
                .is_multiple_of(4)
                .then_some(ReadFaults::late(10 * number, number + 1)),
            ..two.one_more_controller_every(5)
        }
    });
}

fn submit(server: &Server, name: &str) {
    create_job_of(
        server,
        name,
        json!({ "function": "f", "parallelism": 1, "input": { "crashes": 0 } }),
    );
}

/// The message of the condition `Admitted` of a job contains this.
fn waits_for(words: &'static str) -> impl Fn(&Value) -> bool {
    move |status| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let admitted = conditions.filter(|condition| condition["type"] == "Admitted");
        let mut messages = admitted.filter_map(|admitted| admitted["message"].as_str());
        status["phase"] == "Queued" && messages.any(|message| message.contains(words))
    }
}

fn has_started(server: &Server) -> bool {
    server.lock().writes.iter().any(|write| write.contains("POST jobs/"))
}

#[test]
fn a_job_waits_for_cpus_that_its_namespace_shares_and_starts_when_it_does_not_any_more() {
    for changes in [
        // The namespace is another team's from now on.
        |server: &Server| {
            let key = ("namespaces".into(), String::new(), "default".into());
            let mut state = server.lock();
            let mut namespace = state.objects[&key].clone();
            namespace["metadata"]["labels"]["team"] = json!("b");
            state.put(&key, namespace);
        },
        |server: &Server| server.lock().delete(&cluster_queue_key("pool")),
        |server: &Server| {
            let mut state = server.lock();
            let mut queue = state.objects[&cluster_queue_key("pool")].clone();
            queue["spec"]["cpus"] = json!(1);
            state.put(&cluster_queue_key("pool"), queue);
        },
    ] {
        block_on(async move {
            let server = Server::new(BTreeMap::new());
            create_function(&server);
            create_namespace(&server, "a");
            create_cluster_queue(&server, "pool", 0);
            create_queue_of(&server, "default", json!({ "cpus": 4 }));
            let cluster = tokio::spawn(cluster::run(server.clone(), 150, 1));
            submit(&server, "j0");
            let controller = start(&server, 0, false);
            let words = r#"ClusterComputeQueue "pool" has 0 CPUs"#;
            wait_for(&server, "j0", SOON, waits_for(words)).await;
            tokio::time::sleep(WOULD_START).await;
            assert!(!has_started(&server), "{:#?}", server.lock().writes);
            changes(&server);
            wait_for(&server, "j0", SOON, phase_is("Succeeded")).await;
            controller.abort();
            cluster.abort();
        });
    }
}

#[test]
fn without_a_queue_of_its_own_a_job_does_not_pass_by_the_shared_cpus() {
    block_on(async {
        let server = Server::new(BTreeMap::new());
        create_function(&server);
        create_namespace(&server, "a");
        create_cluster_queue(&server, "pool", 4);
        let cluster = tokio::spawn(cluster::run(server.clone(), 150, 1));
        submit(&server, "j0");
        let controller = start(&server, 0, false);
        wait_for(&server, "j0", SOON, waits_for("is not there")).await;
        assert!(!has_started(&server));
        create_queue_of(&server, "default", json!({ "cpus": 4 }));
        wait_for(&server, "j0", SOON, phase_is("Succeeded")).await;
        controller.abort();
        cluster.abort();
    });
}

#[test]
fn an_older_cluster_queue_has_the_namespace_and_the_other_says_so() {
    block_on(async {
        let server = Server::new(BTreeMap::new());
        create_namespace(&server, "a");
        create_cluster_queue(&server, "pool", 4);
        create_cluster_queue(&server, "pool-of-all", 4);
        create_queue_of(&server, "default", json!({ "cpus": 4 }));
        let controller = start(&server, 0, false);
        let ready = |name: &str| {
            let state = server.lock();
            let queue = &state.objects[&cluster_queue_key(name)];
            queue["status"]["conditions"][0]["reason"].clone()
        };
        let told = timeout(SOON, async {
            while ready("pool") != "Accepted" || ready("pool-of-all") != "NamespacesTaken" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(told.await.is_ok(), "{:#?}", server.lock().objects);
        assert!(server.lock().objects.contains_key(&key("computequeues", "default")));
        controller.abort();
    });
}
