"""Where a background job is shown."""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.ipython.screens import JobCell, JobSink, KeptScreen, NotebookScreen


class Kernel:
    """As much of an ipykernel as a sink needs: what it sends."""

    ident = "k"
    iopub_socket = None

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], Any]] = []
        self.session = self

    def send(self, socket: Any, kind: str, content: dict[str, Any], *, parent: Any, ident: bytes) -> None:
        self.sent.append((kind, content, parent))


def test_in_a_notebook_all_is_sent_below_the_cell_that_began_it() -> None:
    kernel, parent = Kernel(), {"header": {"msg_id": "the cell"}}
    screen = NotebookScreen(JobSink(kernel, parent, 3), parent)
    screen.line("job 3: running", over=False)
    screen.sink.stream("stdout", "x\n")
    screen.line("job 3: ok", over=True)
    screen.waited(raises=False)
    kinds = [kind for kind, _, _ in kernel.sent]
    assert kinds == ["display_data", "stream", "update_display_data"]
    assert all(sent_for is parent for _, _, sent_for in kernel.sent)
    first, _, last = (content for _, content, _ in kernel.sent)
    assert first["transient"] == last["transient"] and last["data"]["text/plain"] == "job 3: ok"


def test_more_text_than_a_notebook_takes_is_told_once() -> None:
    kernel = Kernel()
    sink = JobSink(kernel, {}, 3, limit=10)
    for text in ("12345678", "90abc", "more"):
        sink.stream("stdout", text)
    texts = [content["text"] for _, content, _ in kernel.sent]
    assert texts[:2] == ["12345678", "90"] and len(texts) == 3
    assert "%jobs 3 --output" in texts[2]
    sink.draw("bar", "1")
    sink.draw("bar", "2")
    assert [kind for kind, _, _ in kernel.sent[3:]] == ["display_data", "update_display_data"]


def kinds(kernel: Kernel) -> list[tuple[str, Any]]:
    """What was sent since: each kind, and the text or what else tells it."""
    sent, kernel.sent = kernel.sent, []
    return [
        (kind, it["data"].get("text/plain", "") if "data" in it else it.get("text", it.get("wait")))
        for kind, it, _ in sent
    ]


def test_a_job_that_clears_keeps_its_line() -> None:
    kernel = Kernel()
    screen = NotebookScreen(JobSink(kernel, {}, 3), {})
    screen.line("job 3: running", over=False)
    screen.sink.draw("bar", "1")
    first = kernel.sent[0][1]["transient"]
    kernel.sent.clear()
    screen.sink.clear(False)
    assert kernel.sent[1][1]["transient"] == first
    assert kinds(kernel) == [("clear_output", True), ("display_data", "job 3: running")]
    screen.line("job 3: ok", over=True)
    screen.sink.draw("bar", "2")
    assert kinds(kernel) == [("update_display_data", "job 3: ok"), ("display_data", "2")]


def test_a_job_that_clears_when_more_comes_waits_for_that() -> None:
    kernel = Kernel()
    screen = NotebookScreen(JobSink(kernel, {}, 3), {})
    screen.line("job 3: running", over=False)
    screen.sink.clear(True)
    screen.line("job 3: running 0:01", over=False)
    assert kinds(kernel) == [("display_data", "job 3: running"), ("update_display_data", "job 3: running 0:01")]
    for _ in range(2):
        screen.sink.stream("stdout", "x\n")
    assert kinds(kernel) == [
        ("clear_output", True), ("display_data", "job 3: running 0:01"), ("stream", "x\n"), ("stream", "x\n")
    ]  # fmt: skip


def test_one_of_several_jobs_of_a_cell_clears_nothing() -> None:
    kernel, cell = Kernel(), JobCell()
    screens = [NotebookScreen(JobSink(kernel, {}, number, cell=cell), {}) for number in (1, 2)]
    for screen in screens:
        screen.line("running", over=False)
        for wait in (False, True):
            screen.sink.clear(wait)
        screen.sink.stream("stdout", "x\n")
    assert kinds(kernel) == [("display_data", "running"), ("stream", "x\n")] * 2


def test_what_a_job_waits_for_is_told_no_more_once_it_runs() -> None:
    kernel = Kernel()
    sink = JobSink(kernel, {}, 3)
    sink.inform("queued", "")
    for text in ("waiting: one", "waiting: two", ""):
        sink.inform("queued", text)
    sink.inform("kernel", "stays")
    ids = [content["transient"].get("display_id") for _, content, _ in kernel.sent]
    assert ids[0] and ids[:3] == ids[:1] * 3 and ids[3] is None
    assert kinds(kernel) == [
        ("display_data", "waiting: one"), ("update_display_data", "waiting: two"), ("update_display_data", ""),
        ("display_data", "stays"),
    ]  # fmt: skip


def test_where_nothing_is_shown_behind_a_cell_it_is_kept_for_whoever_waits() -> None:
    shown: list[list[dict[str, Any]]] = []
    screen = KeptScreen(3, 1 << 16, shown.append)
    screen.line("job 3: connecting", over=False)
    screen.line("job 3: running", over=False)
    assert len(shown) == 1 and ".wait()" in shown[0][0]["data"]["text/plain"]
    screen.sink.stream("stdout", "kept\n")
    for _ in range(2):
        screen.waited(raises=False)
    assert len(shown) == 2 and shown[1][0]["text"] == "kept\n"


def test_an_error_that_is_raised_there_is_not_shown_twice() -> None:
    from kernel_bridge_magic.errors import remote_error

    for raises in (True, False):
        shown: list[list[dict[str, Any]]] = []
        screen = KeptScreen(3, 1 << 16, shown.append)
        screen.sink.stream("stdout", "before\n")
        screen.sink.error(remote_error("E", "v"))
        screen.waited(raises=raises)
        assert [item["output_type"] for item in shown[0]] == ["stream"] + ["error"] * (not raises)
