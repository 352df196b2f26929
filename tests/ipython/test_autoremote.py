"""The transformer of `%autoremote` in a shell, with what would go to another kernel kept in a list."""

from __future__ import annotations

import atexit
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.terminal.prompts import ClassicPrompts, Prompts, Token
from traitlets import Instance

from kernel_bridge_magic.ipython.autoremote import AutoRemote
from kernel_bridge_magic.models import Kernel, Session
from tests.support.shells import private_shell, run

KERNEL = Kernel("0" * 36, sessions=(Session("students/north.ipynb", "north.ipynb"),))


class Prompting(InteractiveShell):
    """A shell with the prompts of a terminal."""

    prompts = Instance(Prompts)


class Own(Prompts):
    """Prompts that somebody has made."""

    def in_prompt_tokens(self) -> list[tuple[Any, str]]:
        return [(Token.Prompt, "<"), (Token.PromptNum, "7"), (Token.Prompt, "> ")]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Prompting]:
    with private_shell(tmp_path, kind=Prompting) as made:
        assert isinstance(made, Prompting)
        made.prompts = Own(made)
        yield made


@pytest.fixture
def stay(shell: Prompting) -> AutoRemote:
    made = AutoRemote(shell)
    made.begin(KERNEL, Namespace())
    return made


@pytest.fixture
def sent(shell: Prompting) -> list[str]:
    """What goes to the other kernel, and `off` where somebody leaves."""
    sent: list[str] = []
    shell.register_magic_function(lambda line, cell: sent.append(cell), "cell", "autoremote")
    shell.register_magic_function(sent.append, "line", "autoremote")
    return sent


# -- which cells, and what becomes of them


@pytest.mark.parametrize(
    "cell",
    ["1 + 1", "\n\n  x\n", "%%time\nx", "f <- function(x) {", "!ls", "# only this", "x = 'é😀'", "  x\n  y", "(", "?"],
)
def test_a_cell_goes_there_as_it_was_typed(shell: Prompting, stay: AutoRemote, sent: list[str], cell: str) -> None:
    run(shell, cell)
    assert [it.rstrip("\n") for it in sent] == [cell.rstrip("\n")]
    assert shell.history_manager.input_hist_raw[-1] == cell.rstrip("\n")
    assert stay.takes(cell)


@pytest.mark.parametrize("cell", ["", " \n", "%%local\nx = 1", "%load_ext kernel_bridge_magic", "x = %jobs"])
def test_a_cell_that_stays_is_not_touched(shell: Prompting, stay: AutoRemote, sent: list[str], cell: str) -> None:
    shell.run_cell(cell, store_history=True)
    assert sent == [] and not stay.takes(cell)


def test_exit_is_off(shell: Prompting, stay: AutoRemote, sent: list[str]) -> None:
    run(shell, "exit()")
    assert sent == ["off"] and not stay.takes("exit()")


def test_what_nobody_has_typed_stays(shell: Prompting, stay: AutoRemote, sent: list[str], tmp_path: Path) -> None:
    shell.run_cell("a = 1")  # not for the history
    shell.run_cell("b = 1", store_history=True, silent=True)
    run(shell, "%%local\nget_ipython().run_cell('c = 1', store_history=True)")
    run(shell, "%%local\n%%time\nget_ipython().run_cell('d = 1', store_history=True)")
    file = tmp_path / "file.ipy"
    file.write_text("e = 1\n%time f = 1\n")
    run(shell, f"%%local\n%run {file}")
    shell.transform_cell("g = 1")
    shell.ev("1")
    assert sent == [] and {"a", "b", "c", "d", "e", "f"} <= set(shell.user_ns)
    # an error within one, and what comes after it
    shell.run_cell("%%local\nget_ipython().run_cell('1 / 0')\n1 / 0", store_history=True)
    run(shell, "h = 1")
    assert sent == ["h = 1\n"]


def test_rerun_goes_where_cells_go(shell: Prompting, stay: AutoRemote, sent: list[str]) -> None:
    run(shell, "x = 1")
    run(shell, "%rerun 1")
    assert sent == ["x = 1\n"] * 2
    run(shell, "%%local\n%rerun 1")
    shell.run_cell("%rerun 1")
    run(shell, "%%local\ndef rerun(): get_ipython().run_cell('y = 1')\nrerun()")
    assert sent == ["x = 1\n"] * 2 and shell.user_ns["x"] == shell.user_ns["y"] == 1


def test_local_runs_with_all_that_a_cell_may_have(shell: Prompting, stay: AutoRemote, sent: list[str]) -> None:
    assert run(shell, "%%local\nimport asyncio\nawait asyncio.sleep(0, 5)") == 5
    assert run(shell, "\n%%local  \n\n  x = 6\n  x") == 6
    assert run(shell, "%%local\n%%time\n7") == 7
    outcome = shell.run_cell("%%local\n\nx = (", store_history=True)
    assert isinstance(outcome.error_before_exec, SyntaxError) and outcome.error_before_exec.lineno == 3
    assert sent == []
    stay.end()
    assert run(shell, "%%local\n9") == 9


def test_a_cell_is_complete_as_it_would_be_here(shell: Prompting, stay: AutoRemote) -> None:
    block = "for i in x:\n    i"
    texts = ["1 + 1", "for i in x:", block, f"{block}\n", "f <- function(x) {", "x = [", "!ls", "1 +", "%%local\nx"]
    there = [shell.check_complete(text) for text in texts]
    assert there[0][0] == "complete" and there[4][0] == "incomplete"
    stay.unload()
    assert [shell.check_complete(text) for text in texts] == there


def test_each_shell_has_a_stay_of_its_own(shell: Prompting, stay: AutoRemote) -> None:
    other = Prompting(parent=shell)
    atexit.unregister(other.atexit_operations)
    theirs = AutoRemote(other)
    assert run(other, "1") == 1 and theirs.kernel is None and theirs not in shell.input_transformers_cleanup
    assert stay.takes("1") and not theirs.takes("1")


def test_unloading_gives_the_shell_back_what_it_had(shell: Prompting) -> None:
    before, prompts = list(shell.input_transformers_cleanup), shell.prompts
    stay = AutoRemote(shell)
    assert shell.input_transformers_cleanup == [stay, *before] and stay.has_side_effects
    stay.begin(KERNEL, Namespace())
    for _ in range(2):
        stay.unload()
        assert shell.input_transformers_cleanup == before and shell.prompts is prompts
    shell.prompts = ClassicPrompts(shell)
    assert type(shell.prompts) is ClassicPrompts  # nobody watches


# -- the prompt


def drawn(shell: Prompting) -> str:
    return "".join(text for _, text in shell.prompts.in_prompt_tokens())


def test_the_prompt_says_where_one_is(shell: Prompting) -> None:
    own, stay = shell.prompts, AutoRemote(shell)
    assert drawn(shell) == "<7> "
    stay.begin(KERNEL, Namespace())
    assert drawn(shell) == "<7 → north> " and isinstance(shell.prompts, Own)
    stay.begin(Kernel("k2", sessions=(Session("south.ipynb", "south.ipynb"),)), Namespace())
    assert drawn(shell) == "<7 → south> "
    stay.end()
    assert shell.prompts is own


def test_prompts_that_somebody_sets_meanwhile_stay(shell: Prompting, stay: AutoRemote) -> None:
    theirs = ClassicPrompts(shell)
    shell.prompts = theirs
    assert drawn(shell) == "→ north >>> "  # there is no number to stand behind
    kept = shell.prompts
    stay.end()
    assert shell.prompts is theirs
    shell.prompts = kept  # as %doctest_mode puts back what it has kept
    assert drawn(shell) == ">>> "
    stay.begin(KERNEL, Namespace())
    assert drawn(shell) == "→ north >>> "


def test_prompts_that_nothing_can_stand_in_for_stay_as_they_are(shell: Prompting) -> None:
    class Odd(Prompts):
        __slots__ = ("slot",)

    stay = AutoRemote(shell)
    odd = shell.prompts = Odd(shell)
    stay.begin(KERNEL, Namespace())
    stay.end()
    assert shell.prompts is odd


@pytest.mark.parametrize("title", ["\x1b[31mred", "<b>x", "a\u202eb", "x" * 300, "a\nb", "漢" * 99, ""])
def test_a_name_in_the_prompt_is_harmless(shell: Prompting, title: str) -> None:
    stay = AutoRemote(shell)
    stay.begin(Kernel("0" * 36, sessions=(Session(f"work/{title}.ipynb", f"{title}.ipynb"),)), Namespace())
    assert drawn(shell).isprintable() and len(drawn(shell)) < 40 and "work" not in drawn(shell)
