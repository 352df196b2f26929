"""What a kernel remembers of a cell whose reply was lost: the question, put to a real shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.remote_code.record import is_kept, mark, question, read
from tests.support.shells import private_shell

CELL = mark("ours_7")["cellId"]


def answer(cells: list[tuple[str, str]], directory: Path) -> dict[str, Any]:
    """Run cells, each under an id, then the question; give the content that answers it."""
    asked = question()
    with private_shell(directory) as shell:
        for code, cell_id in cells:
            shell.run_cell(code, cell_id=cell_id)
        before = dict(shell.user_ns)
        shell.run_cell(asked["code"], silent=asked["silent"], store_history=False)
        given = {"user_expressions": shell.user_expressions(asked["user_expressions"])}
        assert dict(shell.user_ns) == before
        assert "_guest_record" not in shell.displayhook.__dict__
    return given


@pytest.mark.parametrize("code", ["1", "x = 1", "print(1)"])
def test_a_cell_that_ended_well(code: str, tmp_path: Path) -> None:
    assert read(answer([("1 / 0", "theirs_1"), (code, CELL)], tmp_path), CELL) == {"status": "ok"}


@pytest.mark.parametrize(
    ("code", "name", "text"),
    [
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("raise OSError('it\\'s\\nlong' * 500)", "OSError", ("it's\nlong" * 500)[:2000]),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
    ],
)
def test_a_cell_that_failed(code: str, name: str, text: str, tmp_path: Path) -> None:
    wanted = {"status": "error", "ename": name, "evalue": text}
    assert read(answer([(code, CELL)], tmp_path), CELL) == wanted


def test_a_cell_that_could_not_be_compiled(tmp_path: Path) -> None:
    reply = read(answer([("1 +", CELL)], tmp_path), CELL)
    assert reply is not None and reply["ename"] == "SyntaxError"


@pytest.mark.parametrize("later", [("1", "theirs_1"), ("", "theirs_1")])
def test_another_cell_behind_it_hides_how_it_ended(later: tuple[str, str], tmp_path: Path) -> None:
    assert read(answer([("1", CELL), later], tmp_path), CELL) is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"user_expressions": None},
        {"user_expressions": {"record": {"status": "error", "ename": "KeyError"}}},
        {"user_expressions": {"record": {"data": {"text/plain": "(1, 2)"}}}},
        {"user_expressions": {"record": {"data": {"text/plain": "__import__('os')"}}}},
        {"user_expressions": {"record": {"data": {"text/plain": "((((" * 5000}}}},
        {"user_expressions": {"record": {"data": {"text/plain": 7}}}},
    ],
)
def test_what_is_no_answer_is_none(content: dict[str, Any]) -> None:
    assert read(content, CELL) is None


@pytest.mark.parametrize(
    ("info", "kept"),
    [
        ({"implementation": "ipython", "language_info": {"name": "python"}}, True),
        ({"implementation": "sage", "language_info": {"name": "python"}}, True),
        ({"implementation": "bash_kernel", "language_info": {"name": "bash"}}, False),
        ({"implementation": "x", "language_info": "python"}, False),
        ({}, False),
    ],
)
def test_only_what_reads_python_is_asked(info: dict[str, Any], kept: bool) -> None:
    assert is_kept(info) == kept
