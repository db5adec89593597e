"""A log whose begin is not kept says so in its first line."""

import pytest

CUT = "windlass: what was said before this is left out"


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_log_that_is_cut_says_so_where_it_is_cut(server, timestamps):
    with server.client() as client:
        short, long = (client.submit("say", {"items": [count]}, parallelism=1) for count in (1, 40_000))
        for job in (short, long):
            client.value(job)
        assert CUT not in client.logs(short, timestamps=timestamps)
        first, *lines = client.logs(long, timestamps=timestamps).splitlines()
        assert first.endswith(f" {CUT}" if timestamps else CUT)
        assert lines[-1].endswith("line 39999 " + "x" * 40)
        if timestamps:
            assert first.split()[0].startswith("20") and len(first.split()[0]) == len(lines[-1].split()[0])
            return
        followed = "".join(client.follow_logs(long)).splitlines()
        assert followed == [first, *lines]
