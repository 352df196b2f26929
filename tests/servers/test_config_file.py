from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernel_bridge_magic.access.files import try_lock
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.servers import config_file
from kernel_bridge_magic.servers.config_file import file_path, read_file, remove_entry, save_entry, stamp
from kernel_bridge_magic.servers.entries import Entry

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
        "kernel_bridge.json, line 5, lab",
        "kernel_bridge.json, line 8, Größe",
        "kernel_bridge.json, line 9, bad",
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


def _directory(path: str) -> None:
    os.mkdir(path)


def _full_directory(path: str) -> None:
    os.mkdir(path)
    Path(path, "x").write_text("")


def _link_to_itself(path: str) -> None:
    os.symlink(path, path)


def _device(path: str) -> None:
    os.symlink("/dev/zero", path)


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(path))


@pytest.mark.parametrize("make", [_directory, _full_directory, _link_to_itself, _device, _socket, os.mkfifo])
def test_what_is_no_file_is_one_line_and_stays(path: str, make: Callable[[str], None]) -> None:
    make(path)
    before, open_files = os.lstat(path), len(os.listdir("/proc/self/fd"))
    entries, (problem,) = read_file(path)
    assert entries == [] and problem.startswith("kernel_bridge.json ") and "\n" not in problem
    acts: list[Callable[[], object]] = [lambda: save_entry(path, LAB), lambda: remove_entry(path, "lab")]
    for act in acts:
        with pytest.raises(BadServer, match=r"^kernel_bridge\.json .*") as caught:
            act()
        assert "\n" not in str(caught.value)
    assert os.lstat(path).st_ino == before.st_ino and os.listdir(os.path.dirname(path)) == ["kernel_bridge.json"]
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_a_lock_that_cannot_be_had_is_one_line(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "_LOCK_SECONDS", 0.1)
    said = "kernel_bridge.json cannot be written, since another process is writing it; the server was not saved"
    handle = try_lock(f"{path}.lock")
    assert handle is not None
    with os.fdopen(handle), pytest.raises(BadServer) as caught:
        save_entry(path, LAB)
    assert str(caught.value) == said
    os.unlink(f"{path}.lock")
    os.mkdir(f"{path}.lock")
    with pytest.raises(BadServer, match=r"cannot be written \(Is a directory\)"):
        save_entry(path, LAB)
    assert not os.path.exists(path)


def test_a_lock_that_was_left_behind_holds_nobody_up(path: str) -> None:
    Path(f"{path}.lock").write_text("")
    save_entry(path, LAB)
    assert os.listdir(os.path.dirname(path)) == ["kernel_bridge.json"]


_SAVE = """
import sys
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.config_file import save_entry, remove_entry
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    save_entry(sys.argv[1], Entry(f"{sys.argv[2]}-{number}", f"https://{sys.argv[2]}.example/{number}/"))
"""


def test_six_that_save_at_once_keep_all(path: str) -> None:
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _SAVE, path, f"p{n}", "5"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
                )
            )
            for n in range(6)
        ]
        errors = []
        with ThreadPoolExecutor(6) as pool:
            errors = list(pool.map(lambda process: process.communicate(b"go\n", 60)[1], processes))
    assert errors == [b""] * 6
    entries, problems = read_file(path)
    assert {entry.name for entry in entries} == {f"p{n}-{m}" for n in range(6) for m in range(5)} and problems == []
    assert os.listdir(os.path.dirname(path)) == ["kernel_bridge.json"]


def test_threads_that_save_and_remove_at_once_keep_all(path: str) -> None:
    for name in ("a", "b", "c"):
        save_entry(path, Entry(name, f"https://{name}.example/"))
    acts = [lambda n=n: save_entry(path, Entry(f"t{n}", f"https://t{n}.example/")) for n in range(6)]
    acts += [lambda name=name: remove_entry(path, name) for name in ("a", "b", "c")]
    with ThreadPoolExecutor(len(acts)) as pool:
        list(pool.map(lambda act: act(), acts))
    assert {entry.name for entry in read_file(path)[0]} == {f"t{n}" for n in range(6)}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_home_that_is_only_read_is_one_line(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chmod(home, mode)
    for directory in [tmp_path, *tmp_path.parents][:3]:
        os.chmod(directory, os.stat(directory).st_mode | 0o055)
    code = (
        # All that is imported comes first: where it is, another user may not look.
        "import fcntl, os, sys\n"
        "from kernel_bridge_magic.servers import config_file\n"
        "from kernel_bridge_magic.servers.entries import Entry\n"
        "os.setegid(65534); os.seteuid(65534)\n"
        "for path in (sys.argv[1], sys.argv[1] + '/jupyter'):\n"
        "    try: config_file.save_entry(path + '/kernel_bridge.json', Entry('lab', 'https://lab.example/'))\n"
        "    except config_file.BadServer as error: print(error)\n"
        "    print(config_file.read_file(path + '/kernel_bridge.json'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert done.stderr == "" and len(lines) == 4
    assert lines[0].startswith("kernel_bridge.json cannot be ") and "Permission denied" in lines[0]
    assert lines[2].startswith("kernel_bridge.json cannot be ") and "Permission denied" in lines[2]
    os.chmod(home, 0o755)


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
