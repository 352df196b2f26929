"""`kernel-bridge get` and `put` as processes of their own: every kind of file, a full disk, streams that are closed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.cli.outcome import LOST, OK, UNUSABLE
from tests.support.forked import Forked
from tests.support.servers import JupyterServer, private_env
from tests.support.transports import connect_over, found

MAKE = """
import numpy, pandas, PIL.Image
json_there = {"a": [1, None, "ü"], "b": 10**20}
npy_there = numpy.arange(100_000.0).reshape(100, 1000)
arrow_there = csv_there = pandas.DataFrame({"n": [1, 2], "text": ["a,b", 'é"']})
png_there = PIL.Image.new("RGB", (40, 30), (1, 2, 3))
txt_there = "größe\\n"
long_there = "x" * 100_000
"""
SAME = {
    ".json": "json_back == json_there",
    ".npy": "npy_back.dtype == npy_there.dtype and (npy_back == npy_there).all()",
    ".arrow": "type(arrow_back) is type(arrow_there) and arrow_back.equals(arrow_there)",
    ".csv": "csv_back.equals(csv_there)",
    ".png": "png_back.mode == 'RGB' and png_back.tobytes() == png_there.tobytes()",
    ".txt": "txt_back == txt_there",
}


class Place:
    """A server with one kernel, and the commands of its user; `run` has the kernel evaluate an expression."""

    def __init__(self, server: JupyterServer, forked: Forked) -> None:
        self.forked = forked
        self.env = forked.env
        self.kernel = server.start_kernel(path="analysis.ipynb")
        server.wait_for_kernel(self.kernel)
        self.connection, _ = connect_over(server, found(server, self.kernel), "zmq")

    def copy(self, name: str, *words: str, shell: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command; `shell` is written before it, with `LINE` for the command."""
        line = [name, "analysis", *words]
        if not shell:
            return self.forked.run(*line)
        command = shlex.join([sys.executable, "-m", "kernel_bridge_magic", *line])
        argv = ["sh", "-c", shell.replace("LINE", f"exec {command}")]
        return subprocess.run(
            argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )

    def run(self, code: str) -> str:
        return self.connection.execute(code).text


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("get-put")
    with (
        JupyterServer(folder / "server") as server,
        Forked(private_env(folder / "user", server.runtime_dir), folder / "streams") as forked,
    ):
        made = Place(server, forked)
        made.connection.execute(MAKE)
        yield made
        made.connection.close()


@pytest.mark.parametrize("suffix", SAME)
def test_a_file_of_each_suffix_comes_and_goes(suffix: str, place: Place, tmp_path: Path) -> None:
    name, file = suffix[1:], tmp_path / f"a{suffix}"
    came = place.copy("get", f"{name}_there", "--output", str(file))
    assert (came.returncode, came.stdout) == (OK, "")
    assert came.stderr.startswith(f"{name}_there: ") and came.stderr.endswith(" ← analysis.ipynb\n")
    place.run(f"globals().pop('{name}_back', None)")
    went = place.copy("put", f"{name}_back", str(file))
    assert (went.returncode, went.stdout) == (OK, "")
    assert went.stderr.startswith(f"{name}_back: ") and went.stderr.endswith(" → analysis.ipynb\n")
    assert place.run(f"bool({SAME[suffix]})") == "True"
    if suffix == ".json":
        again = place.copy("put", f"{name}_back", str(file))
        assert again.returncode == OK and again.stderr.endswith(" → analysis.ipynb (replaced)\n")


def test_a_file_that_exists_is_replaced_only_where_that_is_said(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("mine")
    kept = place.copy("get", "txt_there", "-o", str(file))
    assert kept.returncode == UNUSABLE and "exists, so nothing was copied" in kept.stderr
    assert file.read_text() == "mine"
    done = place.copy("get", "txt_there", "-o", str(file), "--replace")
    assert done.returncode == OK and done.stderr.endswith("(replaced)\n")
    assert file.read_text() == "größe\n" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("words", [("no_such_name",), ("npy_there",), ("txt_there", "-o", "a.npy"), ("print",)])
def test_what_cannot_be_had_is_one_line_and_2(words: tuple[str, ...], place: Place, tmp_path: Path) -> None:
    words = tuple(str(tmp_path / word) if word == "a.npy" else word for word in words)
    done = place.copy("get", *words)
    assert (done.returncode, done.stdout) == (UNUSABLE, "")
    assert done.stderr.startswith("kernel-bridge: ") and done.stderr.count("\n") == 1 and words[0] in done.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("existed", [False, True])
def test_a_file_for_which_there_is_no_room_is_not_there(existed: bool, place: Place, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    if existed:
        file.write_text("mine")
    done = place.copy("get", "long_there", "-o", str(file), "--replace", shell="ulimit -f 8; LINE")
    assert (done.returncode, done.stdout) == (LOST, "")
    assert "long_there was read, but" in done.stderr and "could not be written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["a.txt"] * existed and (not existed or file.read_text() == "mine")


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_behind_stdout_is_told(more: tuple[str, ...], place: Place) -> None:
    done = place.copy("get", "json_there", *more, shell="LINE >/dev/full")
    assert (done.returncode, done.stdout) == (LOST, "")
    assert "the output could not be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("what", "streams"), [("get", ">&-"), ("get", "2>&-"), ("get", "<&-"), ("put", ">&- 2>&-"), ("put", "<&-")]
)
def test_closed_streams_are_no_traceback(what: str, streams: str, place: Place, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("[1, 2]")
    words = ("get", "json_there") if what == "get" else ("put", "closed_back", str(file))
    place.run("globals().pop('closed_back', None)")
    done = place.copy(*words, shell=f"LINE {streams}")
    assert done.returncode == OK and "Traceback" not in done.stderr
    if what == "put":
        assert place.run("closed_back") == "[1, 2]" and not done.stdout
    elif ">&-" not in streams.split():
        assert json.loads(done.stdout) == {"a": [1, None, "ü"], "b": 10**20}


def test_a_reader_that_has_enough_is_no_traceback(place: Place) -> None:
    done = place.copy("get", "long_there", shell="LINE | head -c 10")
    assert done.stdout == '"xxxxxxxxx' and "Traceback" not in done.stderr


def test_standard_input_that_is_closed_is_told(place: Place) -> None:
    done = place.copy("put", "closed_back", "-", shell="LINE <&-")
    assert done.returncode == UNUSABLE and "standard input is closed, so nothing was copied" in done.stderr
