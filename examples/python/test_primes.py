"""Tests of the example, as a worker would see it: `python3 -m unittest` in this directory."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import primes

SCRIPT = str(pathlib.Path(__file__).with_name("primes.py"))


class Attempt:
    """One run of the function, in a directory and a process group of its own."""

    def __init__(self, text, parallelism=2, without=None):
        self.directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.directory.name)
        (self.path / "input").write_text(text)
        variables = {
            "WINDLASS_INPUT": str(self.path / "input"),
            "WINDLASS_OUTPUT": str(self.path / "output"),
            "WINDLASS_PROGRESS": str(self.path / "progress"),
            "WINDLASS_PARALLELISM": str(parallelism),
        }
        variables.pop(without, None)
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT],
            env={**os.environ, **variables},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self):
        """The exit status and what was said on stderr."""
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said

    def progress(self):
        path = self.path / "progress"
        return path.read_text().splitlines() if path.exists() else []

    def group_is_empty(self):
        """Whether no process is left; those that just ended may take a moment to vanish."""
        for _ in range(100):
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        return False


def naive(low, high):
    found = [n for n in range(max(low, 2), high) if all(n % d for d in range(2, int(n**0.5) + 1))]
    gaps = [(b - a, a) for a, b in zip(found, found[1:])]
    largest = max(gaps, key=lambda gap: (gap[0], -gap[1]), default=(0, 0))
    return len(found), sum(gap == 2 for gap, _ in gaps), largest


class Survey(unittest.TestCase):
    def test_segments_of_any_size_agree_with_trial_division(self):
        primes.start_process(4000)
        for low, high in [(0, 1), (0, 3), (1, 2), (2, 3), (3, 4), (0, 30), (24, 29), (1000, 3000), (1369, 1370)]:
            for size in (1, 2, 7, 500):
                edges = list(range(low, high, size)) + [high]
                found = primes.join(primes.survey(*edge) for edge in zip(edges, edges[1:]))
                self.assertEqual((found["count"], found["twins"], found["gap"]), naive(low, high), (low, high, size))

    def test_base_primes_are_complete(self):
        for limit in range(40):
            self.assertEqual(primes.primes_below(limit), [n for n in range(3, limit) if naive(n, n + 1)[0]])


class Contract(unittest.TestCase):
    def attempt(self, *arguments, **options):
        attempt = Attempt(*arguments, **options)
        self.addCleanup(attempt.directory.cleanup)
        return attempt

    def test_ten_million_numbers_have_664579_primes(self):
        for parallelism in (1, 3):
            attempt = self.attempt('{"from": 0, "to": 10000000}', parallelism)
            self.assertEqual(attempt.end(), (0, ""))
            result = json.loads((attempt.path / "output").read_text())
            self.assertEqual(
                result, {"primes": 664579, "twinPairs": 58980, "largestGap": {"size": 154, "after": 4652353}}
            )
            self.assertEqual(attempt.progress()[-1], "3 3 664579 primes so far")
            self.assertTrue(attempt.group_is_empty())

    def test_bad_input_exits_65_and_names_the_field(self):
        for text, blamed in [
            ("", "not JSON"),
            ("[]", "object"),
            ('{"from": 0}', "/to"),
            ('{"from": true, "to": 5}', "/from"),
            ('{"from": 5, "to": 5}', "/to"),
            ('{"from": 0, "to": 1e6}', "/to"),
            ('{"from": 0, "to": 5, "x": 1}', "/x"),
        ]:
            status, said = self.attempt(text).end()
            self.assertEqual(status, 65, text)
            self.assertIn(blamed, said)

    def test_outside_a_worker_the_missing_variable_is_named(self):
        status, said = self.attempt("{}", without="WINDLASS_INPUT").end()
        self.assertEqual(status, 2)
        self.assertIn("WINDLASS_INPUT", said)

    def test_sigterm_to_the_process_or_to_its_group_leaves_nothing_behind(self):
        for kill in (os.kill, os.killpg):
            attempt = self.attempt('{"from": 0, "to": 10000000000}')
            while not attempt.progress():
                self.assertIsNone(attempt.process.poll())
                time.sleep(0.02)
            start = time.monotonic()
            kill(attempt.process.pid, signal.SIGTERM)
            status, said = attempt.end()
            self.assertEqual(status, 143, said)
            self.assertLess(time.monotonic() - start, 20)
            self.assertTrue(attempt.group_is_empty())
            self.assertFalse((attempt.path / "output").exists())


if __name__ == "__main__":
    unittest.main()
