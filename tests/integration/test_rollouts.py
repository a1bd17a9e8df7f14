"""Servers are replaced under clients that keep their connections: no request is lost.

A Service sends each new connection to one of its ready pods, and leaves those that exist alone. A rollout makes a new
pod, takes the old one out of the Service, and tells it to end once nobody connects to it any more. So do these tests.
"""

import http.client
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import pytest

from tests.support.gateway import gateway
from tests.support.serving import serving
from tests.support.waiting import wait_until

REQUESTS, CLIENTS, ROLLOUTS = 5000, 8, 4


class Service:
    """Where new connections go to."""

    def __init__(self, port: int) -> None:
        self._port, self._lock = port, Lock()

    def connect(self) -> http.client.HTTPConnection:
        with self._lock:
            return connect(self._port)

    def go_to(self, port: int) -> None:
        """Have new connections go to another server; it returns once the old one has accepted all that it gets."""
        with self._lock:
            old, self._port = self._port, port
        with closing(connect(old)) as last:
            ask(last)


class Client:
    """Asks again and again on one connection; a new one is made only where the server said that it closes the old."""

    def __init__(self, service: Service, path: str) -> None:
        self.answers, self.connections = 0, 0
        self.lost: list[str] = []
        self.enough = Event()
        self._service, self._path = service, path
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.enough.is_set():
            with closing(self._service.connect()) as connection:
                self.connections += 1
                try:
                    while ask(connection, self._path) != "close" and not self.enough.is_set():
                        self.answers += 1
                        self.enough.wait(random.uniform(0, 0.01))  # noqa: S311 - clients do something with an answer
                    self.answers += 1
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    self.lost.append(repr(error))


def connect(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    return connection


def port_of(server: Any) -> int:
    return int(server.url.rpartition(":")[2])


@contextmanager
def a_gateway(store: Path) -> Iterator[Any]:
    with gateway(f"file://{store}") as started:
        yield started


@contextmanager
def a_forecast_server(store: Path) -> Iterator[Any]:
    with serving(f"file://{store}") as started:
        yield started


SERVERS = pytest.mark.parametrize("server", [a_gateway, a_forecast_server])


@pytest.mark.slow
@SERVERS
def test_no_request_is_lost_while_servers_are_replaced(server: Any, tmp_path: Path) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(server(tmp_path))
        service = Service(port_of(running))
        clients = [Client(service, "/healthz") for _ in range(CLIENTS)]
        for client in clients:
            stack.callback(client.enough.set)
        rollouts = 0
        while rollouts < ROLLOUTS or sum(client.answers for client in clients) < REQUESTS:
            new = stack.enter_context(server(tmp_path))
            service.go_to(port_of(new))
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(timeout=60) in (0, -signal.SIGTERM)
            running, rollouts = new, rollouts + 1
        for client in clients:
            client.enough.set()
            client.thread.join()

    assert [lost for client in clients for lost in client.lost] == []
    # Each server that ended told every client so, and none was closed but then.
    assert {client.connections for client in clients} == {rollouts + 1}


def ask(connection: http.client.HTTPConnection, path: str = "/healthz") -> str:
    """Ask, and return what the answer says of the connection."""
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    return answer.headers.get("connection", "")


def wait_until_draining(port: int) -> None:
    """Return once a server takes no more connections."""

    def refuses() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(refuses)


@SERVERS
def test_a_kept_connection_is_answered_once_more_and_told_to_close(server: Any, tmp_path: Path) -> None:
    with server(tmp_path) as started:
        used, unused = (connect(port_of(started)) for _ in range(2))
        assert [ask(used), ask(used)] == ["", ""]
        started.process.send_signal(signal.SIGTERM)
        wait_until_draining(port_of(started))

        assert [ask(used), ask(unused)] == ["close", "close"]
        used.close()
        unused.close()
        assert started.process.wait(timeout=60) in (0, -signal.SIGTERM)


def test_after_a_download_that_was_under_way_one_more_request_is_answered(tmp_path: Path) -> None:
    content = bytes(64 << 20)  # more than the sockets between them hold
    (tmp_path / "dataset").mkdir()
    with gateway(f"file://{tmp_path}") as started:
        connection = connect(started.port)
        connection.request("POST", "/upload/dataset/large.bin", body=content)
        connection.getresponse().read()
        connection.request("GET", "/download/dataset/large.bin")
        answer = connection.getresponse()
        first = answer.read(1 << 20)
        started.process.send_signal(signal.SIGTERM)
        wait_until_draining(started.port)

        assert first + answer.read() == content
        assert answer.headers.get("connection") is None, "its head was sent before"
        assert ask(connection) == "close"
        connection.close()


@pytest.mark.slow
@SERVERS
def test_connections_that_nobody_uses_hold_it_up_for_a_while_but_not_on_ctrl_c(server: Any, tmp_path: Path) -> None:
    took = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        with server(tmp_path) as started:
            unused = connect(port_of(started))
            ask(unused)
            began = time.monotonic()
            started.process.send_signal(number)
            started.process.wait(timeout=60)
            took[number] = time.monotonic() - began
            assert unused.sock.recv(1) == b"", "closed as the protocol asks for"
            unused.close()

    assert took[signal.SIGINT] < took[signal.SIGTERM]
