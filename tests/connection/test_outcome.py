"""What a cell came to."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.connection.outcome import Outcome
from kernel_bridge_magic.errors import Fate, KernelDied, LeftRunning, RemoteError
from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import ExecuteResult
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.results import RemoteResult
from tests.support.wire import CELL, error, msg, reply, status, stream

T = timing.current

KERNEL = Kernel(id="k", connection_file="kernel-k.json")  # ours: a connection file names it


def ended(*messages: object, sign: EndSignal | None = None, kernel: Kernel = KERNEL) -> RemoteResult:
    watch = CellWatch(Request(CELL), now=0.0)
    for message in messages:
        watch.receive(message, 0.0)  # type: ignore[arg-type]
    if sign is not None:
        watch.signal(sign, 0.0)
        watch.tick(T.settle)
    collected = Outcome(kernel)
    collected.add(ExecuteResult({"text/plain": "2"}, {}))
    return collected.result(watch, seconds=1.5)


def test_ok() -> None:
    result = ended(status("busy"), reply(), status("idle"))
    assert (result.status, result.fate, result.error, result.text) == ("ok", Fate.OK, None, "2")
    assert (result.seconds, result.missing, result.interrupted) == (1.5, 0, False)


def test_failed_has_the_error_of_over_there_which_has_the_result() -> None:
    result = ended(status("busy"), error(), reply("error"), status("idle"))
    assert (result.status, result.fate) == ("error", Fate.FAILED)
    assert isinstance(result.error, RemoteError)
    assert result.error.result is result


def test_died_says_what_was_shown() -> None:
    result = ended(status("busy"), stream("one\ntwo\n"), sign=EndSignal.RESTARTING)
    assert result.fate is Fate.DIED
    assert isinstance(result.error, KernelDied)
    assert (result.error.shown, result.error.seconds, result.error.result) == (2, 1.5, result)


def test_a_foreign_kernel_s_error_cannot_steer_a_terminal() -> None:
    title = "\x1b]0;x\x07"
    bad = msg("error", {"ename": "E", "evalue": title, "traceback": [title]})
    result = ended(status("busy"), bad, reply("error"), status("idle"), kernel=Kernel(id="k"))
    assert isinstance(result.error, RemoteError)
    assert "\x1b" not in "".join([result.error.evalue, *result.error.traceback])
    own = ended(status("busy"), bad, reply("error"), status("idle"))
    assert isinstance(own.error, RemoteError) and own.error.evalue == title


@pytest.mark.parametrize("interrupted", [False, True])
def test_whether_it_was_interrupted_is_kept(interrupted: bool) -> None:
    watch = CellWatch(Request(CELL), now=0.0)
    watch.receive(reply(), 0.0)
    watch.receive(status("idle"), 0.0)
    assert Outcome(KERNEL).result(watch, seconds=0, interrupted=interrupted).interrupted is interrupted


def test_it_tells_whether_the_cell_had_begun() -> None:
    def left(*messages: object, seconds: float = 0.0) -> RemoteResult:
        watch = CellWatch(Request(CELL), now=0.0)
        for message in messages:
            watch.receive(message, 0.0)  # type: ignore[arg-type]
        watch.tick(seconds)
        watch.leave("told to end")
        return Outcome(KERNEL).result(watch, seconds=seconds)

    begun, queued, just_sent = left(status("busy")), left(seconds=T.queued_after), left()
    for result, started in ((begun, True), (queued, False), (just_sent, None)):
        assert isinstance(result.error, LeftRunning)
        assert (result.started, result.error.started) == (started, started)
    assert ended(status("busy"), reply(), status("idle")).started is True
    assert ended(status("busy"), reply("aborted"), status("idle")).started is False
    assert ended(reply("aborted"), status("idle")).started is False
