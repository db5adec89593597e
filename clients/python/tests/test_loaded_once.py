"""What a function loads once: what stays for the next job, and what is said where it does not."""

import pytest
from supervisor import Supervisor


@pytest.fixture
def serve(starter):
    return starter(Supervisor)


AT_THE_TOP = """
import mmap, os
TABLE = b"x" * (200 << 20)
MAPPED = mmap.mmap(os.open(__file__, os.O_RDONLY), 0, prot=mmap.PROT_READ)

def f(x):
    return [os.getpid(), len(TABLE), MAPPED[1:2].decode()]
"""

IN_A_JOB = """
import functools, mmap, os

@functools.lru_cache
def table():
    return b"x" * (200 << 20)

@functools.lru_cache
def mapped():
    return open(__file__, "rb")

def f(which):
    len(table()) if which == "table" else mapped().readable()
    return os.getpid()
"""


def test_what_is_loaded_at_the_top_of_the_module_stays(serve, tmp_path):
    (tmp_path / "loads_first.py").write_text(AT_THE_TOP)
    one = serve("loads_first:f", cwd=tmp_path).ready()
    (first,) = one.result([1])
    assert first[1:] == [200 << 20, "i"]
    assert one.result([1]) == [first] and one.said() == ""


@pytest.mark.parametrize(
    "which, bound", [("table", " MiB (twice what it held after the import, and 64 MiB)"), ("file", "/loads_late.py")]
)
def test_what_a_job_loads_and_may_not_stay_says_its_bound_and_the_way_out(serve, tmp_path, which, bound):
    (tmp_path / "loads_late.py").write_text(IN_A_JOB)
    one = serve("loads_late:f", cwd=tmp_path).ready()
    one.result([which])
    said = one.said()
    assert bound in said and "load what jobs share at the top of the module" in said
