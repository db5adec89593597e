"""What a job looks like in a debugger, a log or a notebook."""

from __future__ import annotations

from windlass.models import Job

STATUS = {
    "phase": "Succeeded",
    "conditions": [],
    "timeline": {},
    "result": {"bytes": 30_000, "contentType": "text/plain", "sha256": "0" * 64},
}


def job_of(text: str) -> Job:
    spec = {"cancel": False, "function": "f", "parallelism": {"min": 1, "max": 2}, "priority": 0, "retries": 0}
    spec |= {"input": {"items": list(range(20_000)), "text": text}, "ttlSecondsAfterFinished": 60, "timeoutSeconds": 9}
    spec |= {"startDeadlineSeconds": 1, "queue": "default"}
    status = STATUS | {"result": STATUS["result"] | {"text": text}}
    metadata = {"name": "night-1", "uid": "u-1"}
    return Job.from_json(
        {
            "apiVersion": "windlass.dev/v1alpha1",
            "kind": "ComputeJob",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }
    )


def test_a_job_shows_what_it_has_and_cuts_what_is_long():
    said = repr(job_of("b" * 50_000))
    assert len(said) < 1500, said
    assert said.startswith(
        "Job(api_version='windlass.dev/v1alpha1', kind='ComputeJob', metadata=Metadata(name='night-1', "
    )
    for shown in ("function='f'", "'items': [0, 1, 2, 3, 4, 5, ...]", "bbb...bbb", "phase='Succeeded'", "bytes=30000"):
        assert shown in said, (shown, said)
    assert "None" not in said, said


def test_what_is_short_is_whole():
    assert "'text': 'all of it'" in repr(job_of("all of it"))
