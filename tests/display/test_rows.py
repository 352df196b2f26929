from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kernel_bridge_magic.display.grid import NONE
from kernel_bridge_magic.display.rows import claim_lines, problem_line, row_of, transport, usage_words
from kernel_bridge_magic.models import Kernel, KernelSpec, Origin, Server, Session
from kernel_bridge_magic.reports import ServerReport, Usage

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LAB = Server("http://127.0.0.1:8888/", "lab", Origin("http", "127.0.0.1", 8888, "/"))
PYTHON = KernelSpec("python3", "Python 3", "python")


def kernel(**known: object) -> Kernel:
    return Kernel(**{"id": "3f9c1c0e-1", "name": "python3", "spec": PYTHON, "server": LAB, **known})  # type: ignore[arg-type]


def test_the_cells_of_a_kernel() -> None:
    sessions = (Session("work/a.ipynb", "a.ipynb"), Session("b.ipynb", "b.ipynb"))
    row = row_of(kernel(sessions=sessions, state="idle", connections=2, last_activity=NOW), 3, NOW)
    assert row[1:] == ("3", "work/a.ipynb +1", "Python 3", "idle", "now", "2", "lab", row.kernel.short_id, "idle")


def test_what_is_not_known_is_said_so() -> None:
    row = row_of(Kernel("k"), None, NOW)
    assert (row.number, row.spec, row.state, row.idle, row.clients, row.server) == ("", NONE, "unknown", "", "", NONE)


def test_this_kernel_and_a_cell_of_ours_that_runs() -> None:
    assert row_of(kernel(is_this_kernel=True, state="busy", last_activity=NOW), 1, NOW).state == "this kernel"
    row = row_of(kernel(state="idle", last_activity=NOW), 1, NOW, busy_since="11:59:00")
    assert (row.state, row.idle) == ("busy since 11:59:00", "")


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=-5), "now"),
        (timedelta(seconds=59), "now"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(days=2), "2 d"),
    ],
)
def test_how_long_ago_it_was_active(ago: timedelta, words: str) -> None:
    assert row_of(kernel(state="idle", last_activity=NOW - ago), 1, NOW).idle == words
    assert row_of(kernel(state="busy", last_activity=NOW - ago), 1, NOW).idle == ""


def test_names_are_made_visible_and_a_language_is_said_where_the_name_does_not() -> None:
    row = row_of(kernel(sessions=(Session("a\x1b[2Jb", "x"),), spec=KernelSpec("x", "Xeus", "R")), 1, NOW)
    assert "\x1b" not in row.name and row.spec == "Xeus (R)"


def test_what_a_process_uses() -> None:
    assert usage_words(None, "python") == "python" and usage_words(None, "") == ""
    usage = Usage(pid=7, memory=1_500_000_000, cpu=12.4, started=NOW)
    assert usage_words(usage, "R") == "pid 7, 1.5 GB, 12 % CPU, started 2026-01-02 12:00, R"
    assert "3 MB" in usage_words(Usage(pid=7, memory=3_000_000, cpu=0.0, started=NOW), "")


def test_why_a_server_did_not_answer() -> None:
    line = problem_line(ServerReport(LAB, problem="did not answer", remedy="start it"))
    assert line.startswith("lab") and "did not answer" in line and line.endswith("start it")


def test_the_claims_of_a_sandboxed_server() -> None:
    one, *more = [kernel(id=f"{number}aaaaaaa-1") for number in range(5)]
    (line,) = claim_lines([one])
    assert line.startswith("lab lists a kernel with an id of yours") and line.endswith("lab::MATCH means it")
    (line,) = claim_lines([one, *more])
    assert "5 kernels with ids of yours" in line and ", …)" in line and line.endswith("lab::MATCH means them")
    assert claim_lines([]) == []


def test_the_transport_that_would_be_chosen() -> None:
    assert transport(kernel(connection_file="k.json")) == "zmq"
    assert transport(kernel()) == "ws" and transport(Kernel("k")) == ""
