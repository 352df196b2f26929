"""The commands in this process, up to where a kernel is needed; `test_main` runs them for real."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from kernel_bridge_magic.cli.arguments import parse
from kernel_bridge_magic.cli.commands import run_command
from kernel_bridge_magic.errors import BadInput, KernelBridgeError
from kernel_bridge_magic.models import Kernel


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


def run(*line: str) -> int:
    meant: list[Kernel] = []
    try:
        return run_command(parse(line), meant)
    finally:
        assert meant == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read (No such file or directory), so nothing was run. Check the path"),
        (b"\xff", "the code is not UTF-8 text, so nothing was run. Save it as UTF-8"),
    ],
)
def test_code_that_cannot_be_read_runs_nothing(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "job.py"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput) as raised:
        run("exec", "analysis", "-f", str(file))
    assert says in str(raised.value)


def test_a_name_that_no_file_has() -> None:
    with pytest.raises(BadInput, match="no file has such a name"):
        run("exec", "analysis", "-f", "a\0b")


def test_standard_input_that_is_closed_or_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(BadInput, match="standard input is closed"):
        run("exec", "analysis", "-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"#" * ((64 << 20) + 1))))
    with pytest.raises(BadInput, match="longer than 64 MiB"):
        run("exec", "analysis", "-")


@pytest.mark.parametrize("line", [("exec", "analysis", "-c", "1"), ("interrupt", "analysis")])
def test_without_a_kernel_nothing_is_run(line: tuple[str, ...]) -> None:
    with pytest.raises(KernelBridgeError):
        run(*line)


def test_an_empty_list_and_no_servers_are_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == run("list", "--json") == run("servers") == 0
    assert '"kernels": []' in capsys.readouterr().out
