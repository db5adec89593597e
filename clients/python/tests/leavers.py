"""Functions that leave something behind in their process, by name; and some that look at what is there."""

import ctypes
import decimal
import gc
import locale
import os
import pathlib
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time

kept = []
# Of the import.
FILE = os.open("/etc/hostname", os.O_RDONLY)


def leave(kind):
    """Leaves it; the number of its process."""
    {
        "nothing": lambda: None,
        "thread": lambda: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(),
        "child": lambda: kept.append(subprocess.Popen(["sleep", "60"])),
        "ended child": lambda: kept.append(subprocess.Popen(["true"])),
        "grandchild": lambda: kept.append(subprocess.Popen(["sh", "-c", "sleep 60 & wait"])),
        "variable": lambda: os.environ.update(LEFT="1"),
        "fewer variables": lambda: os.environ.pop("PATH"),
        "directory": lambda: os.chdir("/"),
        "umask": lambda: os.umask(0o111),
        "handler": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
        "mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2}),
        "alarm": lambda: signal.alarm(100),
        "profile timer": lambda: signal.setitimer(signal.ITIMER_PROF, 100, 100),
        "session": os.setsid,
        "trace": lambda: sys.settrace(lambda *_: None),
        "recursion": lambda: sys.setrecursionlimit(5000),
        "collector": gc.disable,
        "limit": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        "niceness": lambda: os.nice(1),
        "file": lambda: kept.append(opened()),
        "file in reach of nobody": lambda: cycle(opened()),
        "descriptor": lambda: os.dup2(os.open("/dev/null", os.O_RDWR), 1),
        "stdout": lambda: setattr(sys, "stdout", sys.stderr),
        "closed stdout": lambda: sys.stdout.close(),
        "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
        "memory": lambda: kept.append(b"x" * (200 << 20)),
        "native thread": lambda: native_thread("pause"),
        "busy native thread": lambda: native_thread("busy"),
        "globals": lambda: (kept.append("a global"), random.seed(1)),
        "path": lambda: sys.path.append("/left"),
        "temporary file": lambda: tempfile.mkstemp(),
        "joined thread": joined,
        # What scikit-learn, matplotlib, polars and tqdm keep from their first use on.
        "library's variable": lambda: os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "True"),
        "library's file": lambda: kept or kept.append(os.open(os.path.join(sys.prefix, "pyvenv.cfg"), os.O_RDONLY)),
        "library's file to write": lambda: kept.append(os.open(os.path.join(sys.prefix, "pyvenv.cfg"), os.O_RDWR)),
        "library's descriptors": lambda: kept or kept.extend(select.epoll() for _ in range(64)),
        "many library's descriptors": lambda: kept.extend(select.epoll() for _ in range(65)),
        "file in a library's number": lambda: os.dup2(os.open("/etc/passwd", os.O_RDONLY), kept[0].fileno()),
        "library's descriptor in another's number": lambda: os.dup2(kept_open().fileno(), FILE),
        "thread of a bar": lambda: kept or kept.append(monitor("tqdm._monitor")),
        "thread like a bar's": lambda: kept.append(monitor("mine")),
    }[kind]()
    return os.getpid()


def kept_open():
    kept.append(select.epoll())
    return kept[-1]


def monitor(module):
    kind = type("TMonitor", (threading.Thread,), {"__module__": module})
    thread = kind(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread


def opened():
    return pathlib.Path("/etc/passwd").open()


def cycle(file):
    kept_by_itself = [file]
    kept_by_itself.append(kept_by_itself)


def joined(_=None):
    threads = [threading.Thread(target=sum, args=(range(1000),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def native_thread(kind):
    """A thread that Python does not know; it waits, or computes."""
    library = ctypes.CDLL(None)
    function = ctypes.cast(library.pause, ctypes.c_void_p)
    if kind == "busy":
        # An endless loop: `jmp` to itself.
        import mmap

        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xeb\xfe")
        kept.append(code)
        function = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    thread = ctypes.c_ulong()
    assert library.pthread_create(ctypes.byref(thread), None, function, None) == 0


def precision(digits):
    """The precision until now; sets another."""
    before = decimal.getcontext().prec
    decimal.getcontext().prec = digits
    return before


def variables(_):
    return {name: value for name, value in os.environ.items() if name.startswith("WINDLASS") or name == "TRACEPARENT"}


def stubborn(seconds):
    """Does not heed SIGTERM, nor does its child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return work_with_child(seconds)


def work_with_child(seconds):
    subprocess.run(["sleep", str(seconds)], check=False)
    return os.getpid()


def heavy(seconds):
    """Imports much at its first call; the number of its process."""
    import numpy

    time.sleep(seconds)
    return os.getpid() + int(numpy.zeros(1)[0])


def busy(seconds):
    """Computes for so long; its process and when."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        pass
    return [os.getpid(), began, time.monotonic()]
