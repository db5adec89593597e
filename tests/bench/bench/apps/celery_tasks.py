"""The Celery application: one task, a chunk. Set as Celery advises for long tasks that may be repeated."""

import os

from celery import Celery

from bench.chunk import chunk

redis = os.environ["BENCH_REDIS"]
app = Celery("bench", broker=redis, backend=redis)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


@app.task
def run(seed, first, last, steps):
    return chunk(seed, first, last, steps)
