"""Where a secret is read from; that it is in no traceback is seen in `test_vault.py`."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

import pytest

from kernel_bridge_magic.access.references import read_secret
from kernel_bridge_magic.errors import BadServer

CANARY = "canary-9f2c41"


def test_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", CANARY)
    assert read_secret("env:LAB_TOKEN").reveal() == CANARY
    monkeypatch.setenv("LAB_TOKEN", "")
    assert not read_secret("env:LAB_TOKEN")
    with pytest.raises(BadServer, match=r"^environment variable LAB_TOKEN_2 \(--token env:LAB_TOKEN_2\) is not set$"):
        read_secret("env:LAB_TOKEN_2")
    with pytest.raises(BadServer, match=r"^environment variable LAB_KEY \(--password env:LAB_KEY\) is not set$"):
        read_secret("env:LAB_KEY", what="password")
    with pytest.raises(BadServer, match=r"^the environment variable of --token is not set; write its name without \$"):
        read_secret("env:")


def test_from_ask() -> None:
    assert read_secret("ask", ask=lambda: CANARY).reveal() == CANARY
    with pytest.raises(BadServer, match=r"^nobody can be asked for the secret here; use env:VAR or file:PATH$"):
        read_secret("ask")


def reference_to(kind: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if kind == "env":
        monkeypatch.setenv("LAB_TOKEN", value)
        return "env:LAB_TOKEN"
    path = tmp_path / "secret"
    path.write_bytes(value.encode())
    path.chmod(0o600)
    return f"file:{path}"


@pytest.mark.parametrize("kind", ["env", "file"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
def test_a_final_line_break_is_no_part_of_a_secret(
    kind: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_secret(reference_to(kind, CANARY + end, tmp_path, monkeypatch)).reveal() == CANARY


@pytest.mark.parametrize("kind", ["env", "file"])
@pytest.mark.parametrize("value", [f"{CANARY}\n{CANARY}", f"\n{CANARY}", f"{CANARY}\r\n\r\n", f"{CANARY}\ra\n"])
def test_a_line_break_within_a_secret_is_refused(
    kind: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadServer, match="line break"):
        read_secret(reference_to(kind, value, tmp_path, monkeypatch))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_file_that_others_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text(CANARY)
    path.chmod(mode)
    with pytest.raises(BadServer, match="chmod 600"):
        read_secret(f"file:{path}")


def test_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "big").write_bytes(b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("big", "binary"):
        (tmp_path / name).chmod(0o600)
    for name in ("missing", "fifo", "big", "binary", "a\0b", ""):
        with pytest.raises(BadServer, match="the secret's file"):
            read_secret(f"file:{tmp_path / name}")
    with pytest.raises(BadServer, match="the secret's file"):
        read_secret("file:~\0")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(CANARY)
    os.chown(path, 65534, 65534)
    path.chmod(0o600)
    with pytest.raises(BadServer, match="another user"):
        read_secret(f"file:{path}")


@pytest.mark.parametrize("literal", [CANARY, f"token:{CANARY}", f"env {CANARY}", f"env:{CANARY}"])
def test_a_literal_is_refused_and_not_repeated(literal: str) -> None:
    with pytest.raises(BadServer) as error:
        read_secret(literal)
    assert CANARY not in "".join(traceback.format_exception(error.value)).replace(literal, "")
    assert CANARY not in str(error.value)
    if not literal.startswith("env:"):
        assert str(error.value) == (
            "refused: a token typed in a cell is saved in the notebook and the history. If it was real, revoke it. "
            "Put it in an environment variable and write --token env:VAR (or file:PATH, or ask)"
        )


def test_a_file_is_named_where_its_directory_is_known(tmp_path: Path) -> None:
    for name in ("token", "LAB TOKEN"):
        with pytest.raises(BadServer, match=re.escape(str(tmp_path / name))):
            read_secret(f"file:{tmp_path / name}")
    with pytest.raises(BadServer, match=r"the secret's file cannot be read") as caught:
        read_secret("file:abcDEF/123+456")  # as Base64 may look
    assert "123" not in str(caught.value)
