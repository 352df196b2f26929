"""What the processes of kernels use, without a word to the kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from kernel_bridge_magic.discovery.processes import is_at_work, usages
from tests.support.servers import ConsoleKernel, wait_for


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleKernel]:
    with ConsoleKernel(tmp_path_factory.mktemp("processes") / "runtime") as kernel:
        yield kernel


def test_a_kernel_s_process_is_found_and_measured(console: ConsoleKernel) -> None:
    path = str(console.connection_file)
    used = usages([path])[path]
    process = psutil.Process(console.pid)
    assert used.pid == console.pid
    assert 0.5 < used.memory / process.memory_info().rss < 2
    assert 0 <= used.cpu < 100 * (os.cpu_count() or 1)
    assert used.started.tzinfo is not None
    assert abs(used.started - datetime.fromtimestamp(process.create_time()).astimezone()) < timedelta(seconds=1)


def test_one_that_is_stopped_is_measured_too(console: ConsoleKernel) -> None:
    """So it cannot have been asked."""
    path = str(console.connection_file)
    process = psutil.Process(console.pid)
    process.suspend()
    try:
        assert usages([path])[path].pid == console.pid
    finally:
        process.resume()


def test_what_is_no_kernel_s_file_is_left_out(console: ConsoleKernel, tmp_path: Path) -> None:
    bad = []
    for number, text in enumerate(["", "[]", "{}", '{"shell_port": "x"}', "[" * 60_000]):
        (tmp_path / f"{number}.json").write_text(text)
        bad.append(str(tmp_path / f"{number}.json"))
    gone = str(tmp_path / "gone.json")
    assert usages([*bad, gone]) == {}
    assert usages([]) == {}
    path = str(console.connection_file)
    assert list(usages([*bad, gone, path])) == [path]


@pytest.mark.parametrize(
    ("code", "works"),
    [
        ("import time; time.sleep(60)", True),
        ("while True: pass", True),
        ("import select; select.select([], [], [], 60)", False),
        ("import sys; sys.stdin.read()", False),
    ],
)
def test_a_process_that_waits_is_not_at_work(code: str, works: bool) -> None:
    code = f"print('begins', flush=True); {code}" if "while" not in code else f"print('begins', flush=True)\n{code}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"begins\n"
            wait_for(lambda: is_at_work(process.pid) is works, "what it does", seconds=10)
        finally:
            process.kill()


def test_a_process_that_has_ended_is_not_at_work() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    began = time.monotonic()
    assert not is_at_work(process.pid)
    assert time.monotonic() - began < 5
