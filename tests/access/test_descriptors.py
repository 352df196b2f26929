"""A process that can open nothing more is told so: not that nothing is there, and not by libzmq's abort()."""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.access import descriptors
from kernel_bridge_magic.access.descriptors import is_ready, selector
from kernel_bridge_magic.errors import CannotConnect
from tests.support.hostile import HostileServer
from tests.support.scripted import ScriptedCell, ScriptedKernel
from tests.support.servers import private_env

#: Each is asked for with some descriptors left; what it raises is printed, and what is open then is closed again.
WITHOUT = """
import json, os, resource, sys
sys.path.insert(0, {root!r})
import IPython, jupyter_client.connect, psutil, websocket, zmq
from kernel_bridge_magic import connect, kernels
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.servers.entries import Entry

bridge = Bridge()
bridge.add_server(Entry("it", {url!r}))
kernel = bridge.find("it::scripted")
alone = next(kernel for kernel in bridge.kernels().listing.kernels if not kernel.server)
acts = {{
    "look": lambda: kernels(),
    "zmq": lambda: bridge.pool.connect(alone, "zmq").execute("1"),
    "ws": lambda: bridge.pool.connect(kernel, "ws").execute("1"),
}}
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
for left in (0, 1, 2, 3, 4, 6, 9, 13):
    for name, act in acts.items():
        held = []
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for _ in range(left):
            os.close(held.pop())
        try:
            act()
            said = "nothing was raised"
        except BaseException as problem:
            said = f"{{type(problem).__name__}}: {{problem}}"
        for descriptor in held:
            os.close(descriptor)
        print(json.dumps([left, name, said]), flush=True)
print(json.dumps([99, "after", bridge.pool.connect(alone, "zmq").execute("1").fate]), flush=True)
bridge.close()
"""


def by_the_book(cell: ScriptedCell) -> None:
    cell.busy()
    cell.reply()
    cell.idle()


def test_a_process_without_descriptors_is_told_so_and_lives_on(tmp_path: Path) -> None:
    env = private_env(tmp_path / "home")
    runtime = Path(env["JUPYTER_RUNTIME_DIR"])
    with ScriptedKernel(by_the_book, runtime), HostileServer(by_the_book) as server:
        code = WITHOUT.format(root=str(Path(__file__).parents[2]), url=server.url)
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100, check=False
        )
    assert done.returncode == 0, done.stderr
    *told, last = map(json.loads, done.stdout.splitlines())
    assert len(told) == 8 * 3
    for left, name, said in told:
        assert said.startswith("CannotConnect: ") and "no file descriptors to spare" in said, (left, name, said)
        assert "its limit is 256" in said
    assert last == [99, "after", "ok"]


@pytest.mark.parametrize("most", [12, 20, 30])
def test_a_command_without_descriptors_says_so_in_one_line(most: int, tmp_path: Path) -> None:
    shell = f'ulimit -n {most}; exec "$0" -m kernel_bridge_magic "$@"'
    for words in (("list",), ("exec", "--code", "1")):
        done = subprocess.run(
            ["bash", "-c", shell, sys.executable, *words],
            env=private_env(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1 and "no file descriptors to spare" in done.stderr


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_what_says_so_is_told_apart_from_all_else(number: int) -> None:
    with pytest.raises(CannotConnect, match="to spare"):
        descriptors.check(OSError(number, os.strerror(number)))
    for other in (OSError(errno.ENOENT, ""), ValueError(number), MemoryError()):
        descriptors.check(other)


def test_what_is_opened_to_look_is_closed_again() -> None:
    before = len(os.listdir("/proc/self/fd"))
    descriptors.require()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(CannotConnect):
        descriptors.require(10**7)
    assert len(os.listdir("/proc/self/fd")) == before


# -- whether sockets can be read or written, with `poll` and without


@pytest.fixture(params=["poll", "select"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, ...]]:
    if request.param == "select":
        monkeypatch.delattr(selectors, "PollSelector")
    one, other = socket.socketpair()
    with one, other:
        yield one, other


Pair = tuple[socket.socket, socket.socket]


def test_what_has_come_can_be_read(pair: Pair) -> None:
    assert not is_ready(pair[0], 0)
    pair[1].send(b"x")
    assert is_ready(pair[0], 0) and is_ready(pair[0], 10)


def test_the_wait_has_an_end(pair: Pair) -> None:
    began = time.monotonic()
    assert not is_ready(pair[0], 0.05)
    assert 0.04 < time.monotonic() - began < 5


def test_a_full_link_takes_no_more(pair: Pair) -> None:
    pair[0].setblocking(False)
    assert is_ready(pair[0], 0, write=True)
    with pytest.raises(BlockingIOError):
        while True:
            pair[0].send(bytes(1 << 16))
    assert not is_ready(pair[0], 0, write=True)


def test_an_end_is_ready_on_either_side(pair: Pair) -> None:
    pair[1].close()
    assert is_ready(pair[0], 0)
    pair[0].close()
    assert is_ready(pair[0], 0) and is_ready(pair[0], 0, write=True)


def test_of_several_those_that_are_ready_are_given(pair: Pair) -> None:
    waiting = selector()
    for sock in pair:
        waiting.register(sock, selectors.EVENT_READ)
    assert not waiting.select(0)
    pair[1].send(b"x")
    assert [key.fileobj for key, _ in waiting.select(1)] == [pair[0]]
