#!/usr/bin/env python3
"""Draws the diagrams of ARCHITECTURE.md, with Python's standard library alone.

`diagrams.py` writes them; `diagrams.py --check` fails when a committed one is not what this program draws.

In: walkthroughs/*.txt, one message or note on a line (`a -> b: text`, `a --> b: text`, `a: text`).
Out: an SVG of the same name for each of them, and system.svg.
"""

import html
import pathlib
import sys

HERE = pathlib.Path(__file__).parent

FONT = "font-family=\"'DejaVu Sans', Verdana, 'Helvetica Neue', Arial, sans-serif\""
INK = "#1f2937"
FAINT = "#6b7280"
BLUE = "#1d4ed8"
# Fills of boxes: processes of ours, of Kubernetes or the system, what a user brings, what is stored.
OURS = "#dbeafe"
THEIRS = "#f1f5f9"
USERS = "#dcfce7"
STORED = "#fef3c7"


def width(text, size):
    """The width of a text, from above: the widest of the fonts takes 0.57 of its size for a letter of English."""
    return len(text) * size * 0.57


class Svg:
    """An SVG document that grows."""

    def __init__(self, title):
        self.title = title
        self.parts = []

    def text(self, x, y, text, size=13, anchor="middle", fill=INK, weight="normal", over_lines=False):
        halo = ' paint-order="stroke" stroke="#ffffff" stroke-width="5"' if over_lines else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
            f'font-weight="{weight}"{halo}>{html.escape(text)}</text>'
        )

    def box(self, x, y, w, h, fill, stroke="#94a3b8", radius=6, dash=""):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{radius}" fill="{fill}" '
            f'stroke="{stroke}"{dashes}/>'
        )

    def line(self, points, arrow=True, dash="", stroke=BLUE):
        marker = ' marker-end="url(#arrow)"' if arrow else ""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.4"{dashes}{marker}/>'
        )

    def done(self, w, h):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:g}" height="{h:g}" viewBox="0 0 {w:g} {h:g}" '
            f'role="img" {FONT}>'
        )
        marker = (
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z" fill="{BLUE}"/></marker></defs>'
        )
        ground = f'<rect width="{w:g}" height="{h:g}" fill="#ffffff"/>'
        title = f"<title>{html.escape(self.title)}</title>"
        return "\n".join([head, title, marker, ground, *self.parts, "</svg>", ""])


# --- One walkthrough: lanes from left to right, time from top to bottom. -----------------------------


def walkthrough(source):
    title, lanes, steps = "", {}, []
    for line in source.splitlines():
        if line.startswith("title "):
            title = line[len("title ") :]
        elif line.startswith("lane "):
            _, key, name = line.split(" ", 2)
            lanes[key] = name
        elif line:
            ends, text = line.split(": ", 1)
            steps.append((ends.split(), text))

    size, row, top = 12, 34, 74
    keys = list(lanes)
    # Wide enough for each text between its lanes: notes stand beside no other, arrows cross any number of lanes.
    gap = 175
    for ends, text in steps:
        if len(ends) == 3:
            crossed = abs(keys.index(ends[0]) - keys.index(ends[2]))
            gap = max(gap, (width(text, size) + 30) / crossed)
    margin = 100
    for ends, text in steps:
        if len(ends) == 1 and keys.index(ends[0]) in (0, len(keys) - 1):
            margin = max(margin, width(text, size) / 2 + 42)
    at = {key: margin + index * gap for index, key in enumerate(keys)}
    total = 2 * margin + (len(keys) - 1) * gap
    bottom = top + row * len(steps)

    svg = Svg(title)
    svg.text(16, 24, title, size=15, anchor="start", weight="bold")
    for key, x in at.items():
        svg.line([(x, top - 14), (x, bottom)], arrow=False, dash="3 4", stroke="#cbd5e1")
        first = lanes[key].rpartition(": ")[2].split()[0]
        svg.box(x - 70, top - 38, 140, 26, OURS if first in OF_WINDLASS else THEIRS)
        svg.text(x, top - 21, lanes[key], size=12, weight="bold")
    for index, (ends, text) in enumerate(steps):
        y = top + 12 + index * row
        svg.text(16, y + 4, str(index + 1), size=11, fill=FAINT)
        if len(ends) == 1:
            x, w = at[ends[0]], width(text, size) + 16
            svg.box(x - w / 2, y - 11, w, 23, "#ffffff", stroke=INK)
            svg.text(x, y + 4.5, text, size=size)
        else:
            a, b = at[ends[0]], at[ends[2]]
            svg.text((a + b) / 2, y - 1, text, size=size, over_lines=True)
            svg.line([(a, y + 6), (b - 2 if b > a else b + 2, y + 6)], dash="6 4" if ends[1] == "-->" else "")
    return svg.done(total, bottom + 10)


# Lanes that are processes of Windlass, by the first word of what they are.
OF_WINDLASS = {"Gateway", "Controller", "worker", "Worker", "Old", "New"}


# --- The system: who talks to whom, and where things are kept. ---------------------------------------


def system():
    svg = Svg("The processes of Windlass on a cluster and on one machine, and what each of them stores")

    def node(x, y, w, h, name, fill, *lines):
        svg.box(x, y, w, h, fill)
        svg.text(x + w / 2, y + 21, name, size=13, weight="bold")
        for index, line in enumerate(lines):
            svg.text(x + w / 2, y + 39 + 16 * index, line, size=11, fill="#374151")

    # The cluster.
    svg.box(14, 14, 566, 520, "#ffffff", dash="6 4", radius=10)
    svg.text(30, 38, "On a Kubernetes cluster", size=15, anchor="start", weight="bold")
    node(40, 58, 220, 48, "Client", USERS, "curl, Python, windlass")
    node(340, 58, 214, 48, "kubectl", USERS, "apply, get, wait")
    node(40, 156, 220, 66, "Gateway", OURS, "REST, events, worker reports", "one or more replicas")
    kept = ("ComputeFunction", "ComputeQueue: claims", "ComputeJob: spec, status", "batch Job, pod")
    node(340, 156, 214, 114, "API server and etcd", STORED, *kept)
    node(340, 330, 214, 66, "Controller", OURS, "reconcile: admit, plan, apply", "one leads, others stand by")
    node(40, 430, 220, 86, "Pod of an attempt", OURS, "windlass worker", "starts the function,", "with N CPUs")
    node(40, 290, 150, 66, "Object store", STORED, "results above 32 KiB:", "S3 or a volume")
    svg.line([(150, 106), (150, 156)])
    svg.text(158, 135, "HTTP", size=11, anchor="start", fill=FAINT)
    svg.line([(447, 106), (447, 156)])
    svg.line([(260, 176), (340, 176)])
    svg.text(300, 169, "create", size=11, fill=FAINT)
    svg.line([(260, 206), (340, 206)])
    svg.text(300, 199, "status", size=11, fill=FAINT)
    svg.line([(440, 330), (440, 270)])
    svg.text(433, 305, "writes", size=11, anchor="end", fill=FAINT)
    svg.line([(474, 270), (474, 330)], dash="6 4")
    svg.text(482, 305, "watches", size=11, anchor="start", fill=FAINT)
    svg.line([(554, 250), (570, 250), (570, 473), (260, 473)], dash="6 4")
    svg.text(300, 466, "kubelet starts the pod", size=11, anchor="start", fill=FAINT)
    svg.line([(115, 222), (115, 290)])
    svg.text(123, 262, "stores", size=11, anchor="start", fill=FAINT)
    svg.line([(225, 430), (225, 222)])
    svg.text(233, 392, "reports", size=11, anchor="start", fill=FAINT)

    # One machine.
    svg.box(600, 14, 346, 520, "#ffffff", dash="6 4", radius=10)
    svg.text(616, 38, "On one machine", size=15, anchor="start", weight="bold")
    node(640, 58, 266, 48, "Client", USERS, "curl, Python, windlass")
    svg.box(626, 146, 294, 170, "#ffffff", stroke="#64748b")
    svg.text(906, 165, "windlass serve", size=12, anchor="end", weight="bold")
    node(640, 176, 120, 62, "Gateway", OURS, "REST, events")
    node(786, 176, 120, 62, "Engine", OURS, "admit, plan,", "apply")
    node(640, 258, 266, 46, "Data directory", STORED, "SQLite, results, logs")
    node(640, 366, 266, 62, "windlass worker", OURS, "one for each attempt;", "it holds the attempt's lock")
    node(640, 468, 266, 48, "Function", USERS, "N threads on CPUs of its own")
    svg.line([(700, 106), (700, 176)])
    svg.text(708, 135, "HTTP", size=11, anchor="start", fill=FAINT)
    svg.line([(760, 207), (786, 207)])
    svg.line([(846, 238), (846, 258)])
    svg.line([(820, 316), (820, 366)])
    svg.text(828, 345, "order", size=11, anchor="start", fill=FAINT)
    svg.line([(726, 366), (726, 316)])
    svg.text(718, 345, "reports", size=11, anchor="end", fill=FAINT)
    svg.line([(773, 428), (773, 468)])

    for x, fill, name in ((30, OURS, "Windlass"), (150, STORED, "what is stored"), (310, USERS, "yours")):
        svg.box(x, 548, 16, 16, fill, radius=3)
        svg.text(x + 24, 561, name, size=12, anchor="start", fill=FAINT)
    return svg.done(960, 578)


def main():
    drawn = {"system": system()}
    for source in sorted((HERE / "walkthroughs").glob("*.txt")):
        drawn[source.stem] = walkthrough(source.read_text())
    stale = []
    for name, now in drawn.items():
        path = HERE / f"{name}.svg"
        if "--check" not in sys.argv:
            path.write_text(now)
        elif not path.exists() or path.read_text() != now:
            stale.append(path.name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not what docs/pictures/diagrams.py draws; run it")


if __name__ == "__main__":
    main()
