"""The workloads, and one system's way through all of them."""

import contextlib
import threading
import time
from dataclasses import dataclass, field

from bench import processes
from bench.kernel import Kernel, Work
from bench.load import Loaded, WrongAnswer, load
from bench.systems import Refused, System, Way

TINY_SECONDS = 5e-6
WARM_UP = 24


@dataclass(frozen=True)
class Sizes:
    """How much work there is. CPU-seconds are as calibrated."""

    tiny: int  # requests, one after another
    one_second: tuple  # requests, at a time, CPU-seconds of each
    small: tuple
    mix: tuple  # short requests, at a time, CPU-seconds of a short one, of the long one
    killed: float  # CPU-seconds of the request that is struck
    patience: float  # seconds that its client waits
    probe: float  # seconds of the ideal's probe


FULL = Sizes(200, (16, 8, 1.0), (64, 32, 0.2), (32, 8, 0.1, 4.0), 4.0, 20.0, 1.5)
QUICK = Sizes(20, (8, 8, 0.25), (16, 16, 0.05), (8, 8, 0.05, 1.0), 3.0, 10.0, 0.3)


class Works:
    """The requests of every workload; the same for all systems."""

    def __init__(self, kernel, sizes):
        self.tiny = [Work(10_000 + i, 1, max(1, int(kernel.steps_per_second * TINY_SECONDS))) for i in range(sizes.tiny)]
        self.warm_up = [Work(20_000 + i, 8, self.tiny[0].steps) for i in range(WARM_UP)]
        self.one_second = [kernel.work(30_000 + i, sizes.one_second[2]) for i in range(sizes.one_second[0])]
        self.small = [kernel.work(40_000 + i, sizes.small[2]) for i in range(sizes.small[0])]
        short = [kernel.work(50_000 + i, sizes.mix[2]) for i in range(sizes.mix[0])]
        self.mix = [kernel.work(60_000, sizes.mix[3]), *short]
        self.killed = kernel.work(70_000, sizes.killed)

    def all(self):
        return [*self.tiny, *self.warm_up, *self.one_second, *self.small, *self.mix, self.killed]


@dataclass
class Run:
    """One way to send a workload, measured."""

    label: str
    loaded: Loaded
    before: float  # CPU-seconds of work in a second on bare threads, just before and after
    after: float
    ideal: float  # seconds of the workload on bare threads

    @property
    def percent(self):
        return 100 * self.ideal / self.loaded.total if not self.loaded.problem else None


@dataclass
class Strike:
    """What a kill in mid-request did."""

    victim: str
    client: str = ""
    later: str = ""
    burned: float = 0.0
    left: int = 0


@dataclass
class Measured:
    """One system, measured."""

    system: System
    tiny: list = field(default_factory=list)
    small: list = field(default_factory=list)
    one_second: list = field(default_factory=list)
    mix: list = field(default_factory=list)
    idle: float = None
    peak: processes.Peak = None
    strikes: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    wrong: bool = False
    killed_at_end: int = 0

    @staticmethod
    def best(runs):
        """The quickest; one with a problem only if all have one."""
        return min(runs, key=lambda run: (bool(run.loaded.problem), run.loaded.total), default=None)


class Measuring:
    """Takes systems through the workloads."""

    def __init__(self, kernel: Kernel, sizes: Sizes, works: Works, say):
        self.kernel, self.sizes, self.works, self.say = kernel, sizes, works, say

    def measure(self, system):
        measured = Measured(system)
        self.say(f"{system.name}: starts")
        with self.told(measured):
            try:
                system.up()
                self.loads(system, measured)
            finally:
                measured.killed_at_end = system.down()
        for label in system.victims if measured.tiny else ():  # it works at all
            with self.told(measured):
                self.strike(system, label, measured)
        return measured

    @contextlib.contextmanager
    def told(self, measured):
        """A system that fails is told of in the report; the others are measured all the same."""
        try:
            yield
        except Exception as error:
            measured.problems.append(f"{type(error).__name__}: {error}")
            measured.wrong |= isinstance(error, WrongAnswer)
            self.say(f"{measured.system.name}: {measured.problems[-1]}")

    def warm_up(self, system):
        """All processes have answered before anything is measured."""
        for way in {way.label: way for way in (*system.tiny, *system.one_second)}.values():
            loaded = self.load(system, self.works.warm_up, 8, [way] * WARM_UP, 120)
            if loaded.problem:
                raise RuntimeError(f"while it warms up: {loaded.problem}")

    def load(self, system, works, at_a_time, ways, at_most):
        values = [way.value for way in ways]
        return load(self.kernel, system, works, at_a_time, values, at_most)

    def loads(self, system, measured):
        self.warm_up(system)
        sizes, works = self.sizes, self.works
        for way in system.tiny:
            self.run(measured.tiny, system, works.tiny, 1, [way] * len(works.tiny), way.label)
        for way in system.one_second:
            ways = [way] * len(works.one_second)
            self.run(measured.one_second, system, works.one_second, sizes.one_second[1], ways, way.label)
        for way in system.small:
            ways = [way] * len(works.small)
            self.run(measured.small, system, works.small, sizes.small[1], ways, way.label)
        for long, short in system.mix:
            ways = [long] + [short] * sizes.mix[0]
            label = f"{long.label}, short {short.label}" if long.label != short.label else long.label
            self.run(measured.mix, system, works.mix, sizes.mix[1], ways, label)
        measured.idle = self.idle()
        # Again, watched: watching costs, so that it is no part of the times.
        way = self.way_of(system, measured)
        with processes.Watch() as peak:
            self.load(system, works.one_second, sizes.one_second[1], [way] * len(works.one_second), 120)
        measured.peak = peak

    def way_of(self, system, measured) -> Way:
        best = Measured.best(measured.one_second)
        return next(way for way in system.one_second if way.label == best.label)

    def run(self, runs, system, works, at_a_time, ways, label):
        before = self.probe()
        ideal = self.kernel.seconds(works)
        # Ten times what bare threads take and 2 s a request more than that: slow, but no hang.
        loaded = self.load(system, works, at_a_time, ways, 60 + 10 * ideal + 2 * len(works))
        after = self.probe()
        run = Run(label, loaded, before, after, ideal / ((before + after) / 2))
        told = loaded.problem or f"{loaded.total:.2f} s, {100 * run.ideal / loaded.total:.0f} % of ideal"
        self.say(f"{system.name}: {len(works)} requests, {label}: {told}")
        runs.append(run)
        if loaded.problem.startswith("hangs"):
            raise TimeoutError(loaded.problem)  # its clients still wait, and would disturb what follows

    def probe(self):
        """What bare threads do in a second. What the idle system took from them meanwhile is given back to them."""
        tree = processes.Tree()
        cpu, began = tree.cpu(), time.perf_counter()
        rate = self.kernel.probe()
        return rate + max(0.0, tree.cpu() - cpu) / (time.perf_counter() - began)

    @staticmethod
    def idle(seconds=4):
        """CPU-seconds a second that the system takes when there is nothing to do."""
        time.sleep(seconds / 2)
        tree = processes.Tree()
        cpu, began = tree.cpu(), time.perf_counter()
        time.sleep(seconds)
        return max(0.0, tree.cpu() - cpu) / (time.perf_counter() - began)

    def strike(self, system, label, measured):
        """Kills in mid-request."""
        self.say(f"{system.name}: kills {label}")
        strike = Strike(label)
        try:
            system.up()
            self.warm_up(system)
            self.struck(system, label, strike)
            measured.strikes.append(strike)
        finally:
            system.down()

    def struck(self, system, label, strike):
        work, answered = self.works.killed, threading.Event()
        name, way = "struck", system.one_second[0].value
        outcome = {}

        def client():
            try:
                outcome["value"] = system.request(work, way, name)
            except Exception as error:
                outcome["error"] = f"{error}" if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            answered.set()

        threading.Thread(target=client, daemon=True).start()
        time.sleep(self.sizes.killed / 8)
        victim = system.victim(label)
        if victim is None or answered.is_set():
            strike.client = "could not be struck in time"
            return
        orphans = processes.Orphans(processes.descendants(victim))
        processes.kill(victim)
        began = time.monotonic()
        follower = threading.Thread(target=orphans.follow, args=(2.0, self.sizes.patience))
        follower.start()
        # A supervisor needs a moment, too.
        time.sleep(1)
        system.recover(label)
        answered.wait(self.sizes.patience - 1)
        passed = time.monotonic() - began
        follower.join()
        strike.burned, strike.left = orphans.burned, orphans.left
        if "value" in outcome:
            if not self.kernel.is_right(work, outcome["value"]):
                raise WrongAnswer(f"{system.name} answered {outcome['value']} after a kill")
            strike.client, strike.later = f"yes, {passed:.1f} s after the kill", "-"
            return
        strike.client = f"no: {outcome['error']}" if "error" in outcome else f"no answer in {passed:.0f} s"
        try:
            value = system.find(name, self.sizes.patience)
        except Exception as error:
            strike.later = f"no: {error}"
            return
        if value is None:
            strike.later = "no way to ask for it"
        elif self.kernel.is_right(work, value):
            strike.later = "yes"
        else:
            raise WrongAnswer(f"{system.name} answered {value} after a kill")
