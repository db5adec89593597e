"""What `summary` says of a failure, for the answer of a web service."""

import pytest

import windlass
from windlass.errors import raised_of


def test_a_summary_has_the_exception_of_a_function_that_is_called_once(client):
    with pytest.raises(windlass.JobFailed) as caught:
        client.call("fails", {"a": 1, "b": 2})
    assert caught.value.summary == f"job {caught.value.job.metadata.name}: ValueError: 1 and 2 cannot be had"
    for message, said in [
        ("raised; the end of its stderr:\nlog: 1\nTraceback (most recent call last):\n  File\n    x: 1\nA: 1\n\n"
         "During handling of the above:\n\nTraceback (most recent call last):\n  File\nshop.Refused: no stock\nmore",
         "Refused: no stock"),
        ("Traceback (most recent call last):\n  File\nKeyboardInterrupt\n", "KeyboardInterrupt"),
        ("Traceback (most recent call last):\n  File\nA: " + "x" * 900, "A: " + "x" * 500 + " [...]"),
        ("Traceback (most recent call last):\n", ""),
        ("the function raised an error: nothing else", ""),
        ("", ""),
    ]:  # fmt: skip
        assert raised_of(message) == said
