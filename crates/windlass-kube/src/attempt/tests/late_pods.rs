//! Which batch Jobs may get a pod that nobody has seen.

use super::*;

#[test]
fn only_a_batch_job_whose_pod_was_never_seen_may_get_one_late() {
    let open = || ours(json!({}), json!({}));
    let managed = ours(json!({ "managedBy": "windlass.dev/job-controller" }), json!({}));
    let of = |batch_job| AttemptObjects { batch_job: Some(batch_job), ..AttemptObjects::default() };
    let pods = BTreeMap::from([("p".to_owned(), running())]);
    let all = [
        (of(open()), true),
        (of(ours(json!({ "suspend": true }), json!({}))), true),
        (of(managed), false),
        (of(ours(json!({}), json!({ "completionTime": at(9) }))), false),
        (of(ObservedBatchJob { stopping: true, ..open() }), false),
        (of(ObservedBatchJob { is_standby: true, ..open() }), false),
        (AttemptObjects { last_pod: Some("p".into()), ..of(open()) }, false),
        (AttemptObjects { pods, ..of(open()) }, false),
        (AttemptObjects { is_podless: true, ..of(open()) }, false),
        (AttemptObjects::default(), false),
    ];
    for (number, (objects, expected)) in all.into_iter().enumerate() {
        assert_eq!(objects.may_get_late_pod(), expected, "case {number}");
    }
}

#[test]
fn the_word_of_the_job_controller_counts_where_nobody_has_resumed_the_batch_job() {
    let said = json!({ "conditions": [{ "type": "Suspended", "status": "True" }] });
    let has = |suspend: bool, parallelism: i32, generation: i64, status: &Value| {
        let spec = json!({ "suspend": suspend, "parallelism": parallelism,
            "template": { "spec": { "containers": [] } } });
        let mut object = job_object(BATCH_JOB, owner(), spec, status.clone());
        object.metadata.generation = Some(generation);
        read_batch_job(&object).unwrap().1.has_suspended
    };
    assert!(has(true, 0, 2, &said));
    assert!(!has(true, 0, 2, &json!({})), "not yet");
    assert!(!has(true, 0, 3, &said), "it may have been resumed in between");
    assert!(!has(true, 1, 1, &said), "somebody else has suspended it");
    assert!(!has(false, 0, 2, &said), "it goes on");
}
