"""Why a job waits for what somebody has to make or change first, said to whoever waits for it."""

from __future__ import annotations

import logging

from windlass.models import Job

MISSING = ("FunctionNotFound", "FunctionDeleted", "QueueNotFound", "QueueTooSmall")

logger = logging.getLogger("windlass")


class Lacks:
    """What jobs that are waited for together lack, such as their queue: they may wait for that for ever.

    It is logged once for each reason, by the first job that has it, and again after no job had it any more.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, set[str]] = {}

    def tell(self, told: Job) -> None:
        """Logs what the job lacks, if that is new."""
        name = told.metadata.name
        lack = next(
            (each for each in told.status.conditions if each.type == "Admitted" and each.reason in MISSING), None
        )
        self.forget(name, but=lack.reason if lack else "")
        if lack is None:
            return
        if lack.reason not in self.waiting:
            logger.warning("job %s waits (%s): %s", name, lack.reason, lack.message)
        self.waiting.setdefault(lack.reason, set()).add(name)

    def forget(self, name: str, but: str = "") -> None:
        """This job lacks nothing any more, except by this reason."""
        for reason in [each for each, names in self.waiting.items() if each != but and name in names]:
            self.waiting[reason].discard(name)
            if not self.waiting[reason]:
                del self.waiting[reason]
