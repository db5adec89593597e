"""A module that takes memory to import."""

import os
import time

table = b"x" * (50 << 20)


def pid(seconds):
    time.sleep(seconds)
    return os.getpid()
