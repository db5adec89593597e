"""A module that takes memory and time to import."""

import os
import time

table = b"x" * (50 << 20)
time.sleep(1.5)


def pid(seconds):
    time.sleep(seconds)
    return os.getpid()
