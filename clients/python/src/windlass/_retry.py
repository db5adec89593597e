"""What is tried again, and when."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from windlass import errors
from windlass._protocol import LEAVING_SECONDS, REQUEST_SECONDS, Answer, Request

# Pauses between tries: from the first, doubling, to the longest, each taken at random from its upper half.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
TRIED_AGAIN = (429, 503, 504)

# So long a server is called that was never reached: it may just be starting, or its address may be wrong.
FIRST_CONTACT_SECONDS = 2.0

# So long an answer may take at least, of the first try and of a further one, however short the patience is. The first
# to a submission has longer: who gives that up does not know whether there is a job.
LEAST_SECONDS = 2.0
LEAST_SUBMISSION_SECONDS = 10.0
LEAST_AGAIN_SECONDS = 1.0


class Patience:
    """How long one thing is tried again: what got no answer, and what got 429, 503 or 504.

    `seconds` bounds the time from the first failure on, pauses included, or from when the first answer was due that did
    not come. `Retry-After` is obeyed; one that leads beyond the bound ends the patience at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """There was an answer: what comes is a new thing."""
        self.first_failure: float | None = None
        self.pause = FIRST_PAUSE_SECONDS

    def answer_seconds(self) -> float:
        """How long the answer to the next try may take once it is due: there is time for another try."""
        longest = min(REQUEST_SECONDS, max(self.seconds / 2, LEAST_SECONDS))
        if self.first_failure is None:
            return longest
        left = self.first_failure + self.seconds - time.monotonic()
        return min(longest, max(left, LEAST_AGAIN_SECONDS))

    def after(self, error: Exception) -> float:
        """How long to pause before the next try, in seconds; raises the error when there is to be none."""
        wanted = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
        if isinstance(error, errors.ApiError) and error.status not in TRIED_AGAIN:
            raise error
        if isinstance(error, errors.Untrusted):
            raise error
        now = time.monotonic()
        if self.first_failure is None:
            self.first_failure = now - (error.silent_seconds if isinstance(error, errors.Unreachable) else 0.0)
        # A random part, or all that were refused together would come again together.
        pause = random.uniform(self.pause / 2, self.pause)
        self.pause = min(2 * self.pause, LONGEST_PAUSE_SECONDS)
        if wanted is not None:
            pause += wanted
        is_first_contact = isinstance(error, errors.Unreachable) and error.is_first_contact
        seconds = min(self.seconds, FIRST_CONTACT_SECONDS) if is_first_contact else self.seconds
        if now + pause > self.first_failure + seconds:
            raise error
        return pause


class Sending:
    """One request, over as many tries as it takes: `next` is what to send."""

    def __init__(self, request: Request, patience_seconds: float) -> None:
        self.request = request
        self.patience = Patience(patience_seconds)
        self.is_leaving = request.answer_seconds <= LEAVING_SECONDS
        if self.is_leaving:
            # All tries together take no longer.
            self.patience = Patience(request.answer_seconds)
            self.patience.first_failure = time.monotonic()
        # Whether the server may have done what was asked, without an answer.
        self.may_be_done = False
        # The refusal of a name, while it is found out whose job has it.
        self.is_taken: errors.Conflict | None = None

    def next(self) -> Request:
        """What to send now."""
        request = replace(self.request, answer_seconds=self.patience.answer_seconds())
        if self.is_leaving:
            request = replace(request, spare_seconds=request.answer_seconds)
        elif request.makes_job and self.patience.first_failure is None:
            held = max(request.held_seconds, LEAST_SUBMISSION_SECONDS - request.answer_seconds)
            request = replace(request, held_seconds=held)
        if self.patience.first_failure is None or "Prefer" not in request.headers:
            return request
        # Again, it is asked for an answer at once: whether a server that holds it back is there, nobody sees.
        headers = {name: value for name, value in request.headers.items() if name != "Prefer"}
        return replace(request, headers=headers, held_seconds=0.0)

    def answered(self, answer: Answer) -> Answer:
        """What to give back for an answer of success."""
        if self.is_taken is not None and not is_as_asked(json.loads(answer.body), self.asked):
            raise self.is_taken
        return answer

    def is_done_by(self, error: errors.WindlassError) -> bool:
        """Whether the error says that an earlier try has done it: it has deleted the job."""
        return self.may_be_done and self.request.method == "DELETE" and isinstance(error, errors.NotFound)

    def pause_after(self, error: errors.WindlassError) -> float:
        """How long to pause before `request` is sent; raises the error when it is to be given up."""
        if isinstance(error, errors.Conflict) and self.may_be_done and self.request.if_named is not None:
            # A try without an answer may have made this job.
            self.is_taken, self.asked = error, json.loads(self.request.content or b"{}")
            self.request = Request("GET", self.request.if_named)
            return 0.0
        if isinstance(error, (errors.Unreachable, errors.Unavailable)):
            self.may_be_done = True
        return self.patience.after(error)


def is_as_asked(job: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether a job is what a submission asks for. Of what it does not say, the job may have anything."""
    return all(job["spec"].get(key) == value for key, value in asked.items() if key != "name")
