"""How the processes of `windlass.worker` get their items."""

import collections

from windlass import _pool
from windlass._context import Progress
from windlass._process import Target

PROCESSES = 64
IMPORT_SECONDS, ITEM_SECONDS = 5.0, 1e-6


class Clock:
    seconds = 0.0

    def monotonic(self):
        return self.seconds


class FakeProcess:
    """It imports for seconds, and answers quickly."""

    is_of_job, is_ready = True, False

    def __init__(self):
        self.unanswered = collections.deque()
        self.chunks = []

    def begin(self, told):
        pass

    def give(self, first, given, flags):
        self.unanswered.extend(range(first, first + len(given)))
        self.chunks.append(len(given))


class FakePool(_pool.Pool):
    def __init__(self, clock):
        super().__init__(Target("module:function", False), PROCESSES)
        self.clock = clock
        self.processes = [FakeProcess() for _ in range(PROCESSES)]

    def choose(self):
        return self.processes

    def heard(self, wait=True):
        if not self.processes[0].is_ready:
            self.clock.seconds += IMPORT_SECONDS
        for process in self.processes:
            self.clock.seconds += ITEM_SECONDS * len(process.unanswered) / PROCESSES
            answers = [(index, b"1") for index in process.unanswered]
            process.unanswered.clear()
            process.is_ready = True
            yield process, answers


def test_the_time_of_an_import_is_none_of_the_items(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_pool, "time", clock)
    count = 1_000_000
    outcomes = _pool.Outcomes(count, keeps_going=False)
    pool = FakePool(clock)
    pool.map(_pool.Work([0] * count, {}, None, outcomes, None), Progress(None))
    assert all(outcomes.results)
    for process in pool.processes:
        assert process.chunks[0] == 1 and process.chunks[1] > 1000, process.chunks
