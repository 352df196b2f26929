from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.models import (
    Kernel,
    KernelSpec,
    Origin,
    Server,
    Session,
    kernelspec_of,
    label,
    may_have_unread,
    parse_time,
)

ORIGIN = Origin("http", "127.0.0.1", 8888, "/")
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def test_a_kernel_of_a_jupyter_server() -> None:
    kernel = Kernel.from_json(
        {
            "id": "3f9c1c0e-0000",
            "name": "python3",
            "last_activity": "2026-01-02T03:04:05.678901Z",
            "execution_state": "idle",
            "connections": 2,
        }
    )
    assert (kernel.id, kernel.name, kernel.state, kernel.connections) == ("3f9c1c0e-0000", "python3", "idle", 2)
    assert kernel.last_activity == datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert kernel.short_id == "3f9c1c0e"
    assert not kernel.is_this_kernel


@pytest.mark.parametrize("state", ["starting", "dead", "restarting", "something new", "unknown"])
def test_any_state_is_shown_as_it_is(state: str) -> None:
    assert Kernel.from_json({"id": "k", "execution_state": state}).state == state


@pytest.mark.parametrize(
    "model",
    [
        {"id": "k"},
        {"id": "k", "name": None, "last_activity": None, "execution_state": None, "connections": None},
        {"id": "k", "name": 3, "last_activity": 17, "execution_state": ["idle"], "connections": "2"},
        {"id": "k", "last_activity": "yesterday", "execution_state": "", "unknown_field": {}},
    ],
)
def test_missing_fields_and_wrong_types_become_unknown(model: dict[str, Any]) -> None:
    assert Kernel.from_json(model) == Kernel(id="k")


@pytest.mark.parametrize("kernel_id", [None, "", 3, ["k"], {}])
def test_a_kernel_without_an_id_is_refused(kernel_id: object) -> None:
    with pytest.raises(ValueError, match="without an id"):
        Kernel.from_json({"id": kernel_id, "name": "python3"})
    with pytest.raises(ValueError, match="without an id"):
        Kernel.from_json({})


@given(
    model=st.dictionaries(
        st.sampled_from(["id", "name", "last_activity", "execution_state", "connections", "path", "notebook", "type"]),
        json_values,
    )
)
def test_whatever_a_server_sends_gives_a_kernel_or_one_error(model: dict[str, Any]) -> None:
    session = Session.from_json(model)
    assert all(isinstance(field, str) for field in (session.path, session.name, session.type))
    try:
        kernel = Kernel.from_json(model)
    except ValueError:
        return
    assert isinstance(kernel.title, str)
    assert isinstance(kernel.name, str)
    assert kernel.state
    hash(kernel)


def test_a_session_of_a_jupyter_server() -> None:
    model = {"id": "s", "path": "work/a b.ipynb", "name": "a b.ipynb", "type": "notebook", "kernel": {"id": "k"}}
    assert Session.from_json(model) == Session("work/a b.ipynb", "a b.ipynb", "notebook")
    nameless = {"path": "work/a.ipynb", "name": "", "type": "notebook"}
    assert Session.from_json(nameless) == Session("work/a.ipynb", "a.ipynb")


def test_a_session_of_a_kernel_gateway() -> None:
    # neither path, name nor type (FACTS.md#odd-servers)
    model = {"id": "s", "notebook": {"path": "work/a.ipynb"}, "kernel": {"id": "k"}}
    assert Session.from_json(model) == Session("work/a.ipynb", "a.ipynb", "notebook")


def test_a_console_is_called_by_its_name() -> None:
    console = Session.from_json({"path": "work/console-1-8a2d", "name": "Console 1", "type": "console"})
    assert label(console) == "Console 1"
    assert label(Session("work/a.ipynb", "a.ipynb")) == "work/a.ipynb"
    assert label(Session("", "only a name")) == "only a name"
    assert label(Session("p", "", "console")) == "p"


@pytest.mark.parametrize("model", [{}, {"path": None}, {"notebook": "a.ipynb"}, {"path": 3, "name": [], "type": {}}])
def test_a_session_of_nothing_has_no_name(model: dict[str, Any]) -> None:
    assert Session.from_json(model) == Session("", "")


def test_a_kernel_is_called_by_what_people_see() -> None:
    a, b = Session("work/a.ipynb", "a.ipynb"), Session("b.ipynb", "b.ipynb")
    two = Kernel(id="0123456789", sessions=(a, b))
    assert (two.title, two.paths) == ("work/a.ipynb", ("work/a.ipynb", "b.ipynb"))
    assert Kernel(id="0123456789", started_by="jupyter console").title == "jupyter console"
    assert Kernel(id="0123456789").title == "01234567"
    assert Kernel(id="0123456789", sessions=(Session("", ""), b)).title == "b.ipynb"


def test_the_kernelspec_tells_language_and_name() -> None:
    kernel = Kernel(id="k", name="ir", spec=KernelSpec("ir", "R 4.4", "r"))
    assert (kernel.display_name, kernel.language) == ("R 4.4", "r")
    assert (Kernel(id="k", name="ir").display_name, Kernel(id="k").language) == ("ir", "")


def test_own_is_what_runtime_files_or_the_user_say_never_loopback() -> None:
    added = Server("http://127.0.0.1:8888/", "x", ORIGIN)
    assert not added.is_yours
    assert dataclasses.replace(added, source="runtime").is_yours
    assert dataclasses.replace(added, trusted=True).is_yours
    assert not Kernel(id="k", server=added).is_yours
    # a connection file beside a foreign server's kernel proves nothing
    assert not Kernel(id="k", server=added, connection_file="/x").is_yours
    assert Kernel(id="k", connection_file="/x").is_yours
    assert not Kernel(id="k").is_yours


def test_times_are_aware() -> None:
    assert parse_time("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_time("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    shifted = parse_time("2026-01-02T03:04:05+02:00")
    assert shifted is not None and shifted.utcoffset() == timedelta(hours=2)
    odd: list[object] = [None, "", "now", 3, [], "2026-13-01"]
    for value in odd:
        assert parse_time(value) is None


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Kernel(id="k").id = "other"  # type: ignore[misc]


def test_a_kernel_s_repr_is_one_short_line() -> None:
    server = Server("http://localhost:8888/", "localhost:8888", ORIGIN)
    spec = KernelSpec("python3", "Python 3", "python")
    sessions = (Session("work/analysis.ipynb", "analysis.ipynb"), Session("other.ipynb", "other.ipynb"))
    kernel = Kernel("3f9c1c0e-0000", "python3", spec, "idle", sessions=sessions, server=server)
    assert repr(kernel) == "<Kernel: work/analysis.ipynb (Python 3, idle, localhost:8888, 3f9c1c0e)>"
    assert repr(Kernel(id="k")) == "<Kernel: k (unknown, k)>"
    evil = repr(Kernel(id="k", sessions=(Session("\x1b[2J\n" + "x" * 1_000_000, "x"),)))
    assert "\x1b" not in evil and "\n" not in evil and len(evil) < 150


def test_a_kernel_s_path_is_that_of_its_first_session() -> None:
    sessions = (Session("", "console"), Session("a.ipynb", "a.ipynb"), Session("b.ipynb", "b.ipynb"))
    assert Kernel(id="k", sessions=sessions).path == "a.ipynb"
    assert Kernel(id="k").path == ""


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"connections": 0, "state": "busy"}, True),
        ({"connections": 0, "state": "idle", "last_activity": timedelta(minutes=1)}, True),
        ({"connections": 0, "state": "idle", "last_activity": timedelta(days=1)}, False),
        ({"connections": 0, "state": "idle", "last_activity": None}, False),
        ({"connections": 1, "state": "busy"}, False),
        ({"connections": None, "state": "busy"}, False),
        ({"connections": 0, "state": "busy", "sessions": ()}, False),
    ],
)
def test_unread_output_is_suspected_only_where_there_may_be_some(changes: dict[str, object], told: bool) -> None:
    kernel = Kernel(id="k", sessions=(Session("a.ipynb", "a.ipynb"),))
    if isinstance(ago := changes.get("last_activity"), timedelta):
        changes = {**changes, "last_activity": NOW - ago}
    assert may_have_unread(dataclasses.replace(kernel, **changes), NOW) is told  # type: ignore[arg-type]


def test_the_former_names_of_two_attributes_still_hold() -> None:
    ours, this = Kernel(id="k", connection_file="/x"), Kernel(id="k", is_this_kernel=True)
    assert [kernel.own for kernel in (ours, this)] == [kernel.is_yours for kernel in (ours, this)] == [True, False]
    assert [kernel.is_own for kernel in (ours, this)] == [False, True]


@pytest.mark.parametrize(
    ("notebook", "name"),
    [
        ({"metadata": {"kernelspec": {"name": "python3"}}}, "python3"),
        ({"metadata": {"kernelspec": {"name": 3}}}, ""),
        ({"metadata": {"kernelspec": None}}, ""),
        ({"metadata": []}, ""),
        ({}, ""),
        ([1], ""),
        (None, ""),
        ("metadata", ""),
    ],
)
def test_the_kernelspec_that_a_notebook_wants(notebook: object, name: str) -> None:
    assert kernelspec_of(notebook) == name
