"""`kernel-bridge get` and `put`, on a real kernel and against attempts that fail as they are told."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.cli.arguments import parse
from kernel_bridge_magic.cli.main import main
from kernel_bridge_magic.cli.outcome import LOST, OK, TIMEOUT, UNUSABLE, fail
from kernel_bridge_magic.cli.variables import copy
from kernel_bridge_magic.errors import BadVariable, KernelBridgeError, KernelDied, LinkLost, NotCopied, NotRun, TimedOut
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.transfer.variables import Variables
from tests.support.servers import JupyterServer


def options(*words: str) -> argparse.Namespace:
    return parse(["get", "a", "x", *words])


class Scripted:
    """An attempt that does one thing after the other, and notes what it was called with."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes, self.calls = list(outcomes), list[tuple[Variables, float | None]]()

    def __call__(self, how: Variables, seconds: float | None) -> Copied:
        self.calls.append((how, seconds))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return Copied("x", outcome, 1)


def test_options_reach_the_copy() -> None:
    attempt = Scripted(1)
    given = options("--max-size", "2kB", "--pickle", "--transport", "ws", "--timeout", "5")
    assert copy(attempt, "x", given, None, time.monotonic()).value == 1
    ((how, seconds),) = attempt.calls
    assert (how.most, how.pickles, how.by_file) == (2000, True, False)
    assert seconds is not None
    assert 0 < seconds <= 5
    attempt = Scripted(1)
    copy(attempt, "x", options(), None, time.monotonic())
    assert attempt.calls == [(Variables(), None)]


def large(size: int) -> BadVariable:
    return BadVariable("x is larger than 1.0 GB", "a larger --max-size allows more", size=size)


def test_somebody_at_a_terminal_is_asked_and_may_allow_more() -> None:
    questions: list[str] = []
    attempt = Scripted(large(2_300_000_000), large(5_000_000_000), "all")
    copied = copy(attempt, "x", options(), lambda question: questions.append(question) or "y", time.monotonic())
    assert copied.value == "all"
    assert questions == [
        "x is larger than 1.0 GB (2.3 GB at least). Copy up to 4.6 GB? [y/N] ",
        "x is larger than 4.6 GB (5.0 GB at least). Copy up to 10.0 GB? [y/N] ",
    ]
    assert [how.most for how, _ in attempt.calls] == [10**9, 4_600_000_000, 10_000_000_000]


@pytest.mark.parametrize("asked", [None, lambda question: "n"])
def test_else_it_is_refused_by_the_option(asked: Any) -> None:
    with pytest.raises(BadVariable, match="a larger --max-size allows more"):
        copy(Scripted(large(2 * 10**9)), "x", options(), asked, time.monotonic())


def test_nobody_is_asked_about_what_cannot_be_copied() -> None:
    with pytest.raises(BadVariable, match="no such"):
        copy(Scripted(BadVariable("no such variable")), "x", options(), lambda question: "y", time.monotonic())


def test_time_that_is_up_is_told_as_such() -> None:
    given = options("--timeout", "2")
    with pytest.raises(TimedOut, match="x was not copied within 2 s"):
        copy(Scripted(NotCopied("the time is up")), "x", given, None, time.monotonic() - 3)
    for error in (NotCopied("it broke"), LinkLost("it broke")):
        with pytest.raises(NotCopied, match="it broke"):
            copy(Scripted(error), "x", given, None, time.monotonic())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadVariable("x"), UNUSABLE),
        (NotRun("x"), UNUSABLE),
        (NotCopied("x"), LOST),
        (KernelDied("x"), LOST),
        (TimedOut("x"), TIMEOUT),
    ],
)
def test_each_error_has_its_status(error: KernelBridgeError, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(error, [], as_json=False) == status
    assert capsys.readouterr() == ("", "kernel-bridge: x\n")


@pytest.fixture
def run(jupyter_server: JupyterServer, shared_kernel: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What runs a command for the shared kernel."""
    monkeypatch.setenv("THE_TOKEN", jupyter_server.token)
    where = ["--base-url", jupyter_server.url, "--token", "env:THE_TOKEN"]
    return lambda command, *words: main([command, shared_kernel, *words, *where])


def test_a_value_goes_there_and_comes_back(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": [1, null, "\\u00fc"]}')))
    assert run("put", "limits_of_face", "-") == OK
    out, err = capsys.readouterr()
    assert out == ""
    # The kernel may have been starting, which is told in a line before.
    assert err.splitlines()[-1].startswith("limits_of_face: dict of 1, ")
    assert " → " in err
    assert run("get", "limits_of_face") == OK
    out, err = capsys.readouterr()
    assert out == '{"a": [1, null, "\\u00fc"]}\n'
    assert err.splitlines()[-1].startswith("limits_of_face: dict of 1, ")
    assert " ← " in err


def test_files_go_there_and_come_back(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("größe\n", encoding="utf-8")
    assert run("put", "text_of_face", str(tmp_path / "a.txt")) == OK
    assert run("get", "text_of_face", "-o", str(tmp_path / "b.txt")) == OK
    assert (tmp_path / "b.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()
    assert run("get", "text_of_face", "-o", str(tmp_path / "b.txt")) == UNUSABLE
    assert "exists, so nothing was copied" in capsys.readouterr().err
    assert run("get", "text_of_face", "-o", str(tmp_path / "b.txt"), "--replace") == OK
    assert capsys.readouterr().err.endswith("(replaced)\n")
    assert run("get", "text_of_face", "-o", str(tmp_path / "b.npy")) == UNUSABLE
    assert "text_of_face is of the type str, which .npy files cannot hold" in capsys.readouterr().err
    assert sorted(it.name for it in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_json_has_it_all(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import jsonschema

    from kernel_bridge_magic.contract import json_contract

    schema = json.loads(Path(json_contract.__file__).with_name("contract.schema.json").read_text("utf-8"))
    (tmp_path / "a.json").write_text("[1, 2]")
    for line, file in (
        (["put", "list_of_face", str(tmp_path / "a.json")], str(tmp_path / "a.json")),
        (["get", "list_of_face", "-o", str(tmp_path / "b.json")], str(tmp_path / "b.json")),
        (["get", "list_of_face"], None),
    ):
        assert run(*line, "--json") == OK
        out, err = capsys.readouterr()
        model = json.loads(out)
        jsonschema.validate(model, schema)
        assert (err, model["file"], model["variable"]["type"]) == ("", file, "list of 2")
    assert model["value"] == [1, 2]
    assert run("get", "no_such_name", "--json") == UNUSABLE
    model = json.loads(capsys.readouterr().out)
    jsonschema.validate(model, schema)
    assert (model["status"], model["error"]["name"]) == ("error", "BadVariable")


def test_names_that_cannot_be_copied(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("In", "print", "_1", "a.b"):
        assert run("get", name) == UNUSABLE
        assert f"'{name}' is not a variable name that can be copied" in capsys.readouterr().err
    assert run("get", "no_such_name") == UNUSABLE
    assert "no_such_name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "suffix"),
    [
        ("import PIL.Image; unfit_of_face = PIL.Image.new('RGB', (0, 5))", ".png"),
        ("import pandas; unfit_of_face = pandas.DataFrame([[1, 2]], columns=[1, 'a'])", ".arrow"),
        ("import pyarrow; unfit_of_face = pyarrow.table({'a': [[1]]})", ".csv"),
        ("import polars; unfit_of_face = polars.DataFrame({'a': [b'x']})", ".csv"),
    ],
)
def test_what_a_file_cannot_hold_is_one_line(
    run: Any, code: str, suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(code.split()[1].rstrip(";"))
    assert run("exec", "-c", code) == OK
    capfd.readouterr()
    path = tmp_path / f"x{suffix}"
    assert run("get", "unfit_of_face", "-o", str(path)) == UNUSABLE
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and f"which {suffix} files cannot hold" in err
    assert not list(tmp_path.iterdir())
    path.write_text("mine")
    assert run("get", "unfit_of_face", "-o", str(path), "--replace") == UNUSABLE
    assert [it.read_text() for it in tmp_path.iterdir()] == ["mine"]
