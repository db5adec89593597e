"""Records the README's terminal and renders its scene: `record.py WINDLASS`. docs/pictures/make calls it.

The commands below run in a pseudo-terminal, and what they write is kept with the time at which they wrote it.
Only the typing is made up. pyte, a terminal emulator, knows what the screen shows; terminal.svg shows each row of
the screen as a film.

Out: terminal.svg and scene.png in this directory.
"""

import fcntl
import html
import os
import pathlib
import pty
import select
import shutil
import struct
import sys
import tempfile
import termios
import time

import pyte

HERE = pathlib.Path(__file__).parent
TOP = HERE.parent.parent

COLUMNS, ROWS = 88, 11
PROMPT = "\x1b[32m$\x1b[0m "
KEY_SECONDS = 0.035
PAUSE_SECONDS = 0.8
LAST_SECONDS = 5.0
# The screen is looked at so often: a bar that moves more often costs bytes and shows no more.
FRAME_SECONDS = 0.1

COMMANDS = [
    "windlass run price --input @examples/longstaff-schwartz.json --output prices.json",
    "python3 -m json.tool prices.json | head -5",
    "windlass run render --input @examples/scene.json --output scene.png",
]

# The colours of a dark terminal, and where a letter is.
INK = {"default": "#e5e7eb", "green": "#4ade80", "red": "#f87171", "brown": "#fbbf24", "cyan": "#67e8f9"}
PAPER, FRAME = "#111827", "#1f2937"
LETTER, LINE, TOP_BAR, MARGIN = 8.4, 19, 32, 14


class Recording:
    """What the screen shows, row by row, and since when."""

    def __init__(self):
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.now = 0.0
        # Of each row: since when, and what.
        self.rows = [[(0.0, ())] for _ in range(ROWS)]

    def write(self, data):
        self.stream.feed(data)

    def look(self):
        for number, films in enumerate(self.rows):
            shown = self.runs(number)
            if films[-1][1] != shown:
                films.append((self.now, shown))

    def runs(self, number):
        """A row as texts of one colour, each with its column."""
        runs = []
        line = self.screen.buffer[number]
        for column in range(COLUMNS):
            letter = line[column]
            colour = letter.fg if letter.fg in INK else "default"
            if runs and runs[-1][1] == colour:
                runs[-1][2] += letter.data
            else:
                runs.append([column, colour, letter.data])
        # Spaces at the ends are positions: not every viewer keeps them.
        stripped = ((column + len(text) - len(text.lstrip()), colour, text.strip()) for column, colour, text in runs)
        return tuple(run for run in stripped if run[2])

    def type(self, command):
        self.write(PROMPT.encode())
        for letter in command:
            self.now += KEY_SECONDS
            self.write(letter.encode())
            self.look()
        self.now += PAUSE_SECONDS / 2
        self.write(b"\r\n")
        self.look()

    def run(self, command, environment, directory):
        pid, terminal = pty.fork()
        if pid == 0:
            # The program asks the terminal how wide it is.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.chdir(directory)
            os.execvpe("bash", ["bash", "-c", command], environment)
        began, before, looked = time.monotonic(), self.now, self.now
        while True:
            ready, _, _ = select.select([terminal], [], [], FRAME_SECONDS)
            self.now = before + time.monotonic() - began
            if ready:
                try:
                    data = os.read(terminal, 65536)
                except OSError:  # the end of a pseudo-terminal, on Linux
                    data = b""
                if not data:
                    break
                self.write(data)
            if self.now - looked >= FRAME_SECONDS:
                looked = self.now
                self.look()
        self.look()
        _, status = os.waitpid(pid, 0)
        if status != 0:
            sys.exit(f"{command}: status {status}")
        self.now += PAUSE_SECONDS

    def svg(self):
        seconds = self.now + LAST_SECONDS
        width = COLUMNS * LETTER + 2 * MARGIN
        height = ROWS * LINE + TOP_BAR + 2 * MARGIN
        styles, parts = [], []
        for number, films in enumerate(self.rows):
            y = TOP_BAR + MARGIN + number * LINE
            # Without animation, the end is shown.
            last = -(len(films) - 1) * LINE
            parts.append(
                f'<svg x="{MARGIN}" y="{y}" width="{width - 2 * MARGIN:g}" height="{LINE}">'
                f'<g id="r{number}" transform="translate(0,{last})">'
            )
            for index, (_, runs) in enumerate(films):
                for column, colour, text in runs:
                    parts.append(
                        f'<text x="{column * LETTER:g}" y="{index * LINE + 14}" fill="{INK[colour]}" '
                        f'textLength="{len(text) * LETTER:g}">{html.escape(text)}</text>'
                    )
            parts.append("</g></svg>")
            if len(films) > 1:
                at = "".join(
                    f"{100 * since / seconds:.2f}%{{transform:translateY({-index * LINE}px)}}"
                    for index, (since, _) in enumerate(films)
                )
                at += f"100%{{transform:translateY({last}px)}}"
                styles.append(
                    f"@keyframes k{number}{{{at}}}#r{number}{{animation:k{number} {seconds:.1f}s step-end infinite}}"
                )
        dots = "".join(
            f'<circle cx="{18 + 18 * index}" cy="16" r="5" fill="{INK[colour]}"/>'
            for index, colour in enumerate(("red", "brown", "green"))
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height}" '
                f'viewBox="0 0 {width:g} {height}" role="img">',
                "<title>A terminal: windlass prices 20 options, shows the first, and renders a scene</title>",
                "<style>text{font:14px 'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}",
                # Who wants no motion sees the end.
                "@media (prefers-reduced-motion:no-preference){",
                *styles,
                "}</style>",
                f'<rect width="{width:g}" height="{height}" rx="8" fill="{PAPER}"/>',
                f'<path d="M0 8a8 8 0 0 1 8-8h{width - 16:g}a8 8 0 0 1 8 8v{TOP_BAR - 8}H0z" fill="{FRAME}"/>',
                dots,
                *parts,
                "</svg>",
                "",
            ]
        )


def main(program):
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        (directory / "bin").mkdir()
        (directory / "bin/windlass").symlink_to(pathlib.Path(program).absolute())
        (directory / "examples").symlink_to(TOP / "examples")
        environment = {
            "PATH": f"{directory}/bin:{os.environ['PATH']}",
            "HOME": temporary,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        recording = Recording()
        for command in COMMANDS:
            recording.type(command)
            recording.run(command, environment, directory)
        recording.write(PROMPT.encode())
        recording.look()
        (HERE / "terminal.svg").write_text(recording.svg())
        shutil.copyfile(directory / "scene.png", HERE / "scene.png")


if __name__ == "__main__":
    main(sys.argv[1])
