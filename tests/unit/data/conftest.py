"""No test of this folder may reach the network; what it downloads, it downloads from its own machine."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REAL_DATA = os.environ.get("RRA_DATA")
LOOPBACK = "127.0.0.1"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(function: Callable, host_of: Callable[[Any], str]) -> Callable:
        def guard(address: Any, *args: Any, **kwargs: Any) -> Any:
            if host_of(address) != LOOPBACK:
                raise OSError("no network in tests")
            return function(address, *args, **kwargs)

        return guard

    monkeypatch.setenv("no_proxy", LOOPBACK)
    monkeypatch.setattr(socket, "create_connection", guarded(socket.create_connection, lambda address: address[0]))
    monkeypatch.setattr(socket, "getaddrinfo", guarded(socket.getaddrinfo, lambda host: host))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; `short` bytes at the end of every file never arrive."""

    short = 0

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) - self.short])


class Server(NamedTuple):
    """folder: to put files into. url: where they can be fetched, ending in /. handler: its `short` can be set."""

    folder: Path
    url: str
    handler: type[Quiet]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A web server on this machine."""

    class Handler(Quiet):
        pass

    folder = tmp_path / "server"
    folder.mkdir()
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), functools.partial(Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Server(folder, f"http://{LOOPBACK}:{running.server_port}/", Handler)
        running.shutdown()
        thread.join()


@pytest.fixture
def real_root() -> Path:
    """The folder with MNIST and CIFAR-10."""
    if REAL_DATA is None:
        pytest.skip("RRA_DATA is not set: no folder with MNIST and CIFAR-10")
    return Path(REAL_DATA)
