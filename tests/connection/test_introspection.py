"""What a kernel is asked while somebody types, with a kernel that answers whatever the test says."""

from __future__ import annotations

import builtins
import signal
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.connection.introspection import Completed, Introspection, read_completions
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.models import Kernel, Origin, Server
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.inbox import Broken, Closed
from tests.support.still import StillTransport
from tests.support.transports import Heard
from tests.support.wire import msg, status

CODE = "df.only"
SANDBOXED = Server("http://far/", "far", Origin("http", "far", 80, "/"))


def completed(*matches: str, start: Any = 3, end: Any = 7, **more: Any) -> dict[str, Any]:
    return {"status": "ok", "matches": list(matches), "cursor_start": start, "cursor_end": end, "metadata": {}, **more}


def typed(*items: object, **more: Any) -> dict[str, Any]:
    return completed("fallback", metadata={"_jupyter_types_experimental": list(items)}, **more)


def item(text: object, kind: object = "function", **more: Any) -> dict[str, Any]:
    return {"start": 3, "end": 7, "text": text, "type": kind, **more}


class Scripted(StillTransport):
    """Answers each question with `reply`; None for not at all."""

    def __init__(self, reply: dict[str, Any] | None = None, server: Server | None = None) -> None:
        super().__init__(Kernel(id=str(uuid.uuid4()), connection_file="" if server else "k.json", server=server))
        self.reply = reply
        self.state.info = {"implementation": "ipython"}
        self.asked = Introspection(self._kernel, self)

    def was_sent(self, message: Message) -> None:
        if self.reply is not None:
            self.answer(self.reply)

    def answer(self, content: dict[str, Any], number: int = -1) -> None:
        """Answer one of the questions that were sent."""
        kind = self.sent[number].msg_type.replace("request", "reply")
        self.receive(msg(kind, content, channel="shell", parent=self.sent[number].msg_id))

    def idle(self) -> None:
        self.receive(status("idle", parent=self.sent[-1].msg_id))

    def run(self, state: str = "busy") -> None:
        """Have another client's cell begin, or end."""
        content = {"execution_state": state}
        header = {"msg_type": "status", "msg_id": uuid.uuid4().hex, "session": "life"}
        parent = {"msg_type": "execute_request", "msg_id": "theirs", "session": "theirs"}
        self.receive(Message.parse("iopub", header, parent, {}, content))


def test_the_kernel_is_asked_and_its_answer_is_read() -> None:
    transport = Scripted(typed(item("only_there", signature="(a)"), item("only", None)))
    assert transport.asked.complete(CODE, 7) == [
        Completed(3, 7, "only_there", "function", "(a)"),
        Completed(3, 7, "only"),
    ]
    (request,) = transport.sent
    assert request.channel == "shell" and request.content == {"code": CODE, "cursor_pos": 7}
    assert not transport.router.is_awaited, "or the connection would never be let go"


def test_a_kernel_that_tells_no_types() -> None:
    assert Scripted(completed("only_there")).asked.complete(CODE, 7) == [Completed(3, 7, "only_there")]


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"status": "error", "ename": "x"},
        completed("x", status="error"),
        completed("x", start=-1),
        completed("x", start=8),  # behind the cursor
        completed("x", end=6),  # before the cursor
        completed("x", end=8),  # behind the code
        completed("x", start=None),
        completed("x", start=True),
        completed("x", start="3"),
        completed("x", end=7.0),
        completed("x", matches="only"),
        completed("x", matches={"only": 1}),
        completed("x", matches=[None, 1, ["x"], {}]),
        typed(None, 1, "only", []),
        typed(item(None), item(5), item("")),
        typed(item("x", start=-1), item("x", end=99), item("x", start=7, end=3)),
        # what a terminal would obey, or nobody can read
        typed(item("\x1b]0;x\x07"), item("a\nb"), item("\u202e"), item("\ud800"), item("x" * 2_001), item("\x9b1m")),
        completed("\x1b[2J", "a\rb", "\x00"),
    ],
    ids=lambda reply: str(reply)[:60],
)
def test_what_cannot_be_used_is_left_out(reply: dict[str, Any]) -> None:
    assert Scripted(reply).asked.complete(CODE, 7) == []


def test_one_that_cannot_be_used_takes_no_other_with_it() -> None:
    reply = typed(item("a\x1b"), item("good", ["function"], signature="a\nb"), item("x", end=8), metadata2=1)
    assert Scripted(reply).asked.complete(CODE, 7) == [Completed(3, 7, "good")]
    assert read_completions(completed("x", metadata=None), 7, 7) == [Completed(3, 7, "x")]
    assert read_completions(completed("x", metadata={"_jupyter_types_experimental": "no"}), 7, 7)


def test_very_many_are_cut() -> None:
    found = Scripted(completed(*[f"a{n}" for n in range(20_001)])).asked.complete(CODE, 7)
    assert len(found) == 20_000 and found[-1].text == "a19999"
    assert len(Scripted(typed(*[item(f"a{n}") for n in range(20_001)])).asked.complete(CODE, 7)) == 20_000


json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 12) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
item_fields = st.fixed_dictionaries({}, optional=dict.fromkeys(("start", "end", "text", "type", "signature"), json))
replies = st.fixed_dictionaries(
    {"status": st.just("ok") | json},
    optional={
        "matches": st.lists(st.text(max_size=3)) | json,
        "cursor_start": json,
        "cursor_end": json,
        "metadata": json | st.fixed_dictionaries({"_jupyter_types_experimental": st.lists(item_fields | json) | json}),
    },
)


@given(replies, st.integers(0, 10), st.integers(0, 10))
def test_whatever_the_reply_is_nothing_outside_of_the_code_is_changed(
    reply: dict[str, Any], cursor: int, more: int
) -> None:
    for one in read_completions(reply, cursor, cursor + more):
        assert 0 <= one.start <= cursor <= one.end <= cursor + more
        assert one.text.isprintable() and one.text and (one.type + one.signature).isprintable()


# -- when it is asked


def test_a_late_answer_is_dropped_and_until_then_nothing_is_asked() -> None:
    transport = Scripted()
    assert transport.asked.complete(CODE, 7, seconds=0) == []
    assert transport.asked.complete("df.", 3, seconds=0) == [] and transport.asked.inspect("df", 2) is None
    assert len(transport.sent) == 1
    transport.answer(completed("late"), number=0)
    transport.reply = completed("new")
    assert [one.text for one in transport.asked.complete(CODE, 7)] == ["new"]


@pytest.mark.parametrize("is_over", [False, True])
def test_what_a_thread_shows_after_a_question_is_of_the_last_cell(is_over: bool) -> None:
    """ipykernel names the newest request as its parent, whatever that is."""
    kernel, heard = Scripted(), Heard()
    kernel.router.subscribe(heard)
    cell = kernel.send("execute_request", {"code": "start_a_thread()", "silent": False})
    kernel.asked.complete(CODE, 7, seconds=0)
    question = kernel.sent[-1].msg_id
    if is_over:
        kernel.answer(completed("only_there"))
    kernel.receive(msg("stream", {"name": "stdout", "text": "late"}, parent=question))
    kernel.receive(msg("display_data", {"data": {"text/plain": "late"}, "metadata": {}}, parent=question))
    kernel.receive(msg("stream", {"name": "stdout", "text": "theirs"}, parent="theirs"))
    shown = [(it.msg_type, it.parent_id) for it in heard.items]
    assert shown == [("stream", cell), ("display_data", cell), ("stream", "theirs")]


def test_a_busy_kernel_is_sent_nothing() -> None:
    transport = Scripted(completed("x"))
    transport.run()
    assert transport.asked.complete(CODE, 7) == [] and transport.asked.inspect(CODE, 7) is None
    assert not transport.sent
    transport.run("idle")
    assert transport.asked.complete(CODE, 7)


@pytest.mark.parametrize("break_it", ["lost", "closed"])
def test_a_link_that_is_lost_is_sent_nothing(break_it: str) -> None:
    transport = Scripted(completed("x"))
    if break_it == "lost":
        transport.lost_since = 1.0
    else:
        transport.down = True
    assert transport.asked.complete(CODE, 7) == [] and not transport.sent
    transport.lost_since, transport.down = None, False
    assert transport.asked.complete(CODE, 7)


@pytest.mark.parametrize("code", ["'\ud83d'; df.", "df.\udc80", "\0df.", "x" * 50_001])
def test_code_that_no_kernel_can_be_sent(code: str) -> None:
    """Over ZMQ it would have ended the connection, with every cell there; and a link that hangs takes no long one."""
    transport = Scripted(completed("x"))
    assert transport.asked.complete(code, len(code)) == [] and transport.asked.inspect(code, 1) is None
    assert not transport.sent and transport.asked.complete(CODE, 7)


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no")])
def test_what_could_not_be_sent_is_not_waited_for(problem: BaseException) -> None:
    class Raising(Scripted):
        def was_sent(self, message: Message) -> None:
            if len(self.sent) == 1:
                raise problem
            super().was_sent(message)

    transport = Raising(completed("x"))
    with pytest.raises(type(problem)):
        transport.asked.complete(CODE, 7)
    assert transport.asked.complete(CODE, 7) and not transport.router.is_awaited


@pytest.mark.parametrize(
    "end", [Closed(""), Broken("reset", "12:00:00"), EndSignal.NEW_LIFE], ids=["closed", "broken", "restarted"]
)
def test_an_answer_that_cannot_come_is_not_waited_for(end: Any) -> None:
    transport = Scripted()
    transport.asked.complete(CODE, 7, seconds=0)
    transport.router.tell_all(end)
    transport.reply = completed("new")
    assert [one.text for one in transport.asked.complete(CODE, 7)] == ["new"]
    assert not transport.router.is_awaited


def test_a_kernel_that_ends_the_question_without_an_answer_is_asked_again() -> None:
    transport = Scripted()
    transport.asked.complete(CODE, 7, seconds=0)
    transport.idle()
    assert not transport.router.is_awaited
    transport.asked.complete(CODE, 7, seconds=0)
    assert len(transport.sent) == 2


def test_an_answer_behind_its_idle_is_read() -> None:
    class Disorderly(Scripted):
        def was_sent(self, message: Message) -> None:
            self.idle()
            threading.Timer(0.01, self.answer, [completed("behind")]).start()

    assert [one.text for one in Disorderly().asked.complete(CODE, 7, seconds=30)] == ["behind"]


def test_a_link_that_breaks_ends_the_wait() -> None:
    class Breaking(Scripted):
        def was_sent(self, message: Message) -> None:
            self.router.tell_all(Closed("reset"))

    assert Breaking().asked.complete(CODE, 7, seconds=3600) == []


def test_ctrl_c_ends_the_wait() -> None:
    class Interrupted(Scripted):
        def was_sent(self, message: Message) -> None:
            signal.raise_signal(signal.SIGINT)

    transport = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        transport.asked.complete(CODE, 7, seconds=3600)


# -- documentation

DOC = {"text/plain": "Docstring: \x1b[31mhi\x1b[0m \x1b]0;title\x07", "text/html": "<script>steal()</script>"}


def test_documentation_of_a_kernel_that_is_yours_is_shown_as_it_is() -> None:
    transport = Scripted({"status": "ok", "found": True, "data": DOC, "metadata": {}})
    assert transport.asked.inspect(CODE, 7, 1) == (DOC, {})
    assert transport.sent[0].content == {"code": CODE, "cursor_pos": 7, "detail_level": 1}


def test_documentation_of_another_one_can_do_no_harm() -> None:
    told = {"status": "ok", "found": True, "data": DOC, "metadata": {"text/html": {"isolated": True}}}
    found = Scripted(told, SANDBOXED).asked.inspect(CODE, 7)
    assert found is not None
    data, metadata = found
    assert data["text/plain"] == "Docstring: \x1b[31mhi\x1b[0m ^[]0;title^G"
    assert "<script>" not in data["text/html"] and metadata == {}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"status": "error"},
        {"status": "ok", "found": False, "data": {}},
        {"status": "ok", "found": "yes", "data": DOC},
        {"status": "ok", "found": True, "data": [1]},
        {"status": "ok", "found": True, "data": {}},
        {"status": "ok", "found": True},
    ],
)
def test_none_is_told(reply: dict[str, Any]) -> None:
    assert Scripted(reply).asked.inspect(CODE, 7) is None


# -- the warm-up


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What waits for its time; the test says when that has come."""
    made: list[Callable[[], None]] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, action: Callable[[], None]) -> None:
            self._action = action

        def start(self) -> None:
            assert self.daemon, "no process waits for it"
            made.append(self._action)

    monkeypatch.setattr(threading, "Timer", Timer)
    return made


def test_it_is_warmed_up_once_and_in_a_moment(timers: list[Callable[[], None]]) -> None:
    transport = Scripted()
    transport.asked.warm_up()
    transport.asked.warm_up()
    assert not transport.sent and len(timers) == 1
    timers.pop()()
    (request,) = transport.of("complete_request")
    code, cursor = request.content["code"], request.content["cursor_pos"]
    assert vars(builtins)[code[:cursor] + "ror"], "a name of Python's own: no object of anybody's is looked at"
    transport.idle()
    assert not transport.router.is_awaited
    transport.asked.warm_up()
    assert not timers


def test_what_is_busy_again_is_warmed_up_behind_a_later_cell(timers: list[Callable[[], None]]) -> None:
    transport = Scripted()
    transport.asked.warm_up()
    transport.run()
    timers.pop()()
    assert not transport.sent
    transport.run("idle")
    transport.asked.warm_up()
    timers.pop()()
    assert len(transport.sent) == 1


def test_who_has_asked_or_is_another_language_is_not_warmed_up(timers: list[Callable[[], None]]) -> None:
    transport = Scripted(completed("x"))
    transport.asked.complete(CODE, 7)
    transport.asked.warm_up()
    other = Scripted()
    other.state.info = {"implementation": "IRkernel"}
    other.asked.warm_up()
    assert not timers


def test_a_connection_that_was_closed_is_not_warmed_up(timers: list[Callable[[], None]]) -> None:
    transport = Scripted()
    transport.asked.warm_up()
    transport.down = True
    timers.pop()()
    assert not transport.sent and not transport.router.is_awaited
