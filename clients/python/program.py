"""Puts the program `windlass` and its manual pages into the wheel, where `./wheel` says which.

Without WINDLASS_WHEEL_PROGRAM, as in an installation from source, the wheel is the client alone, for any machine.
"""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProgramHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the program, and names the machines that it runs on."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling calls this before it writes the wheel."""
        program = os.environ.get("WINDLASS_WHEEL_PROGRAM")
        if not program or version == "editable":
            return
        if not Path(program).is_file():
            raise FileNotFoundError(f"WINDLASS_WHEEL_PROGRAM: {program} is no file")
        build_data["shared_scripts"] = {program: "windlass"}
        pages = Path(os.environ["WINDLASS_WHEEL_PAGES"])
        build_data["shared_data"] = {str(page): f"share/man/man1/{page.name}" for page in sorted(pages.iterdir())}
        build_data["tag"] = f"py3-none-{os.environ['WINDLASS_WHEEL_PLATFORM']}"
        build_data["pure_python"] = False
