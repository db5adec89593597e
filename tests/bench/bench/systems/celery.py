"""Celery: a web tier in Gunicorn that splits a request into a group of subtasks, Redis, and prefork workers."""

import shutil

from bench import processes
from bench.kernel import CPUS, UNITS
from bench.systems import Way, WebSystem, chunks


class Celery(WebSystem):
    key = "celery"
    name = "Celery on Redis"
    about = (
        "Flask in Gunicorn (2 x cores + 1 sync workers), a group of subtasks per request, as many prefork workers as "
        "CPUs, prefetch 1, acks late, lost tasks queued again; Redis without persistence"
    )
    one_second = [*chunks(4), Way(f"{UNITS} subtasks", UNITS)]
    mix = [(chunks(4)[0], chunks(1)[0]), (Way(f"{UNITS} subtasks", UNITS), chunks(1)[0])]
    victims = ("the pool process", "the whole worker, then restarted")

    def start(self):
        redis, self.port = processes.free_port(), processes.free_port()
        command = [shutil.which("redis-server"), "--bind", "127.0.0.1", "--port", redis, "--save", "",
                   "--appendonly", "no", "--dir", self.directory]  # fmt: skip
        self.redis = processes.start(command, self.log("redis"))
        self.env = {"BENCH_REDIS": f"redis://127.0.0.1:{redis}/0"}
        self.gunicorn("bench.apps.celery_web:app", self.port, self.env)
        self.work()
        self.processes = [self.web, self.worker, self.redis]

    def work(self):
        command = [self.bench.program("celery"), "--app", "bench.apps.celery_tasks", "worker", "--pool", "prefork",
                   "--concurrency", CPUS, "--without-gossip", "--without-mingle"]  # fmt: skip
        self.worker = processes.start(command, self.log("celery"), self.env)

    def victim(self, label):
        if label == self.victims[1]:
            return self.worker.pid
        pool = [p.pid for p in processes.descendants(self.worker.pid).values() if p.parent == self.worker.pid]
        return processes.busiest(pool)

    def recover(self, label):
        if label == self.victims[1]:
            self.work()
            self.processes.insert(1, self.worker)
