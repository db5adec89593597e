"""An executor that is made before its server is there, as at the top of the module of a web service."""

import logging
import socket

import fake_server
import pytest
from conftest import Server

import windlass


def test_an_executor_may_be_made_before_its_server(tmp_path, caplog):
    server = Server(tmp_path)
    try:
        server.stop()
        with caplog.at_level(logging.WARNING, "windlass"):
            pool = server.executor("square")
        assert ["square" in text and "at its first use" in text for text in caplog.messages] == [True]
        with pytest.raises(windlass.Unreachable):
            pool.submit(3)
        server.start()
        with pool:
            assert list(pool.map([1, 2, 3])) == [1, 4, 9] and pool.submit(4).result(timeout=60) == 16
    finally:
        server.stop()


def test_the_patience_of_an_executor_is_that_of_its_client(monkeypatch):
    with fake_server.running() as fake:
        monkeypatch.setenv("WINDLASS_SERVER", fake.url)
        monkeypatch.setenv("WINDLASS_TOKEN", "t")
        with windlass.Executor("f", items=True, patience_seconds=7) as pool:
            assert pool._client._patience_seconds == 7
        with pytest.raises(TypeError, match="give it there"):
            windlass.Executor("f", client=lambda: windlass.AsyncClient(fake.url, token="t"), patience_seconds=7)


def test_an_executor_of_a_service_that_is_down_is_made_within_seconds(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WINDLASS_SERVER", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("WINDLASS_TOKEN", "t")
        windlass.Executor("f").shutdown()
