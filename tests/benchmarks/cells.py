"""What one cell costs: each of its messages, and what `--durable` adds to a line and to many."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Inbox
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.benchmarks.harness import Case, Row
from tests.support.scripted import ScriptedServer
from tests.support.servers import JupyterServer
from tests.support.transports import connect_over, found

COUNT = 100_000
CELLS = {"print(1)": 60, "for i in range(2000): print(i, flush=True)": 5, "print('x' * 10_000_000)": 5}


class _Sends:
    """What makes a transport send nowhere."""

    def _send(self, message: Message) -> None:
        """Send it nowhere."""


class _ZMQ(_Sends, ZMQTransport):
    """Over ZMQ's code."""


class _WebSocket(_Sends, WebSocketTransport):
    """Over the WebSocket's code."""


def _messages(parent: str, first: int) -> list[Message]:
    """What an ipykernel sends of a cell that prints `COUNT` lines."""
    asked = {"msg_id": parent, "msg_type": "execute_request", "session": parent.rpartition("_")[0]}
    content = {"name": "stdout", "text": "x\n"}
    return [
        Message("iopub", {"msg_type": "stream", "msg_id": f"life_7_{n}", "session": "life"}, asked, {}, content)
        for n in range(first, first + COUNT)
    ]


def _dispatch(stack: contextlib.ExitStack) -> Mapping[str, Case]:
    """How long a transport takes to pass on one message, with a subscriber beside it."""
    with ScriptedServer() as server:
        over_websocket = _WebSocket(server.kernel, server.server, Vault())
    passed = {"zmq": 0, "ws": 0}

    def one(transport: Transport) -> float:
        inbox = Inbox()
        came = _messages(transport.send("execute_request", {"code": "1"}, inbox=inbox), passed[transport.name])
        passed[transport.name] += COUNT
        dispatch = transport._dispatch
        began = time.process_time()
        for message in came:
            dispatch(message)
        return (time.process_time() - began) / COUNT

    return {it.name: functools.partial(one, it) for it in (_ZMQ(Kernel(id="k")), over_websocket)}


def _durable(transport_name: str, code: str, stack: contextlib.ExitStack) -> Mapping[str, Case]:
    server = stack.enter_context(JupyterServer(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
    kernel_id = server.start_kernel(path="a.ipynb")
    server.wait_for_kernel(kernel_id)
    kernel = stack.enter_context(connect_over(server, found(server, kernel_id), transport_name)[0])

    def run(*, durable: bool) -> None:
        kernel.execute(code, durable=durable)

    return {"durable": functools.partial(run, durable=True), "floor": functools.partial(run, durable=False)}


ROWS = [
    Row("one of 100,000 messages, passed on", _dispatch, rounds=5, warm_up=0),
    *(
        Row(f"--durable over {name}: {code}", functools.partial(_durable, name, code), rounds=rounds)
        for name in ("zmq", "ws")
        for code, rounds in CELLS.items()
    ),
]
