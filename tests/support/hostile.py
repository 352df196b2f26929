"""A server that does to us whatever a test says: REST answers, kept connections, and every byte of a message.

It is all that `scripted.ScriptedServer` is, with the same cells; beside that::

    def script(cell):
        cell.busy()
        cell.text("iopub", "stream", header={"msg_id": "9" * 5000}, content={"name": "stdout", "text": "x"})
        cell.text("iopub", "display_data", content='{"data": {"text/plain": "\\\\ud800"}, "metadata": {"x": NaN}}')
        cell.reply()
        cell.idle()

    with HostileServer(script) as server:
        server.paths["/api/sessions"] = 200, {}, "[]"    # what REST says there; None is 404
        server.paths["/api"] = lambda request: ...       # the same, when it is asked
        server.closes = True                             # a kept connection is closed behind each answer
        server.changes = lambda message, payload: None   # a message of the kernel's that is lost, or altered
        server.doors = 1                                 # so many WebSockets are let in, and no more
        server.waits = threading.Event()                 # a WebSocket is let in when that is set
        server.cut()                                     # all WebSockets end without a word

Its kernel is one's own (`kernel`), or a stranger's (`foreign`); `kernels` and `sessions` are what REST lists.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import Callable
from typing import Any

import tornado.httputil
import tornado.web

from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.frames import V1
from kernel_bridge_magic.protocol.messages import Message
from tests.support.scripted import Channels, Model, Script, ScriptedServer

__all__ = ["Answer", "HostileServer"]

#: Status, headers and body of an answer to a REST question.
Answer = tuple[int, dict[str, str], str | bytes]
JSON = {"Content-Type": "application/json"}


class _HostileChannels(Channels):
    owner: HostileServer

    async def get(self, *args: Any, **kwargs: Any) -> None:
        if self.owner.waits is not None:
            self.owner.waiting += 1
            await asyncio.to_thread(self.owner.waits.wait, 60)
        if self.owner.doors is None or len(self.owner.handlers) < self.owner.doors:
            await super().get(*args, **kwargs)
            return
        self.set_status(503)
        await self.finish("")

    def changed(self, message: Message, payload: str | bytes) -> str | bytes | None:
        return payload if self.owner.changes is None else self.owner.changes(message, payload)


class _Rest(tornado.web.RequestHandler):
    """What the table of the test says; what it does not name is 404."""

    def initialize(self, owner: HostileServer) -> None:
        self.owner = owner

    def prepare(self) -> None:
        stream = self.request.connection.stream  # type: ignore[union-attr] # tornado's own
        if all(stream is not known for known in self.owner.connections):
            self.owner.connections.append(stream)
        self.owner.requests.append((self.request.method or "", self.request.path))

    def answer(self) -> bool:
        """Answer from the table; tell whether it names the path."""
        if self.request.path not in self.owner.paths:
            return False
        found = self.owner.paths[self.request.path]
        status, headers, body = (found(self.request) if callable(found) else found) or (404, {}, "")
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)
        self.finish(body)
        return True

    def get(self, *args: str) -> None:
        if not self.answer():
            self.set_status(404)

    post = delete = patch = put = get

    def on_finish(self) -> None:
        if self.owner.closes:
            stream = self.request.connection.stream  # type: ignore[union-attr]
            self.owner.loop.call_soon(stream.close)

    def check_xsrf_cookie(self) -> None:
        pass


class _HostileModel(_Rest, Model):
    owner: HostileServer

    def initialize(self, owner: Any) -> None:
        self.owner = owner

    def get(self, *args: str) -> None:
        if not self.answer():
            Model.get(self, *args)

    def post(self, *args: str) -> None:
        if not self.answer():
            Model.post(self, *args)


class HostileServer(ScriptedServer):
    """A `ScriptedServer` whose REST, connections and bytes are the test's; see the head of this file."""

    def __init__(self, script: Script | None = None, *, subprotocol: str = V1) -> None:
        #: what REST answers, by path; a function is called with tornado's request
        self.paths: dict[str, Answer | Callable[[tornado.httputil.HTTPServerRequest], Answer | None] | None] = {
            "/api": (200, JSON, '{"version": "2.99"}'),
            "/api/kernels": lambda request: (200, JSON, json.dumps(self.kernels)),
            "/api/sessions": lambda request: (200, JSON, json.dumps(self.sessions)),
            "/api/kernelspecs": (200, JSON, '{"default": "scripted", "kernelspecs": {}}'),
        }
        #: whether a connection is closed behind each answer, though nothing in that says so
        self.closes = False
        #: gives what is sent in the place of a kernel's message and its frame; None: it is lost
        self.changes: Callable[[Message, str | bytes], str | bytes | None] | None = None
        #: how many WebSockets are let in; None: all
        self.doors: int | None = None
        #: what a WebSocket's handshake waits for, as for a busy kernel; and how many have begun to wait
        self.waits: threading.Event | None = None
        self.waiting = 0
        #: the REST questions that came, and the TCP connections by which they did
        self.requests: list[tuple[str, str]] = []
        self.connections: list[Any] = []
        self.kernels: list[dict[str, Any]] = [{"id": "scripted", "name": "scripted", "execution_state": "idle"}]
        self.sessions: list[dict[str, Any]] = []
        super().__init__(script, subprotocol=subprotocol)

    def routes(self) -> list[tuple[str, type, dict[str, Any]]]:
        owner = {"owner": self}
        return [
            (r"/api/kernels/([^/]+)/channels", _HostileChannels, owner),
            (r"/api/kernels/([^/]+)", _HostileModel, owner),
            (r"/api/kernels/([^/]+)/interrupt", _HostileModel, owner),
            (r"/.*", _Rest, owner),
        ]

    @property
    def foreign(self) -> Kernel:
        """Its kernel behind a server that nobody trusts."""
        return dataclasses.replace(self.kernel, server=dataclasses.replace(self.server, trusted=False))

    def cut(self) -> None:
        """End all WebSockets without a word."""
        for handler in list(self.handlers):
            handler.soon(handler.drop)
