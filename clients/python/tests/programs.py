"""Programs that use a server, and what is waited for."""

import subprocess
import sys
import time


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)


def script(server, text, cwd=None):
    """A program that has `pool` and `client`; started."""
    begin = f"""
import windlass, sys
make = lambda kind: kind({server.url!r}, data={str(server.data)!r})
client = make(windlass.Client)
pool = windlass.Executor("slow", client=lambda: make(windlass.AsyncClient))
"""
    command = [sys.executable, "-c", begin + text]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, cwd=cwd, **pipes)
