"""The requests of durable mode, and what runs over there for them: in this process, on a real session."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_client.session import Session

from kernel_bridge_magic.fate.spool import Catch
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.remote_code.spool import arm, drop, fetch, is_armed, needs, quiet_id

CELL = "client_2"
Sent = list[dict[str, Any]]


class Owner(Session):
    """A kernel's session, whose `send` of its class writes down what goes out."""

    def __init__(self) -> None:
        super().__init__(key=b"")
        self.sent: Sent = []

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None, *rest: Any) -> Any:
        made = msg_or_type if isinstance(msg_or_type, dict) else self.msg(msg_or_type, content, parent)
        self.sent.append(made)
        return made


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Owner:
    session = Owner()
    shell = SimpleNamespace(kernel=SimpleNamespace(session=session))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr("ipykernel.version_info", (7, 0, 0))  # with older ones nothing is kept, see below
    return session


def evaluate(content: dict[str, Any]) -> dict[str, Any]:
    """Evaluate a request's expressions as a kernel does; give the content that answers it."""
    assert not content["code"] and content["silent"]
    names: dict[str, Any] = {"get_ipython": None}
    values = {name: repr(eval(code, names)) for name, code in content["user_expressions"].items()}
    assert set(names) - {"__builtins__"} == {"get_ipython"}
    return {"user_expressions": {name: {"data": {"text/plain": value}} for name, value in values.items()}}


def keep(most: int = 1 << 20, cell: str = CELL) -> None:
    assert is_armed(evaluate(arm(cell, most)))


def prints(session: Owner, text: str, cell: str = CELL, buffers: list[bytes] | None = None) -> None:
    session.send(None, "stream", {"name": "stdout", "text": text}, {"msg_id": cell}, None, buffers)


def hook(session: Owner) -> Any:
    """What stands in the place of the session's `send`, with the `spools` that it fills."""
    return session.send


def says(session: Owner, state: str, parent: str) -> None:
    session.send(None, "status", {"execution_state": state}, {"header": {"msg_id": parent}})


def fetched(start: int = 0) -> Catch:
    catch = Catch.parse(evaluate(fetch(CELL, start)))
    assert catch is not None
    return catch


def texts(messages: list[Message]) -> list[str]:
    return [message.content["text"] for message in messages]


def test_what_answers_the_cell_is_sent_and_kept(session: Owner) -> None:
    keep()
    prints(session, "one")
    prints(session, "another client's", "other_1")
    prints(session, "two", buffers=[b"\0\1"])
    assert texts(fetched()) == ["one", "two"] and texts(fetched(1)) == ["two"]
    assert fetched()[1].buffers == (b"\0\1",)
    assert [one["content"]["text"] for one in session.sent] == ["one", "another client's", "two"]
    assert [one.msg_id for one in fetched()] == [session.sent[0]["msg_id"], session.sent[2]["msg_id"]]


def test_the_oldest_make_room(session: Owner) -> None:
    keep(2000)
    for number in range(20):
        prints(session, f"{number}")
    catch = fetched()
    assert 0 < catch.base == catch.start == 20 - len(catch) and catch.end == 20


def test_a_chunk_has_at_least_one_message(session: Owner) -> None:
    keep()
    prints(session, "one")
    prints(session, "two")
    spools = hook(session).spools
    small = repr(spools.fetch(CELL, 0, 1))
    catch = Catch.parse({"user_expressions": {"spool": {"data": {"text/plain": small}}}})
    assert catch is not None and (texts(catch), catch.end) == (["one"], 2)


def test_requests_beside_the_cell_are_not_heard_and_the_last_one_ends_the_keeping(session: Owner) -> None:
    keep()
    for word in ("1", "drop"):
        says(session, "busy", quiet_id(CELL, word))
        says(session, "idle", quiet_id(CELL, word))
    assert not session.sent
    assert "send" not in vars(session)
    assert evaluate(drop()) == {"user_expressions": {}}
    says(session, "idle", quiet_id(CELL, "drop"))
    assert len(session.sent) == 1


@pytest.mark.parametrize("found", [True, False])
def test_what_the_owner_had_put_there_is_called_and_put_back(session: Owner, found: bool) -> None:
    called: list[str] = []

    def send(stream: Any, msg_or_type: Any, *rest: Any) -> None:
        called.append(msg_or_type["msg_type"])

    if found:
        session.__dict__["send"] = send
    keep()
    prints(session, "one")
    assert called == (["stream"] if found else [])
    hook(session).spools.drop(CELL)
    assert vars(session).get("send") is (send if found else None)


def test_what_the_owner_puts_there_meanwhile_stays(session: Owner) -> None:
    keep()
    ours = hook(session)

    def send(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    session.__dict__["send"] = send
    ours.spools.drop(CELL)
    prints(session, "one")
    assert vars(session)["send"] is send and len(session.sent) == 1


def test_an_error_of_ours_reaches_no_cell(session: Owner) -> None:
    keep()
    hook(session).spools.cells[CELL]["ring"] = None
    prints(session, "one")
    assert len(session.sent) == 1


def test_a_forked_child_only_sends(session: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    keep()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    prints(session, "a child's")
    says(session, "idle", quiet_id(CELL, "drop"))
    assert len(session.sent) == 2 and not fetched()


def test_of_cells_that_ended_the_last_three_are_kept_for_an_hour(session: Owner) -> None:
    for number in range(6):
        keep(cell=f"client_{number}")
        says(session, "idle", f"client_{number}")
    spools = hook(session).spools
    assert sorted(spools.cells) == [f"client_{number}" for number in range(2, 6)]
    timers = [cell["timer"] for cell in spools.cells.values()]
    assert all(isinstance(timer, threading.Timer) and timer.interval == 3600 and timer.daemon for timer in timers)
    for number in range(2, 6):
        spools.drop(f"client_{number}")
    assert all(timer.finished.is_set() for timer in timers) and "send" not in vars(session)


def test_an_older_ipykernel_keeps_nothing(session: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipykernel.version_info", (6, 29, 5))
    assert not is_armed(evaluate(arm(CELL)))
    assert "send" not in vars(session)


def test_who_cannot_is_told_what_it_is() -> None:
    # as ipykernel 7.4 and 6.29 say it, with IPython 8.20
    features = ["debugger", "kernel subshells"]
    ipython = {"implementation": "ipython", "implementation_version": "8.20.0"}
    assert needs({**ipython, "supported_features": features}) == ""
    assert "this one is older" in needs(ipython)
    assert "this one is older" in needs({**ipython, "supported_features": ["debugger"]})
    assert "this one is older" in needs({**ipython, "supported_features": 7})
    assert "this one is IRkernel 1.3" in needs({"implementation": "IRkernel", "implementation_version": "1.3"})
    assert "does not say" in needs({})


def test_a_kernel_that_is_too_old_is_left_alone(session: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    before = session.send
    monkeypatch.setattr("ipykernel.version_info", (6, 31, 0))
    assert not is_armed(evaluate(arm(CELL, 1 << 20)))
    assert session.send == before
