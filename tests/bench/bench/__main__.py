"""`python -m bench`, as tests/bench/run calls it."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import kernel, machine, processes, report
from bench.systems import all_systems
from bench.workloads import FULL, QUICK, Measuring, Works


class Bench:
    """What every system is told."""

    def __init__(self, directory, windlass, function):
        self.directory, self.windlass, self.function = directory, windlass, function

    def program(self, name):
        """A program of the Python environment."""
        return Path(sys.executable).parent / name


def arguments():
    systems = {system.key: system for system in all_systems()}
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--only", metavar="NAME,...", help=f"only these of: {', '.join(systems)}")
    parser.add_argument("--quick", action="store_true", help="little work, to see whether everything runs")
    parser.add_argument(
        "--report", metavar="FILE", type=Path,
        help="where to write it [default: tests/bench/report.md for a whole run, else nowhere]",
    )  # fmt: skip
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(systems)
    if unknown := [name for name in names if name not in systems]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(systems)}")
    args.systems = [systems[name] for name in names]
    if args.report is None and not args.only and not args.quick:
        args.report = kernel.SOURCES / "report.md"
    return args


def main():
    args = arguments()
    began = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    windlass = Path(os.environ["WINDLASS_BIN"]).resolve()
    library, function = kernel.build(os.environ["BENCH_CACHE"])
    os.environ["BENCH_KERNEL"] = str(library)
    described = machine.describe(windlass)
    sizes = QUICK if args.quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processes.adopt_orphans()
    directory = Path(tempfile.mkdtemp(prefix="windlass-bench-"))
    all_measured = []
    try:
        calibrated = kernel.Kernel(sizes.probe)
        works = Works(calibrated, sizes)
        say("computes the answers directly")
        direct = calibrated.expect(works.all())
        say(f"{calibrated.steps_per_second / 1e6:.0f} M steps a CPU-second, {direct:.2f} CPU-s of work a second")
        measuring = Measuring(calibrated, sizes, works, say)
        bench = Bench(directory, windlass, function)
        for system in args.systems:
            all_measured.append(measuring.measure(system(bench)))
    finally:
        processes.end_all()
        shutil.rmtree(directory, ignore_errors=True)
    minutes = (time.monotonic() - began) / 60
    conditions = report.Conditions(described, calibrated, direct, minutes, args.quick)
    text = report.write(all_measured, sizes, conditions)
    # Nobody's directories belong into a report that others read.
    for path, name in ((directory, "DIR"), (kernel.SOURCES, "tests/bench"), (Path.home(), "~")):
        text = text.replace(f"{path}/", f"{name}/").replace(str(path), name)
    print(text)
    if args.report:
        args.report.write_text(text)
        say(f"written to {args.report}")
    bad = any(m.wrong or (m.problems and m.system.key.startswith("windlass")) for m in all_measured)
    # Threads of a system that hangs must not keep this one.
    sys.stdout.flush()
    os._exit(1 if bad or not all_measured else 0)


if __name__ == "__main__":
    main()
