"""What is said of jobs of an executor that wait for what is not there."""

import re

from programs import until


def test_what_many_jobs_wait_for_is_told_once_also_of_those_that_are_only_polled(server, caplog):
    with server.executor("square", parallelism=1, queue="nowhere-at-all") as pool:
        futures = [pool.submit(x) for x in range(3)]
        until(lambda: caplog.records)
        # As beyond the first 64, without so many.
        pool._free_streams = 0
        polled = [pool.submit(x) for x in range(3)]
        until(lambda: len(pool._lacks.waiting.get("QueueNotFound", ())) == 6)
        assert len(caplog.records) == 1
        for future in [*futures, *polled]:
            future.cancel()
        until(lambda: not pool._lacks.waiting)
        pool.submit(1)
        until(lambda: len(caplog.records) == 2)
        pool.shutdown(wait=False, cancel_futures=True)
    said = r'job \S+ waits \(QueueNotFound\): queue "nowhere-at-all" is not there'
    assert all(re.fullmatch(said, message) for message in caplog.messages), caplog.messages
