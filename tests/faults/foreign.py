"""A client of somebody else's: jupyter_client's sockets and session, and none of our code."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import zmq
from jupyter_client.connect import ConnectionFileMixin
from jupyter_client.session import Session

from tests.support.servers import JupyterServer, wait_for


@dataclass
class Ran:
    """What came of one cell."""

    reply: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    idle: bool = False


class ForeignClient:
    """Runs cells as a notebook does: counted in the history, and an error aborts what is queued. For one thread."""

    def __init__(self, server: JupyterServer, kernel: str) -> None:
        self._context = zmq.Context()
        file = ConnectionFileMixin(context=self._context, connection_file=str(server.connection_file(kernel)))
        file.load_connection_file()
        self._session = Session(key=file.session.key, signature_scheme=file.session.signature_scheme)
        self._shell = file.connect_shell(identity=self._session.bsession)
        self._iopub = file.connect_iopub()
        self._ran: dict[str, Ran] = {}
        wait_for(self._hears, "an answer, and something on IOPub")

    def _hears(self) -> bool:
        sent = self._send("kernel_info_request", {})
        self._take(0.5, lambda: self._ran[sent].idle)
        return self._ran[sent].idle

    def _send(self, msg_type: str, content: dict[str, Any]) -> str:
        message = self._session.send(self._shell, msg_type, content)
        msg_id = str(message["header"]["msg_id"])
        self._ran[msg_id] = Ran()
        return msg_id

    def send(self, code: str) -> str:
        """Send a cell; gives its id."""
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": True, "allow_stdin": False}
        return self._send("execute_request", {**content, "user_expressions": {}})

    def until(self, sent: str, condition: Any, seconds: float = 120) -> Ran:
        """Take what comes until a condition on what came of a cell holds."""
        ran = self._ran[sent]
        self._take(seconds, lambda: condition(ran))
        assert condition(ran), ran
        return ran

    def run(self, code: str) -> Ran:
        """Run a cell to its end: reply and idle."""
        return self.until(self.send(code), lambda ran: ran.reply and ran.idle)

    def _take(self, seconds: float, done: Any) -> None:
        end = time.monotonic() + seconds
        poller = zmq.Poller()
        poller.register(self._shell, zmq.POLLIN)
        poller.register(self._iopub, zmq.POLLIN)
        while not done() and (left := end - time.monotonic()) > 0:
            for sock, _ in poller.poll(int(min(left, 0.1) * 1000)):
                _, parts = self._session.feed_identities(sock.recv_multipart())
                message = self._session.deserialize(parts)
                ran = self._ran.get(message["parent_header"].get("msg_id", ""))
                if ran is not None:
                    self._keep(ran, message, sock is self._shell)

    def _keep(self, ran: Ran, message: dict[str, Any], is_reply: bool) -> None:
        content = message["content"]
        if is_reply:
            ran.reply = content
        elif message["msg_type"] == "stream":
            ran.text += content["text"]
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            ran.idle = True

    def close(self) -> None:
        self._context.destroy(0)
