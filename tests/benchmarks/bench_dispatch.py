"""How long a transport takes to hand on one message: 100,000 of a cell that prints, with a subscriber beside it.

python -m tests.benchmarks.bench_dispatch
"""

from __future__ import annotations

import os
import statistics
import time

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Inbox
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.support.scripted import ScriptedServer

COUNT = 100_000
RUNS = 5


class _Sends:
    """What makes a transport send nowhere."""

    def _send(self, message: Message) -> None:
        """Send it nowhere."""


class _ZMQ(_Sends, ZMQTransport):
    """Over ZMQ's code."""


class _WebSocket(_Sends, WebSocketTransport):
    """Over the WebSocket's code."""


def messages(parent: str, first: int) -> list[Message]:
    """What an ipykernel sends of a cell that prints `COUNT` lines."""
    asked = {"msg_id": parent, "msg_type": "execute_request", "session": parent.rpartition("_")[0]}
    content = {"name": "stdout", "text": "x\n"}
    return [
        Message("iopub", {"msg_type": "stream", "msg_id": f"life_7_{n}", "session": "life"}, asked, {}, content)
        for n in range(first, first + COUNT)
    ]


def microseconds(transport: Transport) -> float:
    """The median time for one message, in microseconds."""
    times = []
    for run in range(RUNS):
        inbox = Inbox()
        came = messages(transport.send("execute_request", {"code": "1"}, inbox=inbox), run * COUNT)
        dispatch = transport._dispatch
        began = time.process_time()
        for message in came:
            dispatch(message)
        times.append((time.process_time() - began) / COUNT * 1e6)
    return statistics.median(times)


def main() -> None:
    """Print the times."""
    with ScriptedServer() as server:
        over_websocket = _WebSocket(server.kernel, server.server, Vault())
    for transport in (_ZMQ(Kernel(id="k")), over_websocket):
        print(f"{transport.name}: {microseconds(transport):.2f} us for each message")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
