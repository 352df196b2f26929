"""What runs in the other kernel, in this process: what it puts somewhere, and what it leaves behind."""

from __future__ import annotations

import ast
import collections
import io
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.events import EventManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.payload import PayloadManager

import kernel_bridge_magic
from kernel_bridge_magic import remote_code
from kernel_bridge_magic.remote_code import codec
from tests.support.sources import nodes_of, text_of

ROOT = Path(kernel_bridge_magic.__file__).parent
THERE = sorted((ROOT / "remote_code" / "there").glob("*.py"))


@pytest.mark.parametrize("path", THERE, ids=lambda path: path.stem)
def test_it_is_python_3_8(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


def test_an_expression_has_the_value_of_what_is_called_and_leaves_no_name() -> None:
    names: dict[str, Any] = {"exec": None, "eval": None}
    expression = remote_code.call("identify", files=("guard", "status"))
    assert eval(expression, names) == threading.get_ident()
    assert set(names) - {"__builtins__"} == {"exec", "eval"}
    assert "\n" not in expression


def test_files_that_share_a_namespace_define_no_name_twice() -> None:
    defined = collections.Counter[str]()
    for path in [it for it in THERE if it.stem in {*codec.FILES, "held"}]:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                defined[node.name] += 1
            elif isinstance(node, ast.Assign):
                defined.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert defined["give"] == 1 and not [name for name, times in defined.items() if times > 1]


def test_the_contract_names_each_file_and_no_other() -> None:
    page = (ROOT / "remote_code" / "README.md").read_text("utf-8")
    files = {path.name for path in THERE[0].parent.iterdir() if path.is_file()}
    assert set(re.findall(r"\(there/(\w+\.\w+)\)", page)) == files
    modules = {path.name for path in (ROOT / "remote_code").glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"(?:requests|values): `(\w+\.py)`", page)) == modules


def test_requests_on_control_are_sent_by_one_module_only() -> None:
    for path in [it for it in ROOT.rglob("*.py") if "channel=" in text_of(it)]:
        for node in nodes_of(path):
            if isinstance(node, ast.Call) and any(
                word.arg == "channel" and "control" in ast.unparse(word.value) for word in node.keywords
            ):
                assert "execute_request" not in ast.unparse(node) or path.name == "subshells.py", path.name


@pytest.mark.parametrize("guest", [True, False])
def test_an_interrupt_hits_threads_of_guests_only(guest: bool) -> None:
    names: dict[str, Any] = {}
    exec(remote_code.source("status"), names)
    begun, go, interrupted = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        try:
            begun.set()
            while not go.wait(0.01):
                pass
        except KeyboardInterrupt:
            interrupted.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    if guest:
        thread.kernel_bridge_guest = None  # type: ignore[attr-defined]
    assert thread.ident is not None
    assert names["interrupt"](thread.ident) == guest
    assert interrupted.wait(10 if guest else 0.1) == guest
    go.set()
    thread.join(10)
    assert names["interrupt"](thread.ident) == 0


# -- the guard


class Hook:
    exec_result: SimpleNamespace | None = None

    def fill_exec_result(self, value: object) -> None:
        if self.exec_result is not None:
            self.exec_result.result = value


@pytest.fixture
def events() -> EventManager:
    shell = SimpleNamespace(showtraceback=lambda: None, payload_manager=PayloadManager(), displayhook=Hook())
    shell.events = EventManager(shell, ["pre_execute", "post_execute"])
    return shell.events


@pytest.fixture
def called(events: EventManager) -> list[str]:
    called: list[str] = []
    for event in events.callbacks:
        events.register(event, lambda event=event: called.append(event))
    return called


@pytest.fixture
def there(events: EventManager, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """The names of the guard's source; new ones for each guest, as over there."""
    monkeypatch.setattr("IPython.get_ipython", lambda: events.shell)

    def names() -> dict[str, Any]:
        found: dict[str, Any] = {}
        exec(remote_code.source("guard"), found)
        return found

    return names


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    return thread


def request(events: EventManager, names: dict[str, Any]) -> None:
    events.trigger("pre_execute")
    names["enter_aside"]()
    end(events)


def end(events: EventManager) -> list[object]:
    """What comes at the end of each request; give the reply's payloads."""
    events.trigger("post_execute")
    manager = events.shell.payload_manager
    payloads: list[object] = manager.read_payload()
    manager.clear_payload()
    return payloads


def left(events: EventManager) -> list[str]:
    """What stands in some method's place."""
    parts = (events, events.shell.payload_manager, events.shell.displayhook)
    return [name for part in parts for name in vars(part) if callable(getattr(type(part), name, None))]


Names = Callable[[], dict[str, Any]]


def test_one_request_s_end_is_passed_over(events: EventManager, called: list[str], there: Names) -> None:
    in_thread(lambda: request(events, there()))
    assert called == ["pre_execute"]
    assert not left(events)
    in_thread(lambda: events.trigger("post_execute"))
    assert called == ["pre_execute", "post_execute"]


def test_other_threads_are_not_concerned(events: EventManager, called: list[str], there: Names) -> None:
    names = there()
    in_thread(lambda: names["enter"](names["Aside"]()))
    events.trigger("post_execute")
    events.register("pre_execute", lambda: called.append("new"))
    events.trigger("pre_execute")
    assert called == ["post_execute", "pre_execute", "new"]


def test_two_guests_do_not_restore_each_other_s(events: EventManager, called: list[str], there: Names) -> None:
    first, second = there(), there()
    here, go = threading.Event(), threading.Event()

    def long() -> None:
        first["enter"](first["Aside"]())
        here.set()
        go.wait(10)
        end(events)

    thread = threading.Thread(target=long)
    thread.start()
    assert here.wait(10)
    in_thread(lambda: request(events, second))
    assert "trigger" in vars(events)  # the first is at work still
    go.set()
    thread.join(10)
    assert called == ["pre_execute"]
    assert not left(events)


def test_a_thread_that_has_ended_is_let_go_with_the_next_guest(
    events: EventManager, called: list[str], there: Names
) -> None:
    names = there()
    in_thread(lambda: names["enter"](names["Aside"]()))  # killed before its end
    assert "trigger" in vars(events)
    for _ in range(50):  # one of them has the identity of the first
        in_thread(lambda: events.trigger("post_execute"))
    assert called == ["post_execute"] * 50
    in_thread(lambda: request(events, there()))
    assert not left(events)


def test_what_the_owner_had_put_there_is_called_and_put_back(
    events: EventManager, called: list[str], there: Names
) -> None:
    def trigger(event: str) -> None:
        called.append(f"the owner's {event}")

    events.trigger = trigger
    in_thread(lambda: request(events, there()))
    events.trigger("pre_execute")
    assert called == ["the owner's pre_execute"] * 2
    assert events.trigger is trigger and left(events) == ["trigger"]


def test_what_the_owner_puts_there_meanwhile_stays(events: EventManager, called: list[str], there: Names) -> None:
    names = there()
    thread = in_thread(lambda: names["enter"](names["Aside"]()))
    guarded = events.trigger

    def trigger(event: str) -> None:
        called.append("the owner's")
        guarded(event)

    events.trigger = trigger
    guarded.__self__.leave(thread)
    assert events.trigger is trigger and left(events) == ["trigger"]
    events.trigger("post_execute")
    in_thread(lambda: request(events, there()))
    assert events.trigger is trigger
    assert called == ["the owner's", "post_execute", "the owner's", "pre_execute"]


def test_payloads_go_with_the_reply_of_their_own_thread(events: EventManager, there: Names) -> None:
    manager, names, replies = events.shell.payload_manager, there(), []
    manager.write_payload({"source": "page", "data": "the owner's"})

    def work() -> None:
        names["enter"](names["Aside"]())
        manager.write_payload({"source": "page", "data": "a guest's"})
        replies.append(end(events))

    in_thread(work)
    assert replies == [[{"source": "page", "data": "a guest's"}]] and not left(events)
    assert end(events) == [{"source": "page", "data": "the owner's"}]


@pytest.mark.skipif(not hasattr(InteractiveShell, "_tee"), reason="needs an IPython that keeps what cells print")
def test_a_layer_of_a_cell_that_ended_within_a_guest_s_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    exec(remote_code.source("guard"), names)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    write = stream.write
    shell: Any = SimpleNamespace(execution_count=1)

    def layers() -> int:
        names["peel"](stream, 9)
        found, one = 0, stream.write
        while one != write:
            found, one = (
                found + 1,
                dict(zip(one.__code__.co_freevars, one.__closure__ or (), strict=True))["original_write"].cell_contents,
            )
        return found

    def begin() -> Any:
        cell = InteractiveShell._tee(shell, channel="stdout")
        cell.__enter__()
        return cell

    owner, guest = begin(), begin()
    assert layers() == 2
    owner.__exit__(None, None, None)
    guest.__exit__(None, None, None)
    assert layers() == 1
    after = begin()
    names["peel"](stream, 1)
    assert layers() == 1
    after.__exit__(None, None, None)
    names["peel"](stream, 0)
    assert layers() == 0 and stream.write == write


# -- figures


def test_figures_are_those_of_the_thread() -> None:
    names: dict[str, Any] = {}
    exec(remote_code.source("guard") + remote_code.source("subshell"), names)
    owners = collections.OrderedDict({1: "the owner's"})
    figures = names["Figures"](owners)

    def draw() -> None:
        figures.kernel_bridge_apart[threading.current_thread()] = collections.OrderedDict()
        assert not figures and list(figures) == [] and 1 not in figures
        figures[1] = "a guest's"
        figures[2] = "another"
        figures.move_to_end(1)
        assert list(reversed(figures)) == [1, 2] and next(reversed(figures.values())) == "a guest's"
        del figures[2]

    thread = in_thread(draw)
    assert list(figures.items()) == [(1, "the owner's")] and len(figures) == 1 and figures[1] == "the owner's"
    assert figures.kernel_bridge_apart[thread] == {1: "a guest's"}
