"""`%kernels --follow` and `--watch` in a real IPython shell, over a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.errors import BadMatch, BadOption, KernelNotFound, LinkError
from kernel_bridge_magic.ipython import following
from kernel_bridge_magic.ipython.following import Gone, Mirror
from kernel_bridge_magic.jobs.follow import Came, Cleared, Follow, Input
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.protocol.events import DisplayData, Stream
from tests.support.raw_owner import RawOwner
from tests.support.servers import JupyterServer, wait_for
from tests.support.shells import bridged_shell

Capture = pytest.CaptureFixture[str]
CODE = """
print("a stream")
handle = display("old", display_id=True)
handle.update("new")
6 * 7
"""


@pytest.fixture
def shell(jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path) -> Iterator[InteractiveShell]:
    with bridged_shell(tmp_path, jupyter_server.runtime_dir) as made:
        yield made


def test_what_somebody_runs_is_shown_in_order_until_it_is_enough(
    shell: InteractiveShell,
    jupyter_server: JupyterServer,
    shared_kernel: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = threading.Event()

    class Followed(Follow):
        """Ends as by Stop when the owner has run both cells."""

        def __enter__(self) -> Follow:
            entered = super().__enter__()
            begun.set()
            return entered

        def __iter__(self):  # type: ignore[no-untyped-def]
            for came in super().__iter__():
                yield came
                if came is None and over.is_set():
                    raise KeyboardInterrupt

    over = threading.Event()
    counts: list[str] = []

    def work() -> None:
        with RawOwner(jupyter_server.connection_file(shared_kernel)) as owner:
            assert begun.wait(20)
            counts.append(owner.run("len(In)"))
            assert owner.run(CODE) == "42"
            counts.append(owner.run("len(In)"))
            over.set()
        asyncio.get_event_loop().close()  # jupyter_client made one for this thread

    monkeypatch.setattr(following, "Follow", Followed)
    thread = threading.Thread(target=work)
    thread.start()
    shell.run_cell(f"%kernels --follow {shared_kernel}").raise_error()
    thread.join(20)
    out = capsys.readouterr().out
    places = [out.index(text) for text in ('print("a stream")', "\na stream\n", "'old'", "'new'", "42")]
    assert places == sorted(places)
    assert int(counts[1]) == int(counts[0]) + 2  # what the owner has run, and nothing else


@pytest.mark.parametrize("transport", ["zmq", "ws"])
def test_a_kernel_is_followed_also_when_it_was_restarted_until_it_is_gone(
    shell: InteractiveShell,
    jupyter_server: JupyterServer,
    own_kernel: str,
    transport: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []  # the transport of each connection
    find = Bridge.find

    class Followed(Follow):
        def __init__(self, connection: KernelConnection) -> None:
            super().__init__(connection)
            self._transport = connection.transport

        def __enter__(self) -> Follow:
            entered = super().__enter__()
            begun.append(self._transport)
            return entered

    def found(self: Bridge, match: str, server: str | None = None) -> Kernel:
        kernel = find(self, match, server)
        return kernel if transport == "zmq" else replace(kernel, connection_file="")

    def work() -> None:
        for cell, connections in enumerate((1, 2 if transport == "zmq" else 1)):
            wait_for(lambda least=connections: len(begun) >= least, "following")
            with RawOwner(jupyter_server.connection_file(own_kernel)) as owner:
                owner.run(f"print('cell', {cell})")
            if cell == 0:
                jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart")
        jupyter_server.delete_kernel(own_kernel)
        asyncio.get_event_loop().close()

    monkeypatch.setattr(Bridge, "find", found)
    monkeypatch.setattr(following, "Follow", Followed)
    thread = threading.Thread(target=work)
    thread.start()
    shell.run_cell(f"%kernels --follow {own_kernel}").raise_error()
    thread.join(20)
    assert begun == ([transport] * 2 if transport == "zmq" else [transport])
    out, err = capsys.readouterr()
    assert out.index("\ncell 0\n") < out.index("\ncell 1\n")
    lines = [it for it in err.splitlines() if " discards output " not in it]
    title = lines.pop(0).removeprefix("following ").partition(",")[0]
    said = f"kernel-bridge: {title}:"
    # Its server tells of a restart. Over ZMQ the process may be seen to have ended before the kernel's own word comes.
    restarted = {f"{said} it was restarted by another client"}
    assert lines.pop(0) in restarted | ({f"{said} its kernel process ended"} if transport == "zmq" else set())
    assert lines == [f"{said} it was shut down by another client", f"{said} it is gone: it is no longer followed"]


NORTH = Kernel(id="n", sessions=(Session("north.ipynb", "north.ipynb"),), connection_file="x")


def reconnected(finds: list[Any], *, comes_back: bool = True) -> Any:
    """What comes of looking for a kernel again: `finds` is what each look finds, the last one for ever."""

    def find(match: str, server: str | None) -> Kernel:
        assert (match, server) == ("n", "lab")
        found = finds.pop(0) if len(finds) > 1 else finds[0]
        if isinstance(found, Exception):
            raise found
        return found

    bridge = SimpleNamespace(pool=SimpleNamespace(connect=lambda kernel: "open"))
    here: Any = SimpleNamespace(find=find, bridge=bridge)
    return following.reconnect(here, NORTH, "lab", comes_back=comes_back)


def test_a_kernel_that_does_not_come_back_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BACK_SECONDS", 0.5)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)
    gone = KernelNotFound("n")
    assert reconnected([gone, LinkError("it is starting"), NORTH]) == (NORTH, "open")
    with pytest.raises(Gone, match="it has not come back within 0"):
        reconnected([gone])
    with pytest.raises(Gone, match="it is gone"):
        reconnected([LinkError("it ends"), gone, NORTH], comes_back=False)


def mirrored(kernel: Kernel, *came: Came | None) -> list[tuple[str, Any]]:
    """What a notebook shows of what came."""
    shown: list[tuple[str, Any]] = []

    class Sink(NotebookSink):
        def __init__(self) -> None: ...
        def flush(self) -> None: ...
        def stream(self, name: str, text: str) -> None:
            shown.append((name, text))

        def display(self, data: dict[str, Any], metadata: Any, display_id: str, update: bool) -> None:
            shown.append(("update" if update else "display", data["text/plain"]))

        def clear(self, wait: bool) -> None:
            shown.append(("clear", wait))

        def inform(self, kind: str, text: str) -> None:
            if text:
                shown.append((kind, text))

    mirror = Mirror(Sink(), kernel)
    for it in came:
        mirror.show(it)
    return shown


LINE = ("kernel", "following north.ipynb, read only. Stop ends it")


def test_what_is_cleared_over_there_leaves_the_cell_that_cleared() -> None:
    cell = Input("plot()", 5)
    shown = [("display", "In [5]: plot()"), ("stdout", "old")]
    anew = [("clear", True), LINE, ("display", "In [5]: plot()")]
    old, new = Stream("stdout", "old"), Stream("stdout", "new")
    assert mirrored(NORTH, cell, old, Cleared(False, cell), new) == [*shown, *anew, ("stdout", "new")]
    update = DisplayData({"text/plain": "u"}, {}, "d", update=True)
    waits: list[Came | None] = [cell, old, Cleared(True, cell), None, update, new, new]
    assert mirrored(NORTH, *waits) == [*shown, ("update", "u"), *anew, ("stdout", "new"), ("stdout", "new")]
    assert mirrored(NORTH, old, Cleared(False)) == [("stdout", "old"), *anew[:2]]


def test_in_a_terminal_nothing_is_shown_again_where_nothing_is_cleared(
    shell: InteractiveShell, capsys: Capture
) -> None:
    mirror = Mirror(TerminalSink(shell), NORTH)
    mirror.show(Cleared(True, Input("plot()", 5)))
    mirror.show(Stream("stdout", "new\n"))
    said = capsys.readouterr()
    assert "plot()" not in said.out and "following" not in said.err and said.out.endswith("new\n")


def test_what_cannot_be_followed_is_one_line(shell: InteractiveShell) -> None:
    for line, error in [
        ("%kernels --follow", BadMatch),
        ("%kernels --watch 0 north", BadOption),
        ("%kernels --follow --watch 2 north", BadOption),
    ]:
        with pytest.raises(error):
            shell.run_cell(line).raise_error()


def test_the_table_is_listed_again_until_it_is_enough(
    shell: InteractiveShell, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []

    def aside(work: Callable[[], KernelList], name: str) -> KernelList:
        if len(listed) == 4:
            raise KeyboardInterrupt
        assert "shared.ipynb" in work().text()
        # A kernel's age changes from one second to the next: here only the third table differs.
        listed.append("busy" if len(listed) == 2 else "idle")
        return SimpleNamespace(text=lambda: listed[-1])  # type: ignore[return-value] # as much of one as this needs

    monkeypatch.setattr(following, "aside", aside)
    shell.run_cell("%kernels --watch 0.1").raise_error()
    # Where nothing can be drawn over, each one that differs from the one before is written below.
    assert capsys.readouterr().out == "idle\nbusy\nidle\n"
