"""What the magics do with a shell, up to where a kernel is needed; `test_magics` goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.errors import BadOption, BadVariable, Fate, KernelBridgeError
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.ipython.options import kernels_parser, remote_parser, servers_parser
from kernel_bridge_magic.ipython.shell import InShell
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.transfer.put import Outgoing
from kernel_bridge_magic.transfer.variables import Variables
from tests.support.shells import private_shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with private_shell(tmp_path) as made:
        yield made


@pytest.fixture
def here(shell: InteractiveShell) -> Iterator[InShell]:
    made = InShell(shell, KernelBridge())
    yield made
    made.close()


def test_a_table_s_rows_are_what_numbers_mean_from_then_on(here: InShell) -> None:
    assert here.bridge.rows == ()
    options, match = kernels_parser().parse_line("")
    assert list(here.kernels(match, options)) == [] and here.bridge.rows == ()


@pytest.mark.parametrize("line", ["--name lab", "--trust", "--token env:X", "--save", "--ca-file x.pem"])
def test_what_goes_with_a_server_that_is_added_is_refused_without_one(here: InShell, line: str) -> None:
    options, _ = servers_parser().parse_line(line)
    with pytest.raises(BadOption, match=r"^--[a-z-]+: these go with --add URL$"):
        here.servers(options)
    assert here.bridge.registry.servers() == []


def test_a_server_is_added_and_removed(here: InShell) -> None:
    def names(line: str) -> list[str]:
        options, _ = servers_parser().parse_line(line)
        here.servers(options)
        return [server.name for server in here.bridge.registry.servers()]

    assert names("--add http://127.0.0.1:1/ --name lab") == ["lab"]
    assert names("--remove lab") == []


def test_where_no_kernel_is_meant_nothing_is_bound(here: InShell, shell: InteractiveShell) -> None:
    options, match, code = remote_parser().parse_head("--result outcome nobody 1 + 1")
    options.variables = Variables()
    with pytest.raises(KernelBridgeError):
        here.run(match, code, options, hold_result=True)
    assert "outcome" not in shell.user_ns


def test_a_traceback_that_is_kept_keeps_no_file_of_what_went_with_the_cell(here: InShell, tmp_path: Path) -> None:
    options, match, code = remote_parser().parse_head("-i x nobody 1")
    sent = Outgoing({"x": bytes(10**6)}, 10**9)
    options.variables = Variables(sent=sent)
    parcel = sent.parcel({})
    file = sent.form(parcel, "file", lambda: codec().share(parcel, str(tmp_path)))
    with pytest.raises(KernelBridgeError):
        here.run(match, code, options, hold_result=False)
    assert file.handle == -1


def test_closing_twice_is_closing_once(here: InShell) -> None:
    here.close()
    here.close()


def too_large(size: int, kept: str) -> BadVariable:
    problem = BadVariable("df is larger", name="df", size=size)
    problem.kept = kept
    return problem


class Growing:
    """A kernel whose variable turns out to be larger each time."""

    def __init__(self, *sizes: int) -> None:
        self.sizes, self.allowed, self.forgotten = list(sizes), list[int](), list[str]()

    def connect(self, *where: Any) -> Growing:
        return self

    def get_all(self, variables: Variables, *, show: Any) -> dict[str, Any]:
        self.allowed.append(variables.most)
        assert variables.kept == f"kept {len(self.allowed)}"
        if self.sizes:
            raise too_large(self.sizes.pop(0), f"kept {len(self.allowed) + 1}")
        return {"df": "all of it"}

    def forget(self, kept: str) -> None:
        self.forgotten.append(kept)


@pytest.mark.parametrize(
    ("answers", "allowed"),
    [("y", [4000]), ("yy", [4000, 10_000]), ("yn", [4000]), ("n", []), ("yyy", [4000, 10_000, 60_000])],
)
def test_what_is_larger_than_a_yes_allows_is_asked_again(answers: str, allowed: list[int]) -> None:
    wishes = iter(answers)
    growing: Any = Growing(*[5000, 30_000][: len(answers) - 1])
    growing.bridge = SimpleNamespace(pool=growing)
    outcome = RemoteResult("error", Fate.OK, Kernel(id="1"), error=too_large(2000, "kept 1"))
    options = SimpleNamespace(variables=Variables(wanted={"df": "df"}, most=1000), transport="auto")
    relay: Any = SimpleNamespace(show=None)
    found = InShell._get_larger(growing, outcome, options, relay, lambda question: next(wishes))
    assert growing.allowed == allowed
    if answers.endswith("n"):
        assert found.error is not None and not found.variables
        assert growing.forgotten == [f"kept {len(answers)}"]
    else:
        assert not growing.forgotten
        assert found.error is None and list(found.variables) == ["df"]
