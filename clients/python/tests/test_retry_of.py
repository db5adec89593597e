"""A job that repeats another with changes."""

import pytest

import windlass


def test_a_job_may_say_which_one_it_repeats(client):
    job = client.submit("square", {"items": [2]})
    for named in (job, job.metadata.name):
        edited = client.submit("square", {"items": [3]}, retry_of=named)
        assert edited.metadata.annotations["windlass.dev/retry-of"] == job.metadata.name
        assert client.value(edited) == {"results": [9]}
    with pytest.raises(windlass.Invalid, match="/retryOf"):
        client.submit("square", {"items": [3]}, retry_of="../other")
    with pytest.raises(TypeError, match="a job is given as a Job or by its name"):
        client.submit("square", {"items": [3]}, retry_of=3)
