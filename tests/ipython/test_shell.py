"""What the magics do with a shell, up to where a kernel is needed; `test_magics` goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.errors import BadOption, KernelBridgeError
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.ipython.options import kernels_parser, remote_parser, servers_parser
from kernel_bridge_magic.ipython.shell import InShell
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
    with pytest.raises(KernelBridgeError):
        here.run(match, code, options, hold_result=True)
    assert "outcome" not in shell.user_ns


def test_closing_twice_is_closing_once(here: InShell) -> None:
    here.close()
    here.close()
