//! What is remembered of objects that come and go.

use serde_json::json;

use super::*;
use crate::cache::watch::DeletedObject;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn attempt() -> AttemptId {
    AttemptId { job_uid: "0190b7a2-1111".into(), number: 1 }
}

/// A pod of the attempt, without its owner when it is an orphan.
fn pod(uid: &str, is_orphan: bool) -> core_v1::Pod {
    let owner = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": "j-0190b7a2-1", "uid": "c",
            "controller": true });
    serde_json::from_value(json!({
        "metadata": { "name": format!("j-0190b7a2-1-{uid}"), "namespace": "n", "uid": uid,
            "labels": { "windlass.dev/job": "j", "windlass.dev/job-uid": "0190b7a2-1111",
                "windlass.dev/attempt": "1", "windlass.dev/queue": "q", "windlass.dev/cpus": "2" },
            "ownerReferences": if is_orphan { json!([]) } else { json!([owner]) } },
        "spec": { "containers": [] }, "status": { "phase": "Running" },
    }))
    .unwrap()
}

fn deleted(uid: &str) -> Change<core_v1::Pod> {
    let name = format!("j-0190b7a2-1-{uid}");
    Change::Deleted(DeletedObject { namespace: "n".into(), name, uid: uid.into() })
}

#[test]
fn an_older_list_does_not_bring_back_what_is_gone() {
    let cache = AttemptCache::default();
    assert!(cache.is_unknown(&pod("a", false)));
    let changed = cache.pod_changed(&Change::Applied(pod("a", false)), now()).unwrap();
    assert!(changed.is_live);
    assert!(!cache.is_unknown(&pod("a", false)), "the watch knows it better");
    let changed = cache.pod_changed(&deleted("a"), now()).unwrap();
    assert!(!changed.is_live);
    assert!(!cache.is_unknown(&pod("a", false)));
    assert!(cache.is_unknown(&pod("b", false)));
}

#[test]
fn what_only_a_list_has_told_is_in_doubt_until_a_watch_tells_it() {
    let cache = AttemptCache::default();
    let listed = |uid: &str| {
        cache.mark_unconfirmed(uid.into());
        cache.pod_changed(&Change::Applied(pod(uid, false)), now()).unwrap();
    };
    listed("a");
    assert_eq!(cache.in_doubt(), [attempt()]);
    // The API server has it: it goes on to be in doubt, as its deletion may never be told.
    let found = AttemptCache::default();
    found.pod_changed(&Change::Applied(pod("a", false)), now()).unwrap();
    assert_eq!(cache.forget_unconfirmed(&attempt(), &found).len(), 0);
    assert_eq!(cache.in_doubt(), [attempt()]);
    cache.confirm("a");
    assert_eq!(cache.in_doubt(), []);
    assert_eq!(cache.forget_unconfirmed(&attempt(), &AttemptCache::default()).len(), 0);
    // Another is gone before any watch has told it.
    listed("b");
    let gone = cache.forget_unconfirmed(&attempt(), &found);
    assert!(gone.iter().all(|changed| changed.is_live), "the first is still there");
    assert_eq!((gone.len(), cache.in_doubt().len()), (1, 0));
    cache.pod_changed(&deleted("a"), now()).unwrap();
    assert!(cache.objects(&attempt().job_uid, 1).is_none());
}

/// A batch Job of the attempt.
fn batch_job(uid: &str, version: &str) -> Change<batch::Job> {
    let job = json!({
        "metadata": { "name": "j-0190b7a2-1", "namespace": "n", "uid": uid, "resourceVersion": version,
            "labels": pod("a", false).metadata.labels,
            "ownerReferences": [{ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
                "name": "j", "uid": "0190b7a2-1111", "controller": true }] },
    });
    Change::Applied(serde_json::from_value(job).unwrap())
}

fn deleted_batch_job(uid: &str) -> Change<batch::Job> {
    Change::Deleted(DeletedObject {
        namespace: "n".into(),
        name: "j-0190b7a2-1".into(),
        uid: uid.into(),
    })
}

/// A list has shown the one that has its name now.
#[test]
fn a_late_watch_of_a_batch_job_that_was_deleted_takes_no_other_away() {
    for (late, left) in [("5", Some("new")), ("12", None)] {
        let cache = AttemptCache::default();
        cache.batch_job_changed(&batch_job("new", "9"), now()).unwrap();
        cache.batch_job_changed(&batch_job("old", late), now()).unwrap();
        let changed = cache.batch_job_changed(&deleted_batch_job("old"), now()).unwrap();
        assert!(changed.is_live);
        let objects = cache.objects(&attempt().job_uid, 1);
        let known = objects.and_then(|objects| Some(objects.batch_job?.uid().to_owned()));
        assert_eq!(known.as_deref(), left, "{late}");
    }
}

#[test]
fn an_attempt_that_nobody_saw_end_is_in_doubt_until_it_is_asked_for() {
    let cache = AttemptCache::default();
    cache.batch_job_changed(&batch_job("c", "1"), now()).unwrap();
    let changed = cache.batch_job_changed(&deleted_batch_job("c"), now()).unwrap();
    assert!(changed.is_live, "its pod may come");
    assert_eq!(cache.in_doubt(), [attempt()]);
    assert!(cache.forget_if_gone(&attempt()));
    assert_eq!(cache.in_doubt(), []);
}

#[test]
fn an_orphan_is_somebodys_to_delete() {
    let cache = AttemptCache::default();
    cache.pod_changed(&Change::Applied(pod("a", false)), now()).unwrap();
    assert_eq!(cache.orphaned_pods().len(), 0);
    cache.pod_changed(&Change::Applied(pod("a", true)), now()).unwrap();
    let orphans = cache.orphaned_pods();
    let NamedPod { labels, uid, name } = &orphans[0];
    assert_eq!((&labels.attempt, &**uid, &**name), (&attempt(), "a", "j-0190b7a2-1-a"));
    let mut stopping = pod("a", true);
    stopping.metadata.deletion_timestamp = serde_json::from_value(json!(now())).unwrap();
    cache.pod_changed(&Change::Applied(stopping), now()).unwrap();
    assert_eq!(cache.orphaned_pods().len(), 0);
}

#[test]
fn the_labels_of_a_pod_change_no_numbers_of_its_batch_job() {
    let cache = AttemptCache::default();
    cache.batch_job_changed(&batch_job("c", "1"), now()).unwrap();
    let mut forged = pod("a", false);
    let labels = forged.metadata.labels.as_mut().unwrap();
    labels.insert("windlass.dev/cpus".into(), "1000".into());
    labels.insert("windlass.dev/queue".into(), "another".into());
    let changed = cache.pod_changed(&Change::Applied(forged), now()).unwrap();
    assert_eq!((changed.labels.cpus, &*changed.labels.queue), (2, "q"));
}

#[test]
fn a_batch_job_that_had_no_pod_when_it_was_suspended_has_none_when_it_is_gone() {
    let suspended = |suspend: bool, version: &str| {
        let Change::Applied(mut object) = batch_job("c", version) else { unreachable!() };
        object.spec = Some(
            serde_json::from_value(json!({ "suspend": suspend, "parallelism": 0, "template": {} }))
                .unwrap(),
        );
        let told = json!({ "conditions": [{ "type": "Suspended", "status": "True" }] });
        object.status = Some(serde_json::from_value(told).unwrap());
        Change::Applied(object)
    };
    for (after, is_live) in [(None, false), (Some(suspended(false, "7")), true)] {
        let cache = AttemptCache::default();
        cache.batch_job_changed(&batch_job("c", "5"), now()).unwrap();
        assert!(cache.objects(&attempt().job_uid, 1).unwrap().may_get_late_pod());
        cache.batch_job_changed(&suspended(true, "6"), now()).unwrap();
        assert!(cache.has_no_pod(&attempt().job_uid, 1, "another").is_none());
        assert!(cache.objects(&attempt().job_uid, 1).unwrap().may_get_late_pod());
        assert!(!cache.has_no_pod(&attempt().job_uid, 1, "c").unwrap().is_live);
        assert!(!cache.objects(&attempt().job_uid, 1).unwrap().may_get_late_pod());
        // Somebody may have it go on.
        after.into_iter().for_each(|change| drop(cache.batch_job_changed(&change, now())));
        assert_eq!(
            cache.batch_job_changed(&deleted_batch_job("c"), now()).unwrap().is_live,
            is_live
        );
        assert_eq!(cache.in_doubt().is_empty(), !is_live);
    }
}

#[test]
fn a_removal_is_asked_for_once_for_each_batch_job() {
    let cache = AttemptCache::default();
    let later = now() + jiff::SignedDuration::from_secs(3);
    let asked = |when| cache.ask_removal(&attempt().job_uid, 1, when);
    assert_eq!((asked(now()), asked(later)), (now(), later), "nothing is there");
    cache.batch_job_changed(&batch_job("c", "1"), now()).unwrap();
    assert_eq!((asked(now()), asked(later)), (now(), now()));
    cache.batch_job_changed(&batch_job("d", "2"), now()).unwrap();
    assert_eq!(asked(later), later, "another has its name");
}
