"""A module that cannot be imported."""

import os

if number := os.environ.get("BROKEN_BY"):
    raise OSError(int(number), os.strerror(int(number)))
raise SystemExit(7)
