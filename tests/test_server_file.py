from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from kernel_bridge_magic.entries import Entry
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.server_file import file_path, read_file, remove_entry, save_entry, stamp

CANARY = "canary-11c0"
LAB = Entry("lab", "https://lab.example/", token="env:LAB_TOKEN")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "kernel_bridge.json")


def write(path: str, text: str) -> None:
    Path(path).write_text(text, "utf-8")
    os.chmod(path, 0o600)


def test_what_is_saved_is_read_again_and_private(path: str) -> None:
    assert read_file(path) == ([], [])
    save_entry(path, LAB)
    save_entry(path, Entry("Größe", "https://other.example/x/", password="ask", trust=True))
    entries, problems = read_file(path)
    assert ([entry.name for entry in entries], problems) == (["lab", "Größe"], [])
    assert entries[0] == LAB
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    remove_entry(path, "lab")
    assert [entry.name for entry in read_file(path)[0]] == ["Größe"]
    assert os.listdir(os.path.dirname(path)) == ["kernel_bridge.json"]  # nothing half written is left


def test_what_is_not_there_is_removed_without_a_write(path: str) -> None:
    save_entry(path, LAB)
    before = stamp(path)
    remove_entry(path, "other")
    assert stamp(path) == before


def test_what_else_is_in_the_file_stays(path: str) -> None:
    write(path, '{"servers": {"old": {"url": "https://old.example/", "later": 1}}, "more": [1]}')
    before = stamp(path)
    save_entry(path, LAB)
    assert stamp(path) != before
    content = json.loads(Path(path).read_text())
    assert content["more"] == [1]
    assert content["servers"]["old"] == {"url": "https://old.example/", "later": 1}


def test_a_link_is_not_written_through(path: str, tmp_path: Path) -> None:
    aim = tmp_path / "aim"
    aim.write_text("{}")
    aim.chmod(0o600)
    os.symlink(aim, path)
    save_entry(path, LAB)
    assert aim.read_text() == "{}"
    assert read_file(path)[0] == [LAB]


def test_a_literal_secret_is_one_line_with_its_number_and_the_rest_is_used(path: str) -> None:
    write(
        path,
        '{\n "servers": {\n  "lab": {\n   "url": "https://lab.example/",\n   "token": "' + CANARY + '"\n  },\n'
        '  "Größe": {"url": "https://b.example/",\n     "tokn": "x"},\n'
        '  "bad": 7\n }\n}\n',
    )
    entries, problems = read_file(path)
    assert [entry.name for entry in entries] == ["Größe"]
    assert [line.partition(": ")[0] for line in problems] == [
        "kernel_bridge.json, line 5",
        "kernel_bridge.json, line 8",
        "kernel_bridge.json, line 9",
    ]
    assert "lab: the token is written out" in problems[0]
    assert CANARY not in str(problems)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n"servers": {\n"lab": {,}', r"line 3: .*; the file was not used"),
        ("[]", "line 1: it should be"),
        ('{"servers": []}', "line 1: it should be"),
        ("[" * 100_000, "not JSON"),
        ("", "line 1"),
    ],
)
def test_broken_json_is_one_line_and_is_not_written_over(path: str, text: str, says: str) -> None:
    write(path, text)
    entries, (problem,) = read_file(path)
    assert entries == []
    assert re.search(says, problem)
    if text:
        with pytest.raises(BadServer):
            save_entry(path, LAB)
        assert Path(path).read_text() == text


def test_a_name_that_is_there_twice_is_said(path: str) -> None:
    write(path, '{"servers": {"a": {"url": "https://a.example/"}, "a": {"url": "https://b.example/"}}}')
    (entry,), (problem,) = read_file(path)
    assert entry.url == "https://b.example/"
    assert "'a' is there twice" in problem


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_used(path: str, mode: int) -> None:
    save_entry(path, LAB)
    os.chmod(path, mode)
    entries, (problem,) = read_file(path)
    assert entries == [] and "chmod 600" in problem


def test_a_fifo_does_not_hang(path: str) -> None:
    os.mkfifo(path, 0o600)
    assert "not a regular file" in read_file(path)[1][0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_used(path: str) -> None:
    save_entry(path, LAB)
    os.chown(path, 65534, 65534)
    assert "another user" in read_file(path)[1][0]


def test_it_is_in_the_config_directory_and_never_in_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    assert file_path() == str(tmp_path / "config" / "kernel_bridge.json")
    monkeypatch.chdir(tmp_path)
    save_entry(str(tmp_path / "kernel_bridge.json"), LAB)
    for directory in (".", "config/.."):
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", directory)
        entries, (problem,) = read_file(file_path())
        assert entries == [] and "not an absolute path" in problem
    with pytest.raises(BadServer, match="not an absolute path"):
        save_entry(file_path(), LAB)


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadServer, match=r"cannot be (written|read)"):
        save_entry(str(tmp_path / "file" / "kernel_bridge.json"), LAB)
