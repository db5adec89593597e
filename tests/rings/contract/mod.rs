//! One list of scenarios over HTTP, the same on one machine and on a cluster.

mod changes;
mod endings;
mod inputs;
mod labels;
mod service;
mod submissions;

use serde_json::{Value, json};

use crate::support::cluster::Namespace;
use crate::support::http::Client;
use crate::support::server::Server;

#[test]
fn one_machine_keeps_the_contract() {
    let manifests = tempfile::tempdir().unwrap();
    let queue = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
        "metadata": { "name": "small" }, "spec": small(),
    });
    std::fs::write(manifests.path().join("queue.json"), queue.to_string()).unwrap();
    let server = Server::start(&["--cpus", "2", "--functions", manifests.path().to_str().unwrap()]);
    every_scenario(&server.client);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_cluster_keeps_the_contract() {
    let namespace = Namespace::new("contract");
    namespace.apply_queue("small", &small());
    // In a namespace with queues, jobs that name none wait for this one.
    namespace.apply_queue("default", &json!({ "cpus": 1000 }));
    every_scenario(&namespace.client());
}

/// The queue of some of the jobs.
fn small() -> Value {
    json!({ "cpus": 2, "weight": 3 })
}

fn every_scenario(client: &Client) {
    submissions::a_submitted_job_gives_its_result(client);
    submissions::a_job_can_be_waited_for(client);
    submissions::a_job_explains_where_its_time_went(client);
    submissions::a_large_result_comes_whole_and_in_parts(client);
    submissions::a_name_is_given_once(client);
    submissions::jobs_are_listed(client);
    submissions::a_repeated_submission_is_the_same_job(client);
    submissions::submissions_that_race_are_one_job(client);
    inputs::bytes_that_are_sent_are_there_and_read(client);
    inputs::a_job_names_what_was_sent(client);
    inputs::a_call_is_of_a_type_that_its_function_takes(client);
    service::a_function_is_called(client);
    service::a_call_whose_job_is_cancelled_says_so(client);
    service::queues_are_shown(client);
    service::some_fields_are_given_instead_of_all(client);
    service::a_log_is_followed_to_the_end_of_its_job(client);
    changes::all_jobs_are_followed(client);
    labels::jobs_are_found_by_their_labels(client);
    labels::a_job_is_submitted_again(client);
    endings::a_cancelled_job_ends_cancelled(client);
    endings::a_deleted_job_is_gone(client);
    endings::bad_input_is_refused_and_nothing_is_created(client);
    endings::who_has_no_token_gets_nothing(client);
    endings::what_is_not_there_is_not_found(client);
}

/// Follows the job's events until it has ended.
fn finished(client: &Client, location: &str) -> Value {
    let events = client.get(&format!("{location}/events"));
    assert_eq!(events.status, 200, "{events:?}");
    let text = String::from_utf8(events.body).unwrap();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data:")).unwrap();
    serde_json::from_str(last).unwrap()
}

/// Names of the jobs of a list.
fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|job| job["metadata"]["name"].as_str().unwrap()).collect()
}

/// A job that runs for minutes when nobody ends it.
fn long() -> Value {
    json!({
        "function": "price",
        "parallelism": 1,
        "input": {
            "options": vec![json!({
                "spot": 36, "strike": 40, "rate": 0.06, "volatility": 0.2,
                "maturityYears": 2, "exercisesPerYear": 50 }); 100],
            "paths": 1_000_000, "seed": 1
        }
    })
}
