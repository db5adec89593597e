"""What a process of the pool finds around itself."""

import gc
import os
import signal
import sys
import threading


def tell(_):
    sys.stdout.write("a line without an end, ")
    # The listing's own descriptor, those of tasks and results, and the three that all have.
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "stdin": os.readlink("/proc/self/fd/0"),
        "handlers": [signal.getsignal(number) == signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGCHLD)],
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "threads": threading.active_count(),
        "serve": os.environ.get("WINDLASS_SERVE"),
        "collects": gc.isenabled(),
        "main": sys.modules["__main__"].__name__,
        "parents": sorted(name for name in sys.modules if name.split(".")[0] in ("inside", "numpy")),
    }
