"""Exit statuses, and what is printed of a failure."""

from __future__ import annotations

import json

import pytest

from kernel_bridge_magic.cli.outcome import OK, UNUSABLE, fail, print_json, show, status_of, stop
from kernel_bridge_magic.display.servers import CheckList
from kernel_bridge_magic.errors import AmbiguousKernel, BadCell, BadMatch, Fate, KernelBridgeError, RemoteError
from kernel_bridge_magic.errors import fate_error as made
from kernel_bridge_magic.faces import COMMAND_LINE
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.results import RemoteResult

KERNEL = Kernel("3f9c1c0e-0000-4000-8000-000000000001", sessions=(Session("a.ipynb", "a.ipynb"),))


@pytest.mark.parametrize(
    ("fate", "error", "status"),
    [
        (Fate.OK, None, 0),
        (Fate.FAILED, RemoteError("ZeroDivisionError", "division by zero", []), 1),
        (Fate.FAILED, RemoteError("SystemExit", "0", []), 0),
        (Fate.FAILED, RemoteError("SystemExit", "3", []), 1),
        (Fate.NOT_RUN, made(Fate.NOT_RUN, "busy", kernel="a"), 2),
        (Fate.DIED, made(Fate.DIED, "it died", kernel="a"), 3),
        (Fate.UNKNOWN, made(Fate.UNKNOWN, "nobody knows", kernel="a"), 3),
    ],
)
def test_a_fate_is_an_exit_status(fate: Fate, error: Exception | None, status: int) -> None:
    assert status_of(RemoteResult("ok" if error is None else "error", fate, KERNEL, [], None, error)) == status  # type: ignore[arg-type]


def test_not_a_number_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    # ipykernel cleans such output; other kernels' JSON may hold what only Python reads
    print_json({"version": 1, "outputs": [{"x": float("nan"), "y": [float("inf"), 1.5]}]})
    assert json.loads(capsys.readouterr().out) == {"version": 1, "outputs": [{"x": None, "y": [None, 1.5]}]}


@pytest.mark.parametrize(
    ("error", "meant", "lines"),
    [
        (BadMatch("which kernel?"), [KERNEL], ["which kernel?"]),
        (BadCell("the code is empty"), [KERNEL], ["a.ipynb: the code is empty"]),
        (BadCell("it is too large", kernel="a.ipynb"), [KERNEL], ["a.ipynb: it is too large"]),
        (BadCell("a.ipynb is no code"), [KERNEL], ["a.ipynb: a.ipynb is no code"]),
        (BadCell("the code is empty"), [], ["the code is empty"]),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_failure_is_one_line_that_names_the_kernel(
    error: KernelBridgeError, meant: list[Kernel], lines: list[str], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(error, meant, as_json=as_json) == UNUSABLE
    out, err = capsys.readouterr()
    told = [line.removeprefix("kernel-bridge: ") for line in err.splitlines()]
    assert told == lines
    assert bool(out) is as_json and (not as_json or json.loads(out)["status"] == "error")


def test_candidates_stand_below_in_text_and_in_the_object_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    error = AmbiguousKernel("two kernels", [("a.ipynb", KERNEL)])
    fail(error, [], as_json=False)
    assert capsys.readouterr().err.splitlines()[1].strip().startswith("a.ipynb")
    fail(error, [], as_json=True)
    out, err = capsys.readouterr()
    assert [it["select"] for it in json.loads(out)["candidates"]] == ["a.ipynb"] and len(err.splitlines()) == 1


def test_an_interrupt_before_anything_was_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert stop(KeyboardInterrupt(), [KERNEL], as_json=True) == 130
    out, err = capsys.readouterr()
    assert err == "kernel-bridge: interrupted; nothing was run\n"
    assert json.loads(out)["kernel"]["id"] == KERNEL.id


def test_a_result_is_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    table = CheckList([], COMMAND_LINE)
    show(table, lambda: {"a": OK}, as_json=False)
    assert capsys.readouterr().out == table.text(200) + "\n"
    show(table, lambda: {"a": OK}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": OK}
