from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
import zmq

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.discovery import heartbeat
from kernel_bridge_magic.discovery.heartbeat import Endpoint, Heartbeats
from tests.support.ports import free_port

ENDED = "the kernel has ended (nobody listens on its port)"
SILENT = "its heartbeat does not answer (ended, stopped or swapped out)"


def at(port: int, name: str = "kernel.json") -> Endpoint:
    return Endpoint(name, "tcp", "127.0.0.1", port, port)


@contextlib.contextmanager
def echo(change: bytes = b"") -> Iterator[int]:
    """The port of a heartbeat that answers, with `change` behind what it was sent."""
    with zmq.Context() as context, context.socket(zmq.REP) as sock:
        port = sock.bind_to_random_port("tcp://127.0.0.1")
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                if sock.poll(20):
                    sock.send(sock.recv() + change)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            thread.join()


def asked(*where: Endpoint, seconds: float = 5.0) -> Heartbeats:
    beats = Heartbeats(where, seconds)
    beats.wait([it.path for it in where], Deadline.after(30))
    return beats


def test_a_kernel_that_answers() -> None:
    with echo() as port:
        beats = asked(at(port))
    assert beats.problem("kernel.json") == ""
    assert not beats.is_silent("kernel.json") and not beats.has_ended("kernel.json")


def test_what_answers_something_else_is_no_kernel() -> None:
    with echo(b"!") as port:
        assert asked(at(port)).problem("kernel.json") == "what listens on its port is no kernel"


def test_the_silent_and_the_ended_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        beats = asked(at(silent.getsockname()[1], "silent"), at(free_port(), "ended"), seconds=0.3)
    assert (beats.problem("silent"), beats.problem("ended")) == (SILENT, ENDED)
    assert beats.is_silent("silent") and not beats.has_ended("silent")
    assert beats.has_ended("ended") and not beats.is_silent("ended")
    assert beats.problem("never asked") == SILENT


@pytest.mark.parametrize(("ip", "port"), [("nobody.invalid", 1), ("127.0.0.1", 2**17)])
def test_an_address_that_cannot_be_used(ip: str, port: int) -> None:
    where = Endpoint("odd", "tcp", ip, port, port)
    assert asked(where, seconds=0.3).problem("odd") == "its address cannot be used"


def test_waiting_ends_at_the_deadline_and_asking_with_the_listing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        beats = Heartbeats([at(silent.getsockname()[1])], 60.0)
        start = time.monotonic()
        beats.wait(["kernel.json"], Deadline.after(0.2))
        assert time.monotonic() - start < 10
        beats.stop()
        threads = [one for one in threading.enumerate() if one.name == "kernel-bridge-heartbeat"]
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def test_time_to_answer_begins_when_a_kernel_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = heartbeat.refusals

    def on_a_loaded_machine(where: Sequence[Endpoint]) -> dict[str, str]:
        time.sleep(1.0)  # all of the time that the kernel has
        return refuse(where)

    monkeypatch.setattr(heartbeat, "refusals", on_a_loaded_machine)
    with echo() as port:
        assert asked(at(port), seconds=1.0).problem("kernel.json") == ""


def test_an_endpoint_says_where_and_no_key() -> None:
    where = Endpoint("k.json", "tcp", "127.0.0.1", 1, 2, "public", "secret")
    assert repr(where) == "Endpoint('k.json')"
    assert where.url(2) == "tcp://127.0.0.1:2"
    assert where._replace(transport="ipc", ip="/run/k").url(2) == "ipc:///run/k-2"
