from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

import kernel_bridge_magic
from kernel_bridge_magic import errors
from kernel_bridge_magic.errors import (
    AmbiguousKernel,
    Fate,
    FateError,
    FateUnknown,
    KernelBridgeError,
    KernelDied,
    KernelNotFound,
    LeftRunning,
    NotRun,
    RemoteError,
    fate_error,
    remote_error,
)
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.verdicts import Action, Verdict
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.jobs.results import RemoteErrors
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.protocol.request import Request
from tests.support.wire import CELL, reply, status, stream

NOT_FATES_OF_ERRORS = {Fate.OK, Fate.FAILED}


def tree() -> list[type[KernelBridgeError]]:
    classes: list[type[KernelBridgeError]] = [KernelBridgeError]
    for cls in classes:
        # Not the ones that remote names made, and not those that other modules derive for themselves.
        classes += [c for c in cls.__subclasses__() if getattr(errors, c.__name__, None) is c]
    return classes


def test_the_docstring_names_who_can_be_to_blame() -> None:
    blamed = set(re.findall(r"`(\w+Error|BadInput|NotCopied)`", errors.__doc__ or ""))
    assert blamed == {cls.__name__ for cls in tree() if cls.__bases__ == (KernelBridgeError,)}


def test_every_error_is_public_and_says_what_it_is() -> None:
    public = [getattr(kernel_bridge_magic, name) for name in kernel_bridge_magic.__all__]
    errors_of_one_kernel = {it for it in public if isinstance(it, type) and issubclass(it, Exception)} - {RemoteErrors}
    assert set(tree()) == errors_of_one_kernel
    for cls in tree():
        assert cls.__doc__
        assert cls.__module__ == errors.__name__


# -- remote errors


def test_one_remote_name_makes_one_class() -> None:
    first, second = remote_error("ValueError", "no"), remote_error("ValueError", "other")
    assert type(first) is type(second)
    assert type(first).__name__ == type(first).__qualname__ == "ValueError"
    assert isinstance(first, RemoteError)
    assert not isinstance(first, ValueError)
    assert type(remote_error("TypeError", "")) is not type(first)


@pytest.mark.parametrize("name", ["a\0b", "\ud800x", "", "\0", "class", "a.b c", "é" * 10_000, "\x1b[31m"])
def test_any_name_that_a_kernel_sends_can_be_raised(name: str) -> None:
    error = remote_error(name, "value")
    assert (error.ename, error.evalue) == (name, "value")
    assert "\0" not in type(error).__name__
    type(error).__name__.encode("utf-8")
    with pytest.raises(RemoteError):
        raise error


def test_a_kernel_that_makes_up_names_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_REMOTE_ERRORS", {})
    monkeypatch.setattr(errors, "_MOST_NAMES", 10)
    for number in range(30):
        assert type(remote_error(f"Made{number}", "")).__name__ == f"Made{number}"
    assert len(errors._REMOTE_ERRORS) == 10
    assert type(remote_error("Made3", "")) is type(remote_error("Made3", ""))


def test_a_remote_error_can_be_pickled() -> None:
    error = remote_error("Odd\0Name", "value", ["line 1", "line 2"], "nb.ipynb")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (copy.ename, copy.evalue, copy.traceback, copy.kernel) == (
        "Odd\0Name",
        "value",
        ["line 1", "line 2"],
        "nb.ipynb",
    )
    assert str(copy) == "value"


def test_a_remote_error_shows_the_remote_s_traceback_and_nothing_else() -> None:
    lines = ["\x1b[31mValueError\x1b[0m", "  File x", "ValueError: no"]
    assert remote_error("ValueError", "no", lines)._render_traceback_() == lines
    assert remote_error("ValueError", "no")._render_traceback_() == ["ValueError: no"]
    assert remote_error("", "no")._render_traceback_() == ["no"]
    assert remote_error("E", "")._render_traceback_() == ["E"]
    assert remote_error("", "")._render_traceback_() == ["error"]


@pytest.mark.parametrize(
    ("ename", "evalue", "says"),
    [
        *(("", "127", "exit status 127"), ("", "1", "exit status 1"), ("", "255", "exit status 255")),
        *(("E", "127", "E: 127"), ("", "-1", "-1"), ("", "1 2", "1 2"), ("", "\u0661", "\u0661"), ("E", "", "E")),
    ],
)
def test_what_a_shell_s_kernel_sends_is_an_exit_status(ename: str, evalue: str, says: str) -> None:
    error = remote_error(ename, evalue)
    assert (error.summary, error._render_traceback_(), str(error)) == (says, [says], evalue)


def test_a_remote_error_says_whose_it_is() -> None:
    error = remote_error("ValueError", "no", [], "nb.ipynb")
    assert (str(error), error.args) == ("no", ("no",))
    assert repr(error) == "RemoteError('ValueError', 'no', kernel='nb.ipynb')"
    assert error.result is None


# -- our own


def test_our_own_errors_are_one_line_without_our_frames() -> None:
    for cls in (errors.BadOption, errors.CannotConnect, errors.OwnKernel):
        assert cls("what to do")._render_traceback_() == [f"{cls.__name__}: what to do"]
    assert errors.ServerUnreachable("lab", "no answer")._render_traceback_() == ["ServerUnreachable: lab: no answer"]


def test_what_is_wrong_and_what_to_do_stand_apart() -> None:
    error = errors.BadAnswer("lab", "it has failed", "try again", cause=errors.Cause.NO_SERVER)
    error.status = 500
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert str(one) == "lab: it has failed; try again"
        assert (one.server, one.problem, one.remedy, one.status) == ("lab", "it has failed", "try again", 500)
        assert one.cause is errors.Cause.NO_SERVER
    assert str(errors.BadAnswer("lab", "lab has no kernel", "look", is_named=True)) == "lab has no kernel; look"
    assert str(errors.BadServer("no \x1b file", "make one")) == r"no \x1b file; make one"


def test_an_ambiguous_match_shows_its_candidates() -> None:
    one, other = Kernel(id="3f9c1c0e", started_by="VS Code"), Kernel(id="k", sessions=(Session("a.ipynb", "a.ipynb"),))
    error = AmbiguousKernel("two", [("3f9c1c0e", one), ("a.ipynb", other)], more=1)
    assert error.candidates == (("3f9c1c0e", one), ("a.ipynb", other))
    lines = ["AmbiguousKernel: two", "  3f9c1c0e  VS Code", "  a.ipynb", "  … and 1 more"]
    assert error._render_traceback_() == lines
    assert str(error) == "two"
    assert AmbiguousKernel("two")._render_traceback_() == ["AmbiguousKernel: two"]


def every_verdict() -> Iterator[Verdict]:
    """Whatever can become of a cell that did not come to its end: each cause, queued and running."""
    for started in (False, True):
        for cause in (
            *EndSignal,
            "interrupt",
            "timeout",
            "404",
            "dead",
            "closed, alive",
            "closed, gone",
            "aborted",
            "silent",
        ):
            watch = CellWatch(
                Request(CELL), now=0.0, kernel="analysis.ipynb", timeout=86400.0 if cause == "timeout" else None
            )
            if started:
                watch.receive(status("busy"), 0.0)
                watch.receive(stream("line\n" * 100_000), 0.0)
            if isinstance(cause, EndSignal):
                watch.signal(cause, 0.0)
            elif cause == "interrupt":
                watch.interrupt(0.0)
                watch.interrupt(0.0)
            elif cause in ("404", "dead"):
                watch.server_says(None if cause == "404" else "dead", 0.0)
            elif cause.startswith("closed"):
                watch.closed("the server closed the connection", 0.0)
                watch.server_says("busy" if cause == "closed, alive" else "", 0.0)
            elif cause == "aborted":
                watch.receive(reply("aborted"), 0.0)
                watch.receive(status("idle"), 0.0)
            elif cause == "silent":
                watch.receive(status("idle"), 0.0)
            for tick in range(0, 100_000, 60 if cause == "timeout" else 1):
                if watch.verdict is not None:
                    break
                for step in watch.tick(float(tick)):
                    if step is Action.ASK_KERNEL:
                        watch.asked_kernel("probe", float(tick))
                    elif step is Action.ASK_SERVER and isinstance(cause, EndSignal):
                        watch.server_says(None, float(tick))
            assert watch.verdict is not None, (cause, started)
            if watch.verdict.fate not in NOT_FATES_OF_ERRORS:
                yield watch.verdict


@pytest.mark.parametrize(
    ("fate", "cls"),
    [
        (Fate.NOT_RUN, NotRun),
        (Fate.DIED, KernelDied),
        (Fate.UNKNOWN, FateUnknown),
        (Fate.LEFT_RUNNING, LeftRunning),
    ],
)
def test_a_fate_is_told_with_its_kernel(fate: Fate, cls: type[FateError]) -> None:
    error = fate_error(fate, "nb.ipynb: because", kernel="nb.ipynb", shown=3, missing=None, seconds=1.5)
    assert type(error) is cls
    assert error.fate is fate
    assert str(error) == "nb.ipynb: because"
    assert (error.reason, error.kernel, error.shown, error.missing, error.seconds) == (
        "nb.ipynb: because",
        "nb.ipynb",
        3,
        None,
        1.5,
    )
    assert error._render_traceback_() == [f"{cls.__name__}: nb.ipynb: because"]


def test_each_fate_has_its_error_or_is_none() -> None:
    for fate in Fate:
        if fate in NOT_FATES_OF_ERRORS:
            with pytest.raises(KeyError):
                fate_error(fate, "")
        else:
            assert isinstance(fate_error(fate, ""), FateError)


def test_every_reason_of_the_link_fits_in_one_line() -> None:
    seen = list(every_verdict())
    assert {verdict.fate for verdict in seen} == set(Fate) - NOT_FATES_OF_ERRORS
    for verdict in seen:
        text = str(fate_error(verdict.fate, verdict.reason, kernel="analysis.ipynb"))
        assert "\n" not in text
        assert len(text) <= 160, text
        assert text.startswith("analysis.ipynb") and text.count("analysis.ipynb") == 1, text
        assert " lines shown" not in text and "server says" not in text, text


def test_a_fate_error_can_be_pickled() -> None:
    error = fate_error(Fate.DIED, "because", kernel="nb.ipynb", shown=3, missing=None, seconds=1.5)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (KernelDied, str(error), vars(error))


@pytest.mark.parametrize(
    "error", [KernelNotFound("a \x1b]0;x\x07\n\u202eb"), NotRun("\x1b[2J\x9b is busy", kernel="\x1b[2J\x9b")]
)
def test_what_others_chose_does_nothing_in_our_lines(error: KernelBridgeError) -> None:
    assert str(error).isprintable()
    assert all(line.isprintable() for line in error._render_traceback_())
