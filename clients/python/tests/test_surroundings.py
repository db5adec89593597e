"""What the program that asks has around it: proxies, limits."""

import asyncio
import resource

import pytest

import windlass
from windlass import _discovery

ECHO = {"hello": "world"}


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://127.0.0.1:1",
        "socks://127.0.0.1:1",
        "http://proxy.example:port",
        "http://[::1",
    ],
)
def test_a_proxy_that_cannot_be_used_is_told_and_this_machine_needs_none(server, monkeypatch, proxy):
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    assert server.client().call("echo", ECHO)["input"] == ECHO
    why = "a proxy that the environment names"
    with pytest.raises(windlass.WindlassError, match=why):
        windlass.Client("https://windlass.example", token="t").get("any")
    with pytest.raises(windlass.WindlassError, match=why):
        asyncio.run(windlass.AsyncClient("https://windlass.example", token="t").get("any"))


@pytest.mark.parametrize("url", ["https://h:port", "https://h:99999", "https://[::1", "https://ä..b"])
def test_a_url_of_a_server_that_cannot_be_one_is_a_value_error(url):
    for kind in (windlass.Client, windlass.AsyncClient):
        with pytest.raises(ValueError) as caught:
            kind(url, token="t")
        assert not isinstance(caught.value, windlass.WindlassError)


def test_a_program_that_may_open_no_more_files_keeps_its_token(tmp_path):
    (tmp_path / "token").write_text("t")
    token, other = (_discovery.token_of(_discovery.LOCAL, None, tmp_path) for _ in range(2))
    assert token() == "t"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert token() == "t"
        with pytest.raises(_discovery.NoToken, match=r"Too many open files$"):
            other()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
