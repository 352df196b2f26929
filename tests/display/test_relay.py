from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import CellError
from kernel_bridge_magic.models import Kernel, Origin, Server, Session
from kernel_bridge_magic.protocol.events import (
    STOP,
    Aside,
    ClearOutput,
    CommMessage,
    DisplayData,
    Error,
    Event,
    ExecuteResult,
    InputRequest,
    Lost,
    Note,
    Page,
    Payload,
    Queued,
    Started,
    Stream,
)
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.results import RemoteValue

ORIGIN = Origin("http", "lab.example", 80, "/")
OWN = Kernel(id="k1", sessions=(Session("a.ipynb", "a.ipynb"),), connection_file="/x")
FOREIGN = Kernel(
    id="k2", sessions=(Session("b.ipynb", "b.ipynb"),), server=Server("http://lab.example/", "lab", ORIGIN)
)
HTML = "<script>x</script>"
TITLE = "\x1b]0;owned\x07"


class Screen:
    """A sink that keeps what it is given."""

    def __init__(self, stop: str = "Stop", *, names_kernel: bool = False) -> None:
        self.shown: list[tuple[Any, ...]] = []
        self.informed: set[str] = set()
        self.stop = stop
        self.names_kernel = names_kernel

    def stream(self, name: str, text: str) -> None:
        self.shown.append(("stream", name, text))

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        self.shown.append(("display", data, metadata, display_id, update))

    def clear(self, wait: bool) -> None:
        self.shown.append(("clear", wait))

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        kept = (value.data, value.metadata)
        self.shown.append(("result", kept, display_id) if display_id else ("result", kept))

    def error(self, error: CellError) -> None:
        self.shown.append(("error", error))

    def note(self, text: str) -> None:
        self.shown.append(("note", text))

    def inform(self, kind: str, text: str) -> None:
        if text or kind in self.informed:
            self.shown.append(("inform", kind, text))
        self.informed.add(kind)

    def begin_line(self) -> None:
        pass

    def ask(self, prompt: str, password: bool) -> str:
        raise AssertionError("nothing is asked here")


class NoWidgets:
    """As `relay.Widgets`, where there are none."""

    def take_event(self, event: Event) -> bool:
        return isinstance(event, Aside)

    def draw_text(self, model_id: str) -> bool:
        return False

    def is_live(self, model_id: str) -> bool:
        return False

    def why_text(self) -> str:
        return "widgets are text here"


def shown(kernel: Kernel, *events: Event, **options: Any) -> list[tuple[Any, ...]]:
    screen = Screen()
    relay = Relay(screen, kernel, **options)
    for event in events:
        relay.show(event)
    return screen.shown


def test_each_event_goes_to_its_place() -> None:
    assert shown(
        OWN,
        Started(),
        Stream("stdout", "a\r\x1b[1mb"),
        Stream("stderr", "c"),
        DisplayData({"text/plain": "d"}, {"m": 1}),
        ClearOutput(True),
        ClearOutput(),
        ExecuteResult({"text/plain": "e"}, {"n": 2}, 7),
        Page({"text/plain": "f"}),
    ) == [
        ("stream", "stdout", "a\r\x1b[1mb"),
        ("stream", "stderr", "c"),
        ("display", {"text/plain": "d"}, {"m": 1}, "", False),
        ("clear", True),
        ("clear", False),
        ("result", ({"text/plain": "e"}, {"n": 2})),
        ("display", {"text/plain": "f"}, {}, "", False),
    ]


COMM = CommMessage(Message("iopub", {"msg_type": "comm_msg"}))
BROKEN, WORSE = Error("E", "v", ("t",)), Error("W", "w", ("u",))


def test_the_last_error_and_widgets_messages_are_not_shown() -> None:
    assert shown(OWN, COMM, BROKEN, Started(), Note("ours")) == [("note", "a.ipynb: ours")]


@pytest.mark.parametrize(
    "behind",
    [
        Stream("stdout", "x"),
        DisplayData({"text/plain": "a plot"}, {}),
        DisplayData({}, {}, "d", True),
        ExecuteResult({}, {}),
        ClearOutput(),
        Page({}),
        COMM,  # it may end what takes the error
        InputRequest("who? "),
        WORSE,
    ],
)
def test_an_error_is_shown_in_its_place_where_something_comes_behind_it(behind: Event) -> None:
    first, *rest = shown(OWN, BROKEN, behind)
    assert first[0] == "error"
    assert (first[1].ename, first[1].evalue, first[1].traceback, first[1].kernel) == ("E", "v", ["t"], "a.ipynb")
    assert len(rest) == (behind not in (COMM, InputRequest("who? "), WORSE))


@pytest.mark.parametrize(
    ("events", "raised", "names", "is_shown"),
    [
        ((BROKEN,), BROKEN, [], False),  # who raises it shows it
        ((BROKEN, Stream("stdout", "x")), BROKEN, ["E"], True),
        ((BROKEN, WORSE), WORSE, ["E"], False),
        ((WORSE, BROKEN), WORSE, ["W", "E"], True),
        ((BROKEN,), None, ["E"], False),  # the reply is ok
        ((BROKEN, WORSE), None, ["E", "W"], False),
    ],
)
def test_each_error_is_shown_once(events: tuple[Event, ...], raised: Error, names: list[str], is_shown: bool) -> None:
    screen = Screen()
    relay = Relay(screen, OWN)
    for event in events:
        relay.show(event)
    relay.finish(raised)
    assert [item[1].ename for item in screen.shown if item[0] == "error"] == names
    assert relay.error_is_shown == is_shown


def test_an_error_of_a_foreign_kernel_is_sanitized() -> None:
    evil = Error("E\n", f"v{TITLE}", (f"t{TITLE}",))
    ((_, error), _) = shown(FOREIGN, evil, Stream("stdout", "x"))
    assert not any(text in "".join((error.ename, error.evalue, *error.traceback)) for text in ("\x1b", "\x07", "\n"))


def test_notes_name_the_kernel() -> None:
    events = (Queued(), Lost("3 messages missing (the rate limit)"), Note("so and so"))
    assert shown(OWN, *events) == [
        ("inform", "queued", "waiting: a.ipynb does not answer; it may be busy"),
        ("note", "a.ipynb: 3 messages missing (the rate limit)"),
        ("note", "a.ipynb: so and so"),
    ]


def test_a_queued_cell_is_told_whom_it_waits_for_and_since_when_where_that_was_seen() -> None:
    ours, theirs = shown(OWN, Queued("14:02:07", ours=True), Queued("14:02:07"))
    rest = "(since 14:02:07). Stop to leave this one in the queue; nothing will be interrupted"
    assert ours[2] == f"waiting: a.ipynb is running an earlier cell of yours {rest}"
    assert theirs[2] == f"waiting: a.ipynb is running another client's cell {rest}"


def test_a_note_with_a_key_is_shown_in_the_place_of_the_one_before() -> None:
    come = Note("48 kB of 120 kB", key="incoming")
    assert shown(OWN, come, Note("", key="incoming")) == [
        ("inform", "incoming", "a.ipynb: 48 kB of 120 kB"),
        ("inform", "incoming", ""),
    ]


def test_what_a_cell_waits_for_is_told_no_more_once_it_runs() -> None:
    for event in (Started(), Stream("stdout", "z"), DisplayData({}, {}), BROKEN):
        taken = [item for item in shown(OWN, Queued(), event) if item[:2] == ("inform", "queued")]
        assert [bool(text) for _, _, text in taken] == [True, False]
    for other in (Queued(ours=True), Lost("x"), Note("y"), Aside(None)):  # none of these is the cell's
        assert ("inform", "queued", "") not in shown(OWN, Queued(), other, widgets=NoWidgets())


def test_what_a_cell_has_waited_for_is_told_no_more_when_it_ends_without_having_run() -> None:
    relay = Relay(screen := Screen(), OWN)
    relay.show(Queued())
    relay.finish()
    assert screen.shown[-1] == ("inform", "queued", "")


@pytest.mark.parametrize("problem", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_what_a_cell_has_waited_for_is_told_no_more_where_an_error_ends_the_wait(problem: type[BaseException]) -> None:
    relay = Relay(screen := Screen(), OWN)
    with pytest.raises(problem), relay.waiting():
        relay.show(Queued())
        raise problem
    assert screen.shown[-1] == ("inform", "queued", "")


@pytest.mark.parametrize("stop", ["Stop", "Ctrl-C"])
def test_an_interrupt_is_called_as_the_front_end_calls_it(stop: str) -> None:
    relay = Relay(screen := Screen(stop), OWN)
    relay.show(Note(f"still running. {STOP} leaves it"))
    relay.show(Note(f"50 kB came; {STOP} ends that", key="incoming"))
    relay.show(Queued("10:00:00"))
    relay.show(Queued(connecting=True))
    assert [f"{stop} " in item[-1] for item in screen.shown] == [True] * 4
    assert [STOP in item[-1] for item in screen.shown] == [stop == STOP] * 4


def test_display_ids_are_made_unique_by_the_kernel() -> None:
    first, update = DisplayData({}, {}, "d"), DisplayData({}, {}, "d", True)
    ids = [item[3] for kernel in (OWN, FOREIGN) for item in shown(kernel, first, update)]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert all(kernel_id in shown_id for kernel_id, shown_id in zip(("k1", "k1", "k2", "k2"), ids, strict=True))


def test_what_claims_a_kernel_s_id_updates_none_of_its_displays() -> None:
    claim = replace(FOREIGN, id=OWN.id, claimed=True)
    elsewhere = replace(claim, server=Server("http://x.example/", "x", ORIGIN))
    ids = [shown(kernel, DisplayData({}, {}, "d"))[0][3] for kernel in (OWN, claim, elsewhere)]
    assert len(set(ids)) == 3


# -- what the cell asks its front end to do


def told(kernel: Kernel, source: str, **content: Any) -> str:
    ((*kind, text),) = shown(kernel, Payload(source, {"source": source, **content}))
    assert kind == ["inform", "request"]
    return str(text)


CODE = "for n in range(3):\n\tprint('ü', n)\n"


@pytest.mark.parametrize(("replaces", "where"), [(True, "in place of its own"), (False, "into the next cell")])
def test_a_text_for_a_cell_is_there_to_be_copied(replaces: bool, where: str) -> None:
    head, _, text = told(OWN, "set_next_input", text=CODE, replace=replaces).partition("\n")
    said = f"the cell asked to put this text {where}. Nothing was changed here; copy it if you want it."
    assert head == f"a.ipynb: {said}"
    assert text == CODE.rstrip("\n")


def test_a_foreign_kernel_s_text_for_a_cell_cannot_draw_and_has_an_end() -> None:
    text = told(FOREIGN, "set_next_input", text=f"a = 1\n{TITLE}\r\x1b[2Kb = 2" + "x" * 100_000)
    assert "a = 1\n" in text
    assert text.replace("\n", "").isprintable()
    assert len(text) < 70_000
    omitted = len(f"a = 1\n{TITLE}\r\x1b[2Kb = 2" + "x" * 100_000) - 65_536
    assert text.partition("\n")[0].endswith(f"; copy it if you want it. Its last {omitted:,} characters are omitted.")


@pytest.mark.parametrize("kernel", [OWN, FOREIGN])
def test_what_else_is_asked_for_is_named(kernel: Kernel) -> None:
    where = "Nothing was opened; the file is where the kernel runs"
    said = told(kernel, "edit_magic", filename="/tmp/x.py", line_number=7)
    assert said == f"{kernel.title}: the cell asked for an editor on /tmp/x.py, line 7. {where}"
    assert told(kernel, "edit", filename=None) == f"{kernel.title}: the cell asked for an editor on a file. {where}"
    said = told(kernel, "ask_exit", keepkernel=True)
    assert said == f"{kernel.title}: the cell asked its front end for 'ask_exit'. Nothing was done here"
    assert told(kernel, "new\nand odd", data={}).isprintable()
    assert told(kernel, "set_next_input", text=5).isprintable()


def test_no_flood_of_such_notes_comes() -> None:
    assert len(shown(FOREIGN, *[Payload("x", {})] * 50)) == 10


# -- results that are returned, not shown


def test_the_last_result_is_held() -> None:
    screen = Screen()
    relay = Relay(screen, OWN, hold_result=True)
    assert relay.held is None
    for number in range(3):
        relay.show(ExecuteResult({"text/plain": str(number)}, {}))
    assert [item[1] for item in screen.shown] == [({"text/plain": "0"}, {}), ({"text/plain": "1"}, {})]
    assert relay.held is not None
    assert (relay.held.data, relay.held.metadata) == ({"text/plain": "2"}, {})


def test_a_result_with_a_display_id_can_be_updated() -> None:
    ((_, value, display_id), update) = shown(OWN, ExecuteResult({}, {}, 1, "d"), DisplayData({}, {}, "d", True))
    assert display_id == update[3] != ""
    screen = Screen()
    relay = Relay(screen, OWN, hold_result=True)
    for _ in range(2):
        relay.show(ExecuteResult({}, {}, 1, "d"))
    assert screen.shown == [("result", value, display_id)]


def test_a_held_result_that_nobody_returns_is_shown_once() -> None:
    screen = Screen()
    relay = Relay(screen, OWN, hold_result=True)
    for _ in range(2):
        relay.show_held()
    relay.show(ExecuteResult({"text/plain": "1"}, {}, 1, "d"))
    for _ in range(2):
        relay.show_held()
    assert relay.held is None
    assert [item[:2] for item in screen.shown] == [("result", ({"text/plain": "1"}, {}))]


def test_without_holding_nothing_is_held() -> None:
    relay = Relay(Screen(), OWN)
    relay.show(ExecuteResult({"text/plain": "1"}, {}))
    assert relay.held is None


# -- own and foreign


def test_output_of_one_s_own_kernel_is_untouched() -> None:
    data = {"text/html": HTML, "application/javascript": HTML, "text/plain": "t"}
    assert shown(OWN, DisplayData(data, {}))[0][1] == data
    assert shown(OWN, ExecuteResult(data, {}))[0][1][0] == data
    assert shown(OWN, Page(data))[0][1] == data


@pytest.mark.parametrize("event", [DisplayData, ExecuteResult, Page])
def test_output_of_a_foreign_kernel_is_sanitized(event: Any) -> None:
    data = {"text/html": HTML, "application/javascript": HTML, "text/plain": "t"}
    ((_, out, *_),) = shown(FOREIGN, event(data) if event is Page else event(data, {}))
    bundle = out[0] if isinstance(out, tuple) else out
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/html"].startswith('<iframe sandbox="allow-scripts" srcdoc="')
    assert HTML not in bundle["text/html"]


def test_a_held_result_is_tamed_too() -> None:
    relay = Relay(Screen(), FOREIGN, hold_result=True)
    relay.show(ExecuteResult({"text/html": HTML}, {}))
    assert relay.held is not None
    assert HTML not in str(relay.held.data)


@pytest.mark.parametrize("kernel", [OWN, FOREIGN])
def test_a_widget_shows_its_text(kernel: Kernel) -> None:
    data = {"application/vnd.jupyter.widget-view+json": {"model_id": "m"}, "text/plain": "IntSlider(value=0)"}
    assert shown(kernel, DisplayData(data, {}))[0][1] == {"text/plain": "IntSlider(value=0)"}


def test_a_foreign_kernel_cannot_steer_the_terminal_wherever_its_output_is_cut() -> None:
    text = f"a\x1b[31mb{TITLE}c\r\n"
    for cut in range(len(text) + 1):
        screen = Screen()
        relay = Relay(screen, FOREIGN)
        relay.show(Stream("stdout", text[:cut]))
        relay.show(Stream("stderr", text))
        relay.show(Stream("stdout", text[cut:]))
        relay.finish()
        for name in ("stdout", "stderr"):
            assert "".join(item[2] for item in screen.shown if item[1] == name) == "a\x1b[31mb^[]0;owned^Gc\r\n"


def test_what_a_foreign_kernel_begins_and_does_not_end_is_shown_at_the_end() -> None:
    screen = Screen()
    relay = Relay(screen, FOREIGN)
    relay.show(Stream("stdout", "x\x1b[3"))
    relay.finish()
    relay.finish()
    assert screen.shown == [("stream", "stdout", "x"), ("stream", "stdout", "^[[3")]


@pytest.mark.parametrize("event", [DisplayData, ExecuteResult, Page])
def test_the_text_of_a_foreign_display_cannot_steer_either(event: Any) -> None:
    for plain in (f"\x1b[1mbold{TITLE}", ["\x1b[1mbold", TITLE]):
        data = {"text/plain": plain}
        ((_, out, *_),) = shown(FOREIGN, event(data) if event is Page else event(data, {}))
        bundle = out[0] if isinstance(out, tuple) else out
        assert bundle["text/plain"] == "\x1b[1mbold^[]0;owned^G"


def test_one_s_own_kernel_may_do_all_that() -> None:
    assert shown(OWN, Stream("stdout", TITLE)) == [("stream", "stdout", TITLE)]
    assert shown(OWN, DisplayData({"text/plain": TITLE}, {}))[0][1] == {"text/plain": TITLE}


def test_a_title_that_others_chose_cannot_steer_in_our_own_lines() -> None:
    for kernel in (OWN, FOREIGN):
        evil = replace(kernel, sessions=(Session(f"{TITLE}\u202e.ipynb", "x"),))
        ((_, note),) = shown(evil, Note(f"said {TITLE}"))
        assert note.isprintable()
    assert Relay(Screen(), evil).prompt("name: ").isprintable()


# -- prompts


def test_a_foreign_kernel_s_prompt_says_who_asks() -> None:
    assert Relay(Screen(), FOREIGN).prompt("password: ") == "[b.ipynb @ lab] password: "
    assert Relay(Screen(), OWN).prompt("password: ") == "password: "


def test_a_foreign_prompt_cannot_draw_and_has_an_end() -> None:
    prompt = Relay(Screen(), FOREIGN).prompt("\x1b[2J\r\n\u202e\x07" + "x" * 5000)
    assert prompt.isprintable()
    assert "\\x1b" in prompt
    assert len(prompt) < 1100


# -- the mark of another kernel's outputs

MARKED = ("inform", "place", "→ a.ipynb")


def kinds_with_mark(*events: Event, mark: str = "→ a.ipynb") -> list[Any]:
    """What is shown of events, with the mark as it is and of all else the kind."""
    screen = Screen()
    relay = Relay(screen, OWN, mark=mark)
    for event in events:
        relay.show(event)
    relay.finish()
    return ["mark" if it == MARKED else it[0] for it in screen.shown]


TEXT, FIGURE = Stream("stdout", "x"), DisplayData({"text/plain": "f"}, {}, "d")


@pytest.mark.parametrize("first", [TEXT, FIGURE, ExecuteResult({"text/plain": "1"}, {}, 1), Page({"text/plain": "p"})])
def test_a_mark_stands_once_above_the_outputs(first: Event) -> None:
    shown = kinds_with_mark(Started(), first, TEXT)
    assert shown[0] == "mark" and shown.count("mark") == 1 and len(shown) == 3
    assert "mark" not in kinds_with_mark(Started(), first, TEXT, mark="")


def test_what_leaves_nothing_to_see_has_no_mark() -> None:
    assert "mark" not in kinds_with_mark(
        Started(), Note("restarted"), DisplayData({"text/plain": "f"}, {}, "d", True), ClearOutput(True)
    )


def test_outputs_that_are_cleared_take_the_mark_along() -> None:
    assert kinds_with_mark(TEXT, ClearOutput(True), TEXT) == ["mark", "stream", "clear", "mark", "stream"]


def test_a_mark_stands_above_a_traceback_and_shows_its_name_as_text() -> None:
    screen = Screen()
    relay = Relay(screen, OWN, mark=f"→ {TITLE}")
    relay.show(Error("E", "no", ("E: no",)))
    relay.finish()
    (_, kind, text), (last, _) = screen.shown
    assert (kind, text, last) == ("place", "→ \\x1b]0;owned\\x07", "error")
