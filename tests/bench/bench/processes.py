"""Processes: starting, ending, watching. Whatever a system starts, and orphans, are descendants of the benchmark."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field

TICK = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36
_started = {}


def adopt_orphans():
    """Makes orphans our children, as they would be init's in a container, and reaps them at once, as init would."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    signal.signal(signal.SIGCHLD, lambda *_: _reap())


def _reap():
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if dead is None:
            return
        if dead.si_pid in _started:
            _started.pop(dead.si_pid).poll()
        try:
            os.waitpid(dead.si_pid, os.WNOHANG)
        except ChildProcessError:
            pass


def start(command, log, env=None, **options):
    """Starts a server. Its output goes to the log, away from the terminal's Ctrl-C."""
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            **options,
        )
    _started[process.pid] = process
    return process


def end(processes, seconds=15):
    """One after another: SIGTERM, then SIGKILL."""
    for process in processes:
        if process.poll() is not None:
            continue
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_all():
    """Kills what is left of everything that the benchmark has started. How many that were."""
    found, patient_until = set(), time.monotonic() + 3
    while True:
        left = [seen for seen in Tree().scan().values() if seen.state != "Z"]
        if not left:
            break
        # Python's trackers remove the semaphores that their dead have left, and end.
        patient = time.monotonic() < patient_until
        doomed = [seen.pid for seen in left if not (patient and "resource_tracker" in seen.command)]
        found.update(doomed)
        for pid in doomed:
            kill(pid)
        time.sleep(0.02)
    _reap()
    return len(found)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Seen:
    """One process, as /proc shows it."""

    pid: int
    parent: int
    state: str
    threads: int
    cpu: float

    @property
    def command(self):
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as file:
                return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""


def look(pid):
    """A process, or None when it is gone. A dead one that nobody has waited for is state Z."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    cpu = (int(words[11]) + int(words[12])) / TICK
    return Seen(pid, int(words[1]), words[0].decode(), int(words[17]), cpu)


class Tree:
    """The descendants of a process, by default this one. Scanning again skips what was seen to be foreign."""

    def __init__(self, root=None):
        self.root = root or os.getpid()
        self.foreign = {self.root}

    def scan(self):
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self.foreign &= pids
        seen = {pid: process for pid in pids - self.foreign if (process := look(pid))}
        tree, rest = {}, dict(seen)
        while True:
            more = [pid for pid, p in rest.items() if p.parent == self.root or p.parent in tree]
            if not more:
                break
            for pid in more:
                tree[pid] = rest.pop(pid)
        self.foreign |= set(rest)
        return tree


    def cpu(self):
        """CPU-seconds of those that live."""
        return sum(seen.cpu for seen in self.scan().values())


def descendants(pid):
    return {p: seen for p, seen in Tree(pid).scan().items() if seen.state != "Z"}


def busiest(pids, seconds=0.15):
    """Of these processes the one whose tree uses most CPU just now."""

    def cpu(pid):
        own = look(pid)
        return (own.cpu if own else 0) + sum(seen.cpu for seen in descendants(pid).values())

    before = {pid: cpu(pid) for pid in pids}
    time.sleep(seconds)
    return max(pids, key=lambda pid: cpu(pid) - before[pid], default=None)


def _memory(pid):
    """Bytes: shared pages in equal parts to those who share them."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _runnable(process):
    """Threads that run or wait for a CPU."""
    if process.threads == 1:
        return process.state == "R"
    count = 0
    try:
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            with open(f"/proc/{process.pid}/task/{thread}/stat", "rb") as file:
                count += file.read().rpartition(b")")[2].split(None, 1)[0] == b"R"
    except OSError:
        pass
    return count


@dataclass
class Peak:
    """What the system's processes took while they were watched."""

    processes: int = 0
    memory: int = 0
    runnable: list = field(default_factory=list)


class Watch:
    """Watches the process tree in a thread: runnable threads every 10 ms, memory four times a second."""

    def __enter__(self):
        self.peak, self._ended = Peak(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self.peak

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        except OSError:
            pass  # not root: samples may come late, which hides nothing that lasts
        tree, peak, memory_at = Tree(), self.peak, 0.0
        while not self._ended.wait(0.01):
            alive = [p for p in tree.scan().values() if p.state != "Z"]
            peak.processes = max(peak.processes, len(alive))
            peak.runnable.append(sum(_runnable(process) for process in alive))
            if time.monotonic() >= memory_at:
                peak.memory = max(peak.memory, sum(_memory(p.pid) for p in alive))
                memory_at = time.monotonic() + 0.25


class Orphans:
    """What became of processes whose parent was killed: the CPU they burned since, and how many live on."""

    def __init__(self, pids):
        self.cpu = {pid: [seen.cpu, seen.cpu] for pid in pids if (seen := look(pid))}
        self.left = None

    def follow(self, report_at, at_most):
        """Follows them until all are gone, at most so many seconds; counts at `report_at` seconds."""
        began = time.monotonic()
        while True:
            alive = 0
            for pid, spent in self.cpu.items():
                seen = look(pid)
                if seen and seen.cpu >= spent[1] and seen.state != "Z":
                    spent[1] = seen.cpu
                    alive += 1
            passed = time.monotonic() - began
            if self.left is None and (passed >= report_at or not alive):
                self.left = alive
            if not alive or passed >= at_most:
                return
            time.sleep(0.01)

    @property
    def burned(self):
        return sum(last - first for first, last in self.cpu.values())
