"""Kernels that do what a test says, behind real sockets: a WebSocket server, and a ZMQ kernel.

A script is called for each cell, with the `Cell` to answer::

    def script(cell):
        cell.busy()
        cell.iopub("stream", {"name": "stdout", "text": "hi"})
        cell.reply()
        cell.idle()

    with ScriptedServer(script) as server: ...
    with ScriptedKernel(script, tmp_path) as kernel: ...

`python tests/support/scripted.py FILE` is a kernel process of its own that never answers on control.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import tornado.httpserver
import tornado.iostream
import tornado.web
import tornado.websocket
import zmq
from jupyter_client.session import Session

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.frames import V1, decode, encode, join_offsets, join_v1
from kernel_bridge_magic.protocol.messages import Message

LIFE = "scripted-life"
INFO = {"status": "ok", "implementation": "scripted", "protocol_version": "5.3", "language_info": {"name": "none"}}
Script = Callable[["ScriptedCell"], object]


class ScriptedCell:
    """One `execute_request` that came in, and the ways to answer it."""

    def __init__(self, header: dict[str, Any], content: dict[str, Any]) -> None:
        self.header = header
        self.content = content

    def send(self, channel: str, msg_type: str, content: object, parent: Any = ...) -> None:
        """Send a message; its parent is this cell unless the test says otherwise."""
        raise NotImplementedError

    def text(
        self,
        channel: str,
        msg_type: str,
        *,
        content: Any = None,
        header: dict[str, Any] | None = None,
        parent: Any = ...,
        metadata: Any = None,
        buffers: tuple[bytes, ...] = (),
    ) -> None:
        """Send a message whose parts go out as they are: a `str` is JSON already, right or wrong.

        `header` changes single fields of the header. A lone surrogate in a `str` becomes the three bytes that no
        reader of UTF-8 takes; as an escape it stays one.
        """
        whole = {"msg_type": msg_type, "session": LIFE, "version": "5.3", **(header or {})}
        if "msg_id" not in whole:
            whole["msg_id"] = self.next_id()
        parts = (
            whole,
            self.header if parent is ... else parent,
            {} if metadata is None else metadata,
            {} if content is None else content,
        )
        # jupyter_client has made a datetime of the date in the header that came.
        written = [part if isinstance(part, str) else json.dumps(part, default=str) for part in parts]
        self.send_written(channel, msg_type, [part.encode("utf-8", "surrogatepass") for part in written], buffers)

    def next_id(self) -> str:
        """Number the next message as an ipykernel does."""
        raise NotImplementedError

    def send_written(self, channel: str, msg_type: str, parts: list[bytes], buffers: tuple[bytes, ...]) -> None:
        raise NotImplementedError

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, where the kernel is behind a WebSocket."""
        raise NotImplementedError

    def drop(self) -> None:
        """End the TCP connection without a close frame, where the kernel is behind a WebSocket."""
        raise NotImplementedError

    def iopub(self, msg_type: str, content: object, parent: Any = ...) -> None:
        self.send("iopub", msg_type, content, parent)

    def status(self, state: str) -> None:
        self.iopub("status", {"execution_state": state})

    def busy(self) -> None:
        self.status("busy")

    def idle(self) -> None:
        self.status("idle")

    def print(self, text: str, parent: Any = ...) -> None:
        self.iopub("stream", {"name": "stdout", "text": text}, parent)

    def reply(self, status: str = "ok", **more: Any) -> None:
        self.send("shell", "execute_reply", {"status": status, "execution_count": 1, **more})


# -- behind a WebSocket


class WSCell(ScriptedCell):
    def __init__(self, message: Message, handler: Channels) -> None:
        super().__init__(message.header, message.content)
        self.handler = handler

    def send(self, channel: str, msg_type: str, content: object, parent: Any = ...) -> None:
        self.handler.send(channel, msg_type, content, self.header if parent is ... else parent)

    def next_id(self) -> str:
        return self.handler.next_id()

    def send_written(self, channel: str, msg_type: str, parts: list[bytes], buffers: tuple[bytes, ...]) -> None:
        if self.handler.owner.subprotocol == V1:
            self.raw(join_v1([channel.encode(), *parts, *buffers]))
            return
        names = ("header", "parent_header", "metadata", "content")
        fields = b", ".join(b'"%s": %s' % (name.encode(), part) for name, part in zip(names, parts, strict=True))
        whole = b'{"channel": "%s", %s, "buffers": []}' % (channel.encode(), fields)
        self.raw(join_offsets([whole, *buffers]) if buffers else whole.decode("utf-8", "replace"))

    def raw(self, payload: str | bytes) -> None:
        """Send a frame as it is; `str` as a text frame."""
        self.handler.soon(lambda: self.handler.write_message(payload, binary=isinstance(payload, bytes)))

    def close(self, code: int, reason: str = "") -> None:
        self.handler.soon(lambda: self.handler.close(code, reason))

    def drop(self) -> None:
        self.handler.soon(self.handler.drop)


class Channels(tornado.websocket.WebSocketHandler):
    def initialize(self, owner: ScriptedServer) -> None:
        self.owner = owner
        self._numbers = itertools.count()

    async def get(self, *args: Any, **kwargs: Any) -> None:
        self.owner.handshakes.append(dict(self.request.headers.get_all()))
        self.owner.uris.append(self.request.uri or "")
        if self.owner.refusal is None and self.owner.state in (None, "dead"):
            self.owner.refusal = (404, {}, "")
        if self.owner.refusal is None:
            await super().get(*args, **kwargs)
            return
        status, headers, body = self.owner.refusal
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)
        await self.finish(body)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return V1 if self.owner.subprotocol == V1 and V1 in subprotocols else None

    def open(self, *args: str) -> None:
        self.owner.handlers.append(self)

    def on_message(self, payload: str | bytes) -> None:
        message = decode(payload, self.owner.subprotocol)
        self.owner.received.append(message)
        if message.msg_type == "kernel_info_request":
            self.owner.answer(lambda: self.by_the_book(message, "kernel_info_reply", INFO))
        elif message.msg_type == "execute_request" and message.content.get("silent"):
            self.by_the_book(message, "execute_reply", {"status": "ok"})
        elif message.msg_type == "execute_request":
            # A thread of its own: a script may wait for what the test does.
            self.owner.run_script(self.cell(message))

    def cell(self, message: Message) -> WSCell:
        return WSCell(message, self)

    def by_the_book(self, message: Message, msg_type: str, content: object) -> None:
        self.send("iopub", "status", {"execution_state": "busy"}, message.header)
        self.send(message.channel, msg_type, content, message.header)
        self.send("iopub", "status", {"execution_state": "idle"}, message.header)

    def soon(self, action: Callable[[], Any]) -> None:
        """Do it in the thread of the sockets, in order; what has closed meanwhile is left alone."""

        def act() -> None:
            with contextlib.suppress(tornado.websocket.WebSocketClosedError):
                result = action()
                if isinstance(result, asyncio.Future):
                    result.add_done_callback(lambda done: done.cancelled() or done.exception())

        self.owner.loop.call_soon_threadsafe(act)

    def send(self, channel: str, msg_type: str, content: object, parent: object) -> None:
        header = {"msg_id": self.next_id(), "msg_type": msg_type, "session": self.owner.life}
        message = Message(channel, header, parent, {}, content)  # type: ignore[arg-type] # the test may lie
        payload = self.changed(message, encode(message, self.owner.subprotocol))
        if payload is not None:
            self.soon(lambda: self.write_message(payload, binary=isinstance(payload, bytes)))

    def next_id(self) -> str:
        if not self.owner.numbers:
            return uuid.uuid4().hex
        return f"{self.owner.life}_{self.owner.process or id(self)}_{next(self._numbers)}"

    def changed(self, message: Message, payload: str | bytes) -> str | bytes | None:
        return payload

    def drop(self) -> None:
        # Not close(): with something unread in it that is a reset, which throws away what was sent last.
        if (stream := self._stream) is not None:
            with contextlib.suppress(OSError):
                stream.socket.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        if (stream := self._stream) is not None:
            stream.close()

    @property
    def _stream(self) -> tornado.iostream.IOStream | None:
        return getattr(self.ws_connection, "stream", None)


class Model(tornado.web.RequestHandler):
    def initialize(self, owner: ScriptedServer) -> None:
        self.owner = owner

    def get(self, kernel_id: str, /) -> None:
        if self.owner.state is None:
            self.set_status(404)
        self.write({"id": kernel_id, "name": "scripted", "execution_state": self.owner.state or "dead"})

    def post(self, kernel_id: str, /) -> None:
        self.owner.interrupts += 1
        self.set_status(204)

    def check_xsrf_cookie(self) -> None:
        pass


class ScriptedServer:
    """A server with one kernel, `kernel`, whose cells `script` answers; in a thread of its own.

    `subprotocol` is V1, or "" for a server that speaks JSON only. `refusal` is a status, headers and a body that the
    handshake is refused with. `state` is what REST says about the kernel, None for 404. `in_order`: a question waits
    for the scripts before it to end, as it does in a kernel. `life` is the session of what it sends, `process` the
    process (0: another one for each connection), `numbers` whether it numbers that.
    """

    in_order = False
    life = LIFE
    process = 0
    numbers = True

    def __init__(self, script: Script | None = None, *, subprotocol: str = V1) -> None:
        self.script = script
        self.subprotocol = subprotocol
        self.refusal: tuple[int, dict[str, str], str] | None = None
        self.state: str | None = "busy"
        self.interrupts = 0
        self.received: list[Message] = []
        self.handshakes: list[dict[str, str]] = []
        self.uris: list[str] = []
        self.handlers: list[Channels] = []
        #: what a script raised
        self.problems: list[BaseException] = []
        self._scripts: list[threading.Thread] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="scripted-server")
        self._thread.start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        application = tornado.web.Application(self.routes(), websocket_max_message_size=2**28)
        http = tornado.httpserver.HTTPServer(application)
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        http.add_sockets(sockets)
        self.port = sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        http.stop()
        for handler in self.handlers:
            handler.end()
        await http.close_all_connections()
        await asyncio.sleep(0)  # the handlers' own ends

    def routes(self) -> list[tuple[str, type, dict[str, Any]]]:
        return [
            (r"/api/kernels/([^/]+)/channels", Channels, {"owner": self}),
            (r"/api/kernels/([^/]+)", Model, {"owner": self}),
            (r"/api/kernels/([^/]+)/interrupt", Model, {"owner": self}),
        ]

    def run_script(self, cell: ScriptedCell) -> None:
        def work() -> None:
            assert self.script is not None
            self.script(cell)

        self._beside(work)

    def answer(self, action: Callable[[], None]) -> None:
        """Answer a question: at once, or `in_order`."""
        before = list(self._scripts)

        def work() -> None:
            for script in before:
                script.join()
            action()

        if self.in_order:
            self._beside(work)
        else:
            action()

    def _beside(self, work: Callable[[], object]) -> None:
        def keep_problems() -> None:
            try:
                work()
            except BaseException as problem:
                self.problems.append(problem)

        thread = threading.Thread(target=keep_problems, name="script")
        self._scripts.append(thread)
        thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def server(self) -> Server:
        base = parse_base_url(self.url)
        return Server(base.url, "scripted", base.origin, trusted=True)

    @property
    def kernel(self) -> Kernel:
        return Kernel(id="scripted", server=self.server, started_by="a script")

    def cells(self) -> list[str]:
        """The code of all cells that came in, those without output of their own aside."""
        wanted = [m for m in self.received if m.msg_type == "execute_request" and not m.content.get("silent")]
        return [str(message.content["code"]) for message in wanted]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for thread in self._scripts:
            thread.join(10)
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.problems and not any(exc):
            raise self.problems[0]


# -- behind ZMQ


class ZMQCell(ScriptedCell):
    def __init__(self, kernel: ScriptedKernel, idents: list[bytes], message: dict[str, Any]) -> None:
        super().__init__(message["header"], message["content"])
        self.kernel = kernel
        self.idents = idents

    def send(self, channel: str, msg_type: str, content: object, parent: Any = ...) -> None:
        self.send_parts(channel, self.parts(msg_type, content, parent), msg_type)

    def parts(self, msg_type: str, content: object, parent: Any = ..., key: bytes | None = None) -> list[bytes]:
        """A signed message; with `key` signed by somebody else."""
        session = self.kernel.session if key is None else Session(key=key, session=LIFE)
        message = session.msg(msg_type)
        if not self.kernel.numbers:
            message["header"]["msg_id"] = uuid.uuid4().hex
        elif self.kernel.process:
            number = message["header"]["msg_id"].rpartition("_")[2]
            message["header"]["msg_id"] = f"{self.kernel.life}_{self.kernel.process}_{number}"
        message["content"] = content if isinstance(content, dict) else json.dumps(content).encode()
        # Session.msg drops what is no header; a kernel that misbehaves does not.
        message["parent_header"] = self.header if parent is ... else parent
        return list(session.serialize(message))

    def next_id(self) -> str:
        return str(self.kernel.session.msg_id)

    def send_written(self, channel: str, msg_type: str, parts: list[bytes], buffers: tuple[bytes, ...]) -> None:
        self.send_parts(channel, [b"<IDS|MSG>", self.kernel.session.sign(parts), *parts, *buffers], msg_type)

    def send_parts(self, channel: str, parts: list[bytes], topic: str = "") -> None:
        ident = [topic.encode()] if channel == "iopub" else self.idents
        self.kernel.sockets[channel].send_multipart([*ident, *parts])


class ScriptedKernel:
    """A ZMQ kernel in a thread of its own, with its connection file; it sends no `iopub_welcome`.

    While `busy` is set nothing on shell is read. With `answers_control` false nothing on control is answered. `life` is
    the session of what it sends, `process` the process (0: this one), `numbers` whether it numbers that.
    """

    process = 0
    numbers = True

    def __init__(
        self,
        script: Script,
        directory: Path,
        *,
        key: bytes = b"a-key",
        busy: bool = False,
        answers_control: bool = True,
        info: dict[str, Any] = INFO,
    ) -> None:
        self.script = script
        self._key = key
        self.life = LIFE
        self.busy = threading.Event()
        if busy:
            self.busy.set()
        self.answers_control = answers_control
        self.info = info
        self.interrupts = 0
        self.received: list[str] = []
        self.problems: list[BaseException] = []
        self.connection_file = directory / "kernel-scripted.json"
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted-kernel")
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def life(self) -> str:
        return str(self.session.session)

    @life.setter
    def life(self, life: str) -> None:
        self.session = Session(key=self._key, session=life)

    @property
    def kernel(self) -> Kernel:
        return Kernel(id="scripted", connection_file=str(self.connection_file), started_by="a script")

    def _run(self) -> None:
        context = zmq.Context()
        context.linger = 0
        try:
            with self._opened(context):
                self._ready.set()
                while not self._stop.is_set():
                    self._look()
        except BaseException as problem:
            self.problems.append(problem)
            self._ready.set()
        finally:
            context.destroy(0)

    @contextlib.contextmanager
    def _opened(self, context: zmq.Context[Any]) -> Iterator[None]:
        kinds = {"shell": zmq.ROUTER, "iopub": zmq.PUB, "stdin": zmq.ROUTER, "control": zmq.ROUTER, "hb": zmq.REP}
        self.sockets = {name: context.socket(kind) for name, kind in kinds.items()}
        ports = {f"{name}_port": sock.bind_to_random_port("tcp://127.0.0.1") for name, sock in self.sockets.items()}
        info = {"transport": "tcp", "ip": "127.0.0.1", "key": self._key.decode(), "signature_scheme": "hmac-sha256"}
        with open(os.open(self.connection_file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            json.dump({**info, **ports}, file)
        try:
            yield
        finally:
            for sock in self.sockets.values():
                sock.close(0)

    def _look(self) -> None:
        for channel in ("control", "shell", "hb"):
            if channel == "shell" and self.busy.is_set():
                continue
            if not self.sockets[channel].poll(5):
                continue
            parts = self.sockets[channel].recv_multipart()
            if channel == "hb":
                self.sockets[channel].send_multipart(parts)
                continue
            idents, rest = self.session.feed_identities(parts)
            message = self.session.deserialize(rest)
            self._take(channel, ZMQCell(self, idents, message), message["header"]["msg_type"])

    def _take(self, channel: str, cell: ZMQCell, kind: str) -> None:
        self.received.append(kind)
        if channel == "control":
            self.interrupts += kind == "interrupt_request"
            if self.answers_control:
                content = self.info if kind == "kernel_info_request" else {"status": "ok"}
                cell.send("control", kind.replace("request", "reply"), content)
        elif kind == "kernel_info_request":
            self.by_the_book(cell, "kernel_info_reply", self.info)
        elif cell.content.get("silent"):
            self.by_the_book(cell, "execute_reply", {"status": "ok"})
        elif kind == "execute_request":
            try:
                self.script(cell)
            except Exception as problem:
                self.problems.append(problem)

    def by_the_book(self, cell: ZMQCell, msg_type: str, content: object) -> None:
        cell.busy()
        cell.send("shell", msg_type, content)
        cell.idle()

    def stop(self) -> None:
        """End as a process does: all sockets are closed."""
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if self.problems and not any(exc):
            raise self.problems[0]


class AskingKernel(ScriptedKernel):
    """A kernel that asks for a line, whatever it was told: during the cell, or behind its end where that is `late`."""

    def __init__(self, directory: Path) -> None:
        #: the lines that it was given, None for a question that was not answered
        self.answers: list[str | None] = []
        super().__init__(self._ask, directory)

    def _ask(self, cell: ScriptedCell) -> None:
        cell.busy()
        is_late = "late" in cell.content["code"]
        if is_late:
            self._end(cell)
        cell.send("stdin", "input_request", {"prompt": "name? ", "password": "secret" in cell.content["code"]})
        stdin = self.sockets["stdin"]
        answer = (
            self.session.deserialize(self.session.feed_identities(stdin.recv_multipart())[1])
            if stdin.poll(10_000)
            else {}
        )
        self.answers.append(answer.get("content", {}).get("value"))
        if not is_late:
            self._end(cell)

    def _end(self, cell: ScriptedCell) -> None:
        cell.reply()
        cell.idle()


def main(directory: str) -> None:
    """Be a kernel that knows of interrupts only what a signal tells it."""
    interrupted, ended = threading.Event(), threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: interrupted.set())
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())

    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.print("waiting\n")
        while not interrupted.wait(0.05) and not ended.is_set():
            pass
        cell.iopub("error", {"ename": "Interrupted", "evalue": "by signal", "traceback": []})
        cell.reply("error", ename="Interrupted", evalue="by signal")
        cell.idle()

    with ScriptedKernel(script, Path(directory), answers_control=False):
        while not ended.wait(0.05):  # a wait without end would hold the signals' handlers up
            pass


if __name__ == "__main__":
    main(sys.argv[1])
