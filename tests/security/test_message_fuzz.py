# ruff: noqa: E501 (tables)
"""Messages that are nearly right, through everything that reads them (G19), and frames (G20).

Each starts as a true one, over either framing; then fields are taken out, replaced by something of another kind, or
bytes of the frame are changed. Nothing may be raised but `MalformedMessage`, and nothing may be kept for ever.
"""

from __future__ import annotations

import copy
import gc
import json
import random
import time
from collections.abc import Callable
from typing import Any

import nbformat
import psutil
import pytest

from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.widget_text import TextWidgets
from kernel_bridge_magic.errors import RemoteError, remote_error
from kernel_bridge_magic.fate.ledger import Ledger
from kernel_bridge_magic.fate.life import Life
from kernel_bridge_magic.fate.verdicts import Action
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import COMM_TYPES, Comms
from kernel_bridge_magic.protocol.events import Error
from kernel_bridge_magic.protocol.frames import V1, decode, encode
from kernel_bridge_magic.protocol.messages import MalformedMessage, Message
from kernel_bridge_magic.protocol.numbering import MOST_AHEAD
from kernel_bridge_magic.protocol.outputs import Outputs
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.remote_code.displayhook_patch import DisplayhookPatch
from kernel_bridge_magic.transports.websocket import Repeats
from tests.support.records import Record
from tests.support.wire import CELL, KERNEL, OURS

STATE = {"_model_name": "OutputModel", "msg_id": CELL, "value": "<b>x</b>", "children": ["IPY_MODEL_c1"], "min": 0}
DATA = {"text/plain": "x", "text/html": "<b>x</b>", "image/png": "iVBO"}
CONTENTS: list[tuple[str, str, dict[str, Any]]] = [
    ("iopub", "status", {"execution_state": "busy"}),
    ("iopub", "status", {"execution_state": "idle"}),
    ("iopub", "status", {"execution_state": "restarting"}),
    ("iopub", "execute_input", {"code": "1", "execution_count": 3}),
    ("iopub", "stream", {"name": "stdout", "text": "IOPub data rate exceeded.\nmore"}),
    ("iopub", "stream", {"name": "stderr", "text": "line\n\x1b[31mred\x1b[0m"}),
    ("iopub", "display_data", {"data": DATA, "metadata": {"image/png": {"width": 3}}, "transient": {"display_id": "d"}}),
    ("iopub", "update_display_data", {"data": DATA, "metadata": {}, "transient": {"display_id": "d"}}),
    ("iopub", "execute_result", {"data": DATA, "metadata": {}, "execution_count": 3, "transient": {}}),
    ("iopub", "clear_output", {"wait": True}),
    ("iopub", "error", {"ename": "E", "evalue": "v", "traceback": ["a", "b"]}),
    ("iopub", "comm_open", {"comm_id": "c1", "target_name": "jupyter.widget", "data": {"state": STATE}}),
    ("iopub", "comm_msg", {"comm_id": "c1", "data": {"method": "update", "state": STATE, "buffer_paths": []}}),
    ("iopub", "comm_close", {"comm_id": "c1", "data": {}}),
    ("iopub", "shutdown_reply", {"restart": True, "status": "ok"}),
    ("shell", "execute_reply", {"status": "ok", "payload": [{"source": "page", "data": DATA}], "execution_count": 3}),
    ("shell", "execute_reply", {"status": "error", "ename": "E", "evalue": "v", "traceback": ["a"]}),
    ("shell", "kernel_info_reply", {"implementation": "ipython", "supported_features": ["kernel subshells"]}),
    ("stdin", "input_request", {"prompt": "name: ", "password": False}),
]  # fmt: skip
JUNK: list[Any] = [
    None, True, False, 0, -1, 2**70, 1e308, "", "x", "\ud800", "\0", "\x1b]0;x\x07", "idle", "busy", CELL, "c1", [], [None],
    [[]], ["x"], {}, {"": None}, {"data": {"state": None}}, {"state": {"msg_id": []}}, "x" * 5000,
    json.loads("[" * 60 + "]" * 60), {"text/plain": []}, {"text/plain": {"x": 1}}, {"text/html": 5}, {"x": float("nan")},
]  # fmt: skip
KERNELS = [
    Kernel(id="own", connection_file="/x"),
    Kernel(id="foreign"),
]


class Nowhere:
    """A sink that uses what it is given, as front ends do."""

    def stream(self, name: str, text: str) -> None:
        assert isinstance(name, str) and text.encode() is not None

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        assert isinstance(data, dict) and isinstance(metadata, dict) and isinstance(display_id, str)
        json.dumps([data, metadata, display_id], ensure_ascii=False, allow_nan=False).encode()

    def clear(self, wait: bool) -> None:
        assert isinstance(wait, bool)

    def result(self, value: Any, display_id: str = "") -> None:
        assert isinstance(repr(value), str) and isinstance(display_id, str)

    def error(self, error: Any) -> None:
        "\n".join([type(error).__name__, str(error), *error._render_traceback_()]).encode()

    stop = "Stop"
    names_kernel = False

    def note(self, text: str) -> None:
        assert text.isprintable()

    def inform(self, kind: str, text: str) -> None:
        assert text.replace("\n", "").isprintable()

    def begin_line(self) -> None:
        pass

    def ask(self, prompt: str, password: bool) -> str:
        raise AssertionError


class Everything:
    """All machines of one connection and one cell."""

    def __init__(self, number: int) -> None:
        self.kernel = KERNELS[number % 2]
        self.now = 0.0
        self.life, self.displayhook_patch, self.comms, self.outputs = Life(OURS), DisplayhookPatch(), Comms(), Outputs()
        self.ledger, self.repeats = Ledger(OURS), Repeats()
        for heard in range(5):  # so that the kernel's ids are known to be a counter
            header = {"msg_id": f"{KERNEL}_1_{heard}", "msg_type": "stream", "session": KERNEL}
            self.ledger.receive(Message("iopub", header, {"msg_id": "earlier"}, {}, {}))
        self.ledger.expect(CELL)
        self.watch = CellWatch(Request(CELL), now=0.0, timeout=None)
        self.relay = Relay(Nowhere(), self.kernel)
        self.texts = TextWidgets(lambda model_id, text: None)
        self.comms.sent(CELL, {"header": {"msg_id": "here"}})

    def take(self, message: Message) -> None:
        self.now += 0.01
        self.repeats.is_repeat(message)
        self.ledger.receive(message)
        if message.msg_type == "shutdown_reply":
            self.ledger.broke()
            self.repeats.broke()
        self.displayhook_patch.receive(message)
        sign = self.life.receive(message)
        self.displayhook_patch.must_arm(self.life.session, now=0.0, breaks=0)
        if sign is not None:
            self.watch.signal(sign, self.now)
        if message.msg_type in COMM_TYPES:
            forwarded = self.comms.receive(message)
            if forwarded is not None:
                self.texts.publish(forwarded)
                self.texts.show(forwarded.comm_id)
        if self.watch.verdict is not None:
            self.watch = CellWatch(Request(CELL), now=self.now)
        for event in self.watch.receive(message, self.now):
            self.show(event)
        for step in self.watch.tick(self.now):
            if isinstance(step, Action):
                self.watch.asked_kernel("probe", self.now)
            else:
                self.show(step)

    def show(self, event: Any) -> None:
        if isinstance(event, Error):
            error: RemoteError = remote_error(event.ename, event.evalue, event.traceback, "k")
            assert error._render_traceback_() is not None and str(error) is not None
        self.texts.take(event, "here")
        self.outputs.add(event)
        self.relay.show(event)
        self.relay.prompt(getattr(event, "prompt", ""))

    def end(self) -> None:
        self.relay.finish()
        for behind in ("", f"{KERNEL}_1_{'3' * 5000}", f"{KERNEL}_1_2", "x_y"):
            for dropped in (False, True):
                gap = self.ledger.missing(CELL, behind, dropped=dropped)
                assert gap is None or 0 <= gap.size <= 500 * MOST_AHEAD
        assert (self.ledger.unexplained(CELL) or 0) >= 0
        items = self.outputs.items
        json.dumps(items, ensure_ascii=False, allow_nan=False).encode()
        cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.from_dict(item) for item in items])
        nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))


def make(pick: random.Random) -> tuple[dict[str, Any], bool]:
    channel, kind, content = pick.choice(CONTENTS)
    session = pick.choice([KERNEL, KERNEL, KERNEL, OURS, "another"])
    number = pick.choice([pick.randrange(99), pick.randrange(999), 10**15, "9" * 5000, "²", -1])
    ids = [f"m{pick.randrange(99)}", f"{session}_1_{number}", f"{session}_{pick.randrange(3)}_{number}"]
    header = {"msg_id": pick.choice(ids), "msg_type": kind, "session": session, "version": "5.3"}
    parent = {"msg_id": pick.choice([CELL, CELL, CELL, CELL, "other", "probe"])}
    whole = {"channel": channel, "header": header, "parent_header": parent, "metadata": {}, "content": content}
    return copy.deepcopy(whole), pick.random() < 0.5


def places(node: Any, found: list[tuple[Any, Any]]) -> None:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found.append((node, key))
        places(value, found)


def mutate(whole: dict[str, Any], pick: random.Random) -> None:
    for _ in range(pick.choice([0, 1, 1, 1, 2, 3])):
        found: list[tuple[Any, Any]] = []
        places(whole, found)
        node, key = pick.choice(found or [(whole, "header")])
        if pick.random() < 0.3:
            if key in node if isinstance(node, dict) else True:
                del node[key]
        elif pick.random() < 0.1 and isinstance(node, dict):
            node[pick.choice(["x", "", "data", "state", "msg_id", "text/html", "text/markdown", "image/svg+xml"])] = (
                node[key]
            )
        else:
            node[key] = copy.deepcopy(pick.choice(JUNK))


def wire(whole: dict[str, Any], v1: bool, pick: random.Random) -> str | bytes:
    if v1:
        channel = str(whole.get("channel")).encode("utf-8", "replace").decode()
        parts: list[Any] = [whole.get(name) for name in ("header", "parent_header", "metadata", "content")]
        header, parent, metadata, content = parts
        message = Message(channel, header, parent, metadata, content, (b"b",) * pick.randrange(3))
        payload = encode(message, V1)
    else:
        payload = json.dumps(whole)
    if pick.random() < 0.25:
        data = bytearray(payload.encode() if isinstance(payload, str) else payload)
        for _ in range(pick.randrange(1, 4)):
            how, at = pick.randrange(4), pick.randrange(len(data) + 1)
            if how == 0:
                data[at : at + 1] = pick.randbytes(1)
            elif how == 1:
                del data[at : at + pick.randrange(1, 9)]
            elif how == 2:
                data[at:at] = pick.randbytes(pick.randrange(1, 9))
            else:
                del data[at:]
        return bytes(data) if v1 else bytes(data).decode("utf-8", "replace")
    return payload


def fuzz(count: int, seed: int, watch: Callable[[int], None] = lambda number: None) -> dict[str, int]:
    pick = random.Random(seed)
    told = {"read": 0, "malformed": 0, "events": 0}
    machines = Everything(0)
    for number in range(count):
        if number % 500 == 499:
            machines.end()
            machines = Everything(number // 500)
        if number % 10_000 == 0:
            watch(number)
        whole, v1 = make(pick)
        mutate(whole, pick)
        payload = wire(whole, v1, pick)
        try:
            message = decode(payload, V1 if v1 else "")
        except MalformedMessage:
            told["malformed"] += 1
            continue
        told["read"] += 1
        try:
            machines.take(message)
        except Exception as error:
            error.add_note(f"message {number}: {message}")
            raise
    return told


def test_messages_that_are_nearly_right() -> None:
    told = fuzz(20_000, 1)
    assert told["read"] > 10_000 and told["malformed"] > 1000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_messages_that_are_nearly_right(record: Record) -> None:
    process = psutil.Process()
    sizes: list[int] = []

    def watch(number: int) -> None:
        if number % 100_000 == 0:
            gc.collect()
            sizes.append(process.memory_info().rss)

    began = time.monotonic()
    told = fuzz(1_000_000, 2, watch)
    gc.collect()
    sizes.append(process.memory_info().rss)
    growth = (max(sizes[2:]) - sizes[1]) / 2**20  # the first 100 000 fill caches
    record(
        messages=1_000_000,
        read=told["read"],
        malformed=told["malformed"],
        crashes=0,
        growth_in_MiB=round(growth, 1),
        seconds=round(time.monotonic() - began),
    )
    assert growth < 20


# -- frames


def frames(count: int, seed: int) -> tuple[int, int]:
    pick = random.Random(seed)
    good = bad = 0
    true = [
        encode(Message("iopub", {"msg_type": "stream", "msg_id": "m"}, {}, {}, {"text": "x" * 40}, (b"1", b"22")), how)
        for how in (V1, "")
    ]
    for _ in range(count):
        payload = bytearray(pick.choice(true))  # type: ignore[arg-type] # with buffers both are bytes
        for _ in range(pick.randrange(4)):
            at = pick.randrange(len(payload) + 1)
            # Numbers of the head: counts and offsets that lie.
            number = pick.choice([0, 1, 5, 6, 7, len(payload), 2**31, 2**32 - 1, 2**62, 2**64 - 1, pick.randrange(999)])
            size = pick.choice([4, 8])
            packed = (number % 2 ** (8 * size)).to_bytes(size, pick.choice(["little", "big"]))
            payload[at : at + pick.choice([0, size])] = pick.choice([packed, pick.randbytes(pick.randrange(5)), b""])
        for how in (V1, ""):
            try:
                message = decode(bytes(payload), how)
            except MalformedMessage:
                bad += 1
            else:
                good += 1
                assert isinstance(message, Message) and sum(map(len, message.buffers)) <= len(payload)
    return good, bad


def test_frames_whose_numbers_lie() -> None:
    good, bad = frames(10_000, 1)
    assert good > 100 and bad > 10_000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_frames_whose_numbers_lie(record: Record) -> None:
    began = time.monotonic()
    good, bad = frames(500_000, 2)
    record(frames=good + bad, read=good, malformed=bad, crashes=0, seconds=round(time.monotonic() - began))
