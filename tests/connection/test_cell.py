"""What a cell is sent with, and what it came to."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from kernel_bridge_magic.connection.cell import Cell, Outcome
from kernel_bridge_magic.errors import BadCell, BadOption, Fate, KernelDied, LeftRunning, RemoteError
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


def test_a_cell_that_only_has_code_is_a_guest_s() -> None:
    cell = Cell("1")
    assert (cell.timeout, cell.since, cell.if_busy, cell.metadata, cell.whole) == (None, None, "wait", None, None)
    assert (cell.store_history, cell.stdin, cell.durable, cell.keep_outputs) == (False, False, False, True)


def test_it_cannot_be_changed_on_its_way() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cell("1").timeout = 2.0  # type: ignore[misc]


def test_the_code_is_kept_as_it_is_sent() -> None:
    assert Cell("\ufeff1").code == "1"


@pytest.mark.parametrize("code", ["", " \n", "a\0b", "'\ud800'", None, 7, b"1"])
def test_code_that_cannot_be_sent_is_refused(code: Any) -> None:
    with pytest.raises(BadCell):
        Cell(code)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": "x"}, "timeout='x' is not a duration"),
        ({"timeout": 0}, "timeout=0 is not a duration"),
        ({"timeout": True}, "timeout=True is not a duration"),
        ({"if_busy": "now"}, "if_busy is one of wait, fail, subshell, not 'now'"),
        ({"if_busy": None}, "if_busy is a word, not None"),
        ({"metadata": [1]}, "metadata is a dict, not [1]"),
        ({"durable": 1}, "an option that is on or off is True or False, not 1"),
        ({"stdin": "no"}, "an option that is on or off is True or False, not 'no'"),
        ({"keep_outputs": None}, "an option that is on or off is True or False, not None"),
        ({"store_history": []}, "an option that is on or off is True or False, not []"),
        ({"durable": True, "if_busy": "subshell"}, "a durable cell runs in the main shell"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadOption, match=re.escape(told)):
        Cell("1", **options)


@pytest.mark.parametrize(("given", "seconds"), [(5, 5.0), ("2m", 120.0), ("none", None), (None, None)])
def test_a_timeout_is_kept_in_seconds(given: Any, seconds: float | None) -> None:
    assert Cell("1", timeout=given).timeout == seconds


# -- what it came to


def ended(*messages: object, sign: EndSignal | None = None, kernel: Kernel = KERNEL) -> RemoteResult:
    watch = CellWatch(Request(CELL), now=0.0)
    for message in messages:
        watch.receive(message, 0.0)  # type: ignore[arg-type]
    if sign is not None:
        watch.signal(sign, 0.0)
        watch.tick(T.settle)
    collected = Outcome(kernel, Cell("1"))
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
    assert Outcome(KERNEL, Cell("1")).result(watch, seconds=0, interrupted=interrupted).interrupted is interrupted


def test_it_tells_whether_the_cell_had_begun() -> None:
    def left(*messages: object, seconds: float = 0.0) -> RemoteResult:
        watch = CellWatch(Request(CELL), now=0.0)
        for message in messages:
            watch.receive(message, 0.0)  # type: ignore[arg-type]
        watch.tick(seconds)
        watch.leave("told to end")
        return Outcome(KERNEL, Cell("1")).result(watch, seconds=seconds)

    begun, queued, just_sent = left(status("busy")), left(seconds=T.queued_after), left()
    for result, started in ((begun, True), (queued, False), (just_sent, None)):
        assert isinstance(result.error, LeftRunning)
        assert (result.started, result.error.started) == (started, started)
    assert ended(status("busy"), reply(), status("idle")).started is True
    assert ended(status("busy"), reply("aborted"), status("idle")).started is False
    assert ended(reply("aborted"), status("idle")).started is False
