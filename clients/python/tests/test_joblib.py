"""Windlass as a backend of joblib."""

import operator
import sys

import pytest
from conftest import Server

import windlass

joblib = pytest.importorskip("joblib")
import styles  # noqa: E402

import windlass.joblib  # noqa: E402

POOL = {"command": [sys.executable, "-m", "windlass.worker", "--pickle", "windlass.joblib:run"], "inputTypes": ["*/*"]}


@pytest.fixture(scope="module")
def pickling(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("joblib"), ["styles:run"], {**POOL, "warm": {}})
    yield server
    server.stop()


def test_calls_of_joblib_are_jobs(pickling):
    with joblib.parallel_backend("windlass", function="run", client=pickling.async_client, n_jobs=4):
        assert joblib.Parallel()(joblib.delayed(operator.pow)(x, 2) for x in range(20)) == [x * x for x in range(20)]
        # One without a name travels with the call.
        here = joblib.wrap_non_picklable_objects(lambda x: (x / 2, {"set": {x}}))
        assert joblib.Parallel(n_jobs=-1)([joblib.delayed(here)(6)]) == [(3.0, {"set": {6}})]
        # As joblib's own backends do, and with the job.
        with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
            joblib.Parallel()(joblib.delayed(operator.truediv)(1, x) for x in (1, 0))
        assert isinstance(caught.value.__cause__, windlass.JobFailed)
        assert caught.value.__cause__.reason == "FunctionError" and "Traceback" in str(caught.value.__cause__)
        # One that cannot be pickled is told as text.
        with pytest.raises(windlass.JobFailed, match="Closed: a lock"):
            joblib.Parallel()([joblib.delayed(styles.raises_a_lock)()])
    with pickling.client() as client:
        assert {job.spec.function for job in client.list()} == {"run"}
