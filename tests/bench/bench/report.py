"""The report, in Markdown that can be read on a terminal, too."""

from typing import NamedTuple

from bench.kernel import CPUS, Kernel
from bench.workloads import Measured


def table(head, rows):
    rows = [[str(cell).replace("|", "/").replace("\n", " ") for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def _ms(seconds):
    if seconds is None:
        return "-"
    return f"{1000 * seconds:.1f}" if seconds < 0.1 else f"{1000 * seconds:.0f}"


def _timed(run):
    if run is None:
        return "-"
    if run.loaded.problem:
        return run.loaded.problem[:70]
    return f"{run.loaded.total:.2f} s, {run.percent:.0f} %"


def speed(all_measured):
    rows = []
    for m in all_measured:
        tiny, second, small, mix = (Measured.best(r) for r in (m.tiny, m.one_second, m.small, m.mix))
        rows.append([
            m.system.name,
            f"{_ms(tiny.loaded.percentile(50))} / {_ms(tiny.loaded.percentile(99))}" if tiny else "-",
            _timed(second),
            _timed(small),
            _timed(mix),
            _ms(mix.loaded.percentile(99, start=1)) if mix else "-",
        ])  # fmt: skip
    return rows


def takes(all_measured):
    rows = []
    for m in all_measured:
        small, peak = Measured.best(m.small), m.peak
        runnable = sorted(peak.runnable) if peak and peak.runnable else []
        rows.append([
            m.system.name,
            peak.processes if peak else "-",
            f"{peak.memory / (1 << 20):.0f}" if peak else "-",
            f"{runnable[-1]} / {sum(runnable) / len(runnable):.1f}" if runnable else "-",
            f"{100 * m.idle:.1f} %" if m.idle is not None else "-",
            f"{1000 * small.loaded.client_cpu / len(small.loaded.seconds):.1f}" if small else "-",
        ])  # fmt: skip
    return rows


def strikes(all_measured):
    return [
        [m.system.name, s.victim, s.client[:110], s.later[:70], f"{s.burned:.1f}", s.left]
        for m in all_measured
        for s in m.strikes
    ]


def ways(all_measured):
    rows = []
    for m in all_measured:
        for load in ("tiny", "one_second", "small", "mix"):
            for run in getattr(m, load):
                rows.append([
                    m.system.name,
                    load.replace("_", " "),
                    run.label + (", in the table" if run is Measured.best(getattr(m, load)) else ""),
                    _timed(run) if load != "tiny" else f"{_ms(run.loaded.percentile(50))} ms",
                    f"{_ms(run.loaded.percentile(50, start=load == 'mix'))} / "
                    f"{_ms(run.loaded.percentile(99, start=load == 'mix'))}",
                    _ms(run.loaded.seconds[0]) if load == "mix" else "",
                    f"{run.before:.2f} / {run.after:.2f}",
                ])  # fmt: skip
    return rows


class Conditions(NamedTuple):
    """Under which all of it was measured."""

    machine: list
    kernel: Kernel
    direct: float
    """CPU-seconds of work that bare threads did in a second while the answers were computed."""
    minutes: float
    is_quick: bool


def write(all_measured, sizes, conditions):
    second, small, mix = sizes.one_second, sizes.small, sizes.mix
    probes = [p for m in all_measured for r in (m.one_second, m.small, m.mix) for run in r for p in (run.before, run.after)]
    parts = ["# Windlass beside its alternatives"]
    if conditions.is_quick:
        parts.append("**Quick: too little work for figures that mean something.**")
    if probes and min(probes) < 0.93 * max(probes):
        parts.append(
            f"**The machine was not quiet: bare threads did {min(probes):.2f} to {max(probes):.2f} CPU-s of work a second. "
            "The figures are rough.**"
        )
    parts += [
        "Written by `tests/bench/run`; what is measured and how fairness is kept is in [README.md](README.md). "
        "One run, the same native kernel in all systems, every answer checked. "
        "% is of ideal: the time that bare threads would have taken, from what they did just before and after, by the time taken.",
        "## Speed",
        table(
            ["", "tiny request p50 / p99 ms", f"{second[0]} x {second[2]:g} CPU-s, {second[1]} at a time",
             f"{small[0]} x {small[2]:g} CPU-s, {small[1]} at a time",
             f"one of {mix[3]:g} CPU-s and {mix[0]} of {mix[2]:g}, {mix[1]} at a time", "short ones' p99 ms"],
            speed(all_measured),
        ),
        "## What it takes",
        f"While the requests of {second[2]:g} CPU-s run, watched in a run of their own. Memory is PSS of the system's processes, "
        "without a client. Threads are those that run or wait for a CPU, sampled every 10 ms. The client's own CPU time is of "
        f"the load of {small[2]:g} CPU-s; Ray's, Dask's and HyperQueue's client libraries are in it.",
        table(
            ["", "processes", "memory, MiB", f"runnable threads, most / mean ({CPUS} CPUs)", "of a CPU when idle",
             "client CPU, ms a request"],
            takes(all_measured),
        ),
        "## A process is killed in mid-request",
        f"SIGKILL, {sizes.killed / 8:g} s into a request of {sizes.killed:g} CPU-s. What is left over are processes that the killed one "
        "had started: the CPU time that they burn after it, and how many still are there after 2 s.",
        table(
            ["", "killed", "does its client get the result?", "is it still to be had?", "CPU-s burned", "left after 2 s"],
            strikes(all_measured),
        ),
        "## Every way that was measured",
        "Requests can be split in several ways; the tables above have the quickest. The last column is the machine: CPU-seconds "
        "of work that bare threads did in a second, before and after.",
        table(
            ["", "load", "way", "time, % of ideal", "p50 / p99 ms", "long one, ms", "machine before / after"],
            ways(all_measured),
        ),
    ]  # fmt: skip
    problems = [f"- {m.system.name}: {problem[:300]}" for m in all_measured for problem in m.problems]
    problems += [
        f"- {m.system.name}: {m.killed_at_end} processes did not end by themselves and were killed"
        for m in all_measured
        if m.killed_at_end
    ]
    if problems:
        parts += ["## Problems", "\n".join(problems)]
    parts += [
        "## Systems",
        "\n".join(f"- {m.system.name}: {m.system.about}." for m in all_measured),
        "## Machine",
        table(["", ""], [list(pair) for pair in conditions.machine]),
        f"Kernel: {conditions.kernel.steps_per_second / 1e6:.0f} million steps a CPU-second. All answers computed directly, on bare "
        f"threads: {conditions.direct:.2f} CPU-s of work a second; the probes between the loads: {min(probes, default=0):.2f} to "
        f"{max(probes, default=0):.2f}. The run took {conditions.minutes:.0f} minutes.",
    ]
    return "\n\n".join(parts) + "\n"
