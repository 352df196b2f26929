"""The notebook's sink against a real shell of ipykernel's kind: what it publishes is what a front end gets."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from kernel_bridge_magic.display.group_sink import InBlocks
from kernel_bridge_magic.display.neutral import bundle, metadata
from kernel_bridge_magic.display.notebook import LateSink, NotebookSink
from kernel_bridge_magic.errors import Fate, fate_error, remote_error
from kernel_bridge_magic.results import RemoteValue
from tests.support.fronts import Published
from tests.support.shells import private_shell

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[InteractiveShell]:
    with private_shell(tmp_path) as made:
        yield made


@pytest.fixture
def published(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the display publisher is given; IPython's own capturing publisher keeps it."""
    from IPython.core.displaypub import CapturingDisplayPublisher

    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", publisher)
    return publisher.outputs


@pytest.fixture
def sink(shell: InteractiveShell) -> NotebookSink:
    return NotebookSink(shell)


# -- streams


def test_streams_go_where_they_belong_as_they_are(sink: NotebookSink, capsys: Capture) -> None:
    sink.stream("stdout", "a\r\x1b[1mb")
    sink.stream("stderr", "c")
    sink.note("d")
    assert capsys.readouterr() == ("a\r\x1b[1mb", "ckernel-bridge: d\n")


def test_the_order_between_the_streams_is_kept(sink: NotebookSink, monkeypatch: pytest.MonkeyPatch) -> None:
    # ipykernel buffers each on its own, and sends at a flush
    sent: list[str] = []

    class Buffered(io.StringIO):
        def flush(self) -> None:
            if self.getvalue():
                sent.append(self.getvalue())
                self.truncate(0)
                self.seek(0)

    monkeypatch.setattr(sys, "stdout", Buffered())
    monkeypatch.setattr(sys, "stderr", Buffered())
    for number in range(3):
        sink.stream("stdout", f"out {number} ")
        sink.stream("stdout", "more")
        sink.stream("stderr", f"err {number}")
    sys.stdout.flush()
    sys.stderr.flush()
    assert sent == [text for n in range(3) for text in (f"out {n} more", f"err {n}")]


def test_redirected_streams_see_the_output(sink: NotebookSink) -> None:
    out, err = io.StringIO(), io.StringIO()
    sink.stream("stdout", "")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sink.stream("stdout", "1")
        sink.stream("stderr", "2")
    assert (out.getvalue(), err.getvalue()) == ("1", "2")


def test_a_display_in_a_block_of_many_kernels_is_shown_anew(
    shell: InteractiveShell, published: list[dict[str, Any]]
) -> None:
    in_blocks = InBlocks()
    in_blocks.add("k:d")
    sink = NotebookSink(shell, in_blocks)
    for display_id in ("k:d", "k:d", "k:e"):
        sink.display({"text/plain": "x"}, {}, display_id, True)
    assert [bool(it.get("update")) for it in published] == [False, True, True]


# -- %%capture


def test_capture_sees_all_of_it(shell: InteractiveShell) -> None:
    shell.user_ns["sink"] = NotebookSink(shell)
    shell.user_ns["RemoteValue"] = RemoteValue
    shell.run_cell(
        "%%capture kept\nsink.stream('stdout', 'out')\nsink.stream('stderr', 'err')\n"
        "sink.display({'text/plain': 'shown', 'text/html': '<b>x</b>'}, {'m': 1}, 'k:d', False)\n"
        "sink.result(RemoteValue({'text/plain': '42', 'image/png': 'iVBO'}))"
    )
    kept = shell.user_ns["kept"]
    assert (kept.stdout, kept.stderr) == ("out", "err")
    bundles = [(output.data, output.metadata) for output in kept.outputs]
    assert ({"text/plain": "shown", "text/html": "<b>x</b>"}, {"m": 1}) in bundles
    assert {"text/plain": "42", "image/png": "iVBO"} in [data for data, _ in bundles]


def test_ipython_s_capture_output_sees_it_too(shell: InteractiveShell) -> None:
    with capture_output() as kept:
        NotebookSink(shell).stream("stdout", "out")
        NotebookSink(shell).display({"text/plain": "shown"}, {}, "", False)
    assert kept.stdout == "out"
    assert [output.data for output in kept.outputs] == [{"text/plain": "shown"}]


# -- displays


def test_displays_keep_data_metadata_and_id(sink: NotebookSink, published: list[dict[str, Any]]) -> None:
    sink.display({"text/plain": "a"}, {"m": 1}, "k:d", False)
    sink.display({"text/plain": "b"}, {}, "k:d", True)
    sink.display({"text/plain": "c"}, {}, "", False)
    assert [(item["data"], item["metadata"]) for item in published] == [
        ({"text/plain": "a"}, {"m": 1}),
        ({"text/plain": "b"}, {}),
        ({"text/plain": "c"}, {}),
    ]
    assert [item.get("transient") or {} for item in published] == [{"display_id": "k:d"}, {"display_id": "k:d"}, {}]
    assert [item["update"] for item in published] == [False, True, False]


def test_clearing_is_ipython_s_own(sink: NotebookSink, capsys: Capture) -> None:
    sink.clear(False)
    sink.clear(True)
    assert "\033[2K\r" in capsys.readouterr().out


# -- results


def test_a_result_is_a_true_one(shell: InteractiveShell, sink: NotebookSink, capsys: Capture) -> None:
    shell.user_ns["sink"], shell.user_ns["value"] = sink, RemoteValue({"text/plain": "42"})
    shell.run_cell("None", store_history=True)
    count = shell.execution_count
    shell.run_cell("sink.result(value)", store_history=True)
    assert shell.user_ns["Out"][count] is shell.user_ns["value"]
    assert shell.user_ns["_"] is shell.user_ns["value"]
    assert f"Out[{count}]: 42" in capsys.readouterr().out


def test_an_error_is_shown_and_not_raised(sink: NotebookSink, capsys: Capture) -> None:
    sink.error(remote_error("ValueError", "no", ["\x1b[31mline 1\x1b[0m", "line 2"]))
    sink.error(fate_error(Fate.DIED, "a.ipynb was restarted", kernel="a.ipynb"))
    assert capsys.readouterr().out == "\x1b[31mline 1\x1b[0m\nline 2\nKernelDied: a.ipynb was restarted\n"


def test_a_raised_error_is_shown_without_our_frames(shell: InteractiveShell, capsys: Capture) -> None:
    for error in (remote_error("ValueError", "no", ["the remote's", "own"]), fate_error(Fate.DIED, "gone")):
        shell.user_ns["error"] = error
        shell.run_cell("raise error")
    assert capsys.readouterr().out == "the remote's\nown\nKernelDied: gone\n"


# -- questions


def test_a_front_end_that_cannot_ask_is_known(shell: InteractiveShell) -> None:
    class Kernel:
        _allow_stdin = False

    shell.kernel = Kernel()  # what an ipykernel's shell has
    assert not NotebookSink(shell).can_ask
    Kernel._allow_stdin = True
    assert NotebookSink(shell).can_ask


def test_questions_are_asked_with_input_and_getpass(sink: NotebookSink, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(("input", prompt)) or "ann")
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(("getpass", prompt)) or "word")
    assert (sink.ask("name? ", False), sink.ask("word? ", True)) == ("ann", "word")
    assert asked == [("input", "name? "), ("getpass", "word? ")]


# -- lines of ours


def test_a_neutral_line_is_a_small_display_that_is_marked_as_ours(
    sink: NotebookSink, published: list[dict[str, Any]], capsys: Capture
) -> None:
    sink.inform("kernel", "'a' → a.ipynb")
    ((data, about, transient),) = [(it["data"], it["metadata"], it["transient"]) for it in published]
    assert data["text/plain"] == "'a' → a.ipynb" and set(data) == {"text/plain", "text/html"}
    assert (about, transient) == ({"kernel_bridge": {"line": "kernel"}}, {})
    assert capsys.readouterr().err == ""


def test_what_a_cell_waits_for_is_one_line_that_goes(sink: NotebookSink, published: list[dict[str, Any]]) -> None:
    for text in ("", "waiting: a", "waiting: b", "", ""):
        sink.inform("queued", text)
    assert [(it["data"].get("text/plain"), it["update"]) for it in published] == [
        ("waiting: a", False),
        ("waiting: b", True),
        (None, True),
    ]
    assert published[-1]["data"] == {} and published[-1]["metadata"] == {"kernel_bridge": {"line": "queued"}}
    assert len({it["transient"]["display_id"] for it in published}) == 1


def test_two_cells_lines_are_two(shell: InteractiveShell, published: list[dict[str, Any]]) -> None:
    for _ in range(2):
        NotebookSink(shell).inform("queued", "waiting")
    assert len({it["transient"]["display_id"] for it in published}) == 2


def test_a_line_that_was_cleared_is_shown_anew(sink: NotebookSink, published: list[dict[str, Any]]) -> None:
    sink.inform("incoming", "1 of 2 MB")
    sink.clear(False)
    sink.inform("incoming", "2 of 2 MB")
    assert [it["update"] for it in published] == [False], "the publisher here has dropped the first"


def test_an_interrupt_is_stop_here(sink: NotebookSink) -> None:
    assert sink.stop == LateSink.stop == "Stop"


# -- late output, in the words of the messaging specification

PARENT = {"header": {"msg_id": "here-1"}}


def test_everything_goes_under_the_message_it_belongs_to() -> None:
    kernel = Published()
    sink = LateSink(kernel, PARENT)
    sink.stream("stdout", "a")
    sink.display({"text/plain": "b"}, {"m": 1}, "id", False)
    sink.display({"text/plain": "c"}, {}, "id", True)
    sink.clear(True)
    sink.result(RemoteValue({"text/plain": "d"}))
    sink.error(remote_error("ValueError", "no", ["line"]))
    sink.note("e")
    sink.inform("widgets", "f")
    sink.inform("queued", "")
    said = [(message["msg_type"], message["content"]) for message in kernel.messages]
    assert said == [
        ("stream", {"name": "stdout", "text": "a"}),
        ("display_data", {"data": {"text/plain": "b"}, "metadata": {"m": 1}, "transient": {"display_id": "id"}}),
        ("update_display_data", {"data": {"text/plain": "c"}, "metadata": {}, "transient": {"display_id": "id"}}),
        ("clear_output", {"wait": True}),
        ("display_data", {"data": {"text/plain": "d"}, "metadata": {}, "transient": {}}),
        ("error", {"ename": "ValueError", "evalue": "no", "traceback": ["line"]}),
        ("stream", {"name": "stderr", "text": "kernel-bridge: e\n"}),
        ("display_data", {"data": bundle("f"), "metadata": metadata("widgets"), "transient": {}}),
    ]
    assert {message["parent"]["header"]["msg_id"] for message in kernel.messages} == {"here-1"}
    assert kernel.messages[0]["ident"] == b"kernel.k.stream"


def test_an_interrupt_of_late_output_is_stop_too() -> None:
    assert LateSink.stop == "Stop"


def test_nobody_is_asked() -> None:
    with pytest.raises(EOFError):
        LateSink(Published(), PARENT).ask("? ", False)
