"""Connections to real kernels, over either transport, without looking around for them."""

from __future__ import annotations

import json

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.models import Kernel, Server, Session
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from kernel_bridge_magic.transports.zmq import ZMQTransport
from tests.support.servers import JupyterServer

TRANSPORTS = ("zmq", "ws")


def known(server: JupyterServer) -> tuple[Server, Vault]:
    """The server as the code knows it, and a vault with its token."""
    base = parse_base_url(server.url)
    vault = Vault()
    if server.token:
        vault.put(base.origin, Secret(server.token))
    return Server(base.url, "test", base.origin, "runtime", pid=server.pid), vault


def found(server: JupyterServer, kernel_id: str, path: str = "a.ipynb") -> Kernel:
    """The kernel as discovery gives it."""
    where, _ = known(server)
    file = server.connection_file(kernel_id)
    status, answer = server.request("GET", f"api/kernels/{kernel_id}")
    return Kernel(
        id=kernel_id,
        name="python3",
        state=json.loads(answer)["execution_state"] if status == 200 else "unknown",
        server=where,
        sessions=(Session(path, path.rsplit("/", 1)[-1]),),
        connection_file=str(file) if file.exists() else "",
    )


def transport_of(connection: KernelConnection) -> Transport:
    """The transport of a connection that somebody else opened: to its users it is none of their business."""
    return connection._transport


def has_ended(transport: Transport) -> bool:
    """Whether the connection's thread has ended, with its sockets."""
    return not transport._thread.is_alive()


def connect_over(server: JupyterServer, kernel: Kernel, transport_name: str) -> tuple[KernelConnection, Transport]:
    """An open connection, and its transport."""
    where, vault = known(server)
    transport: Transport = ZMQTransport(kernel) if transport_name == "zmq" else WebSocketTransport(kernel, where, vault)
    transport.open(75)
    return KernelConnection(kernel, transport, Control(kernel, ServerAPI(where, vault))), transport


class Heard:
    """A subscriber that keeps the messages that it gets."""

    def __init__(self) -> None:
        self.items: list[Message] = []

    def put(self, item: object) -> None:
        if isinstance(item, Message) and item.msg_type != "status":
            self.items.append(item)
