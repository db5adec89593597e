"""What the figures were measured on, and with."""

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess

from bench.kernel import CPUS, SOURCES

PACKAGES = ["Flask", "gunicorn", "celery", "redis", "ray", "distributed", "hyperqueue"]


def _said(*command):
    try:
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=20)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "?"


def _find(path, pattern):
    try:
        with open(path) as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else "?"


def describe(windlass):
    """Pairs of what and which."""
    memory = _find("/proc/meminfo", r"^MemTotal: +(\d+)")
    commit = _said("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    virtual = "hypervisor" in _find("/proc/cpuinfo", r"^flags\s*:(.*)$").split()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    redis = re.search(r"v=(\S+)", _said("redis-server", "--version"))
    nginx = _said("nginx", "-v").rpartition("/")[2]
    return [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("CPU", _find("/proc/cpuinfo", r"^model name\s*:(.*)$") + (", virtual" if virtual else "")),
        ("CPUs", f"{CPUS} of {os.cpu_count()}"),
        ("memory", f"{int(memory) / (1 << 20):.1f} GiB" if memory.isdigit() else "?"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("system", _find("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)')),
        ("load before", f"{os.getloadavg()[0]:.2f}"),
        ("Windlass", f"{_said(windlass, '--version').split()[-1]}, benchmark at commit {commit}"),
        ("compiler", _said("rustc", "--version")),
        ("Python", platform.python_version()),
        ("alternatives", ", ".join([*versions, f"nginx {nginx}", f"Redis {redis.group(1) if redis else '?'}"])),
    ]
