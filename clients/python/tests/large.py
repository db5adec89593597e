"""A module that takes memory and time to import."""

import os
import time

# More than may stay of the processes beyond a grant.
table = b"x" * (64 << 20)
time.sleep(1.5)


def pid(seconds):
    time.sleep(seconds)
    return os.getpid()
