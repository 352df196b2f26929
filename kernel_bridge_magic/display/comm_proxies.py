"""Stand in for another kernel's comms in this kernel, so that its widgets work in this front end.

A proxy has the id of the other kernel's comm. What that kernel sends is published here as if this kernel had sent it;
what the front end sends goes to `forward`. `comm.create_comm` would not do: an ipykernel's own comms answer on the
subshell that published last, which would be the one that waits for the remote cell (FACTS.md#widgets).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kernel_bridge_magic.protocol.comms import ForwardedComm

#: Called with `comm_msg` or `comm_close`, and the front end's message: a dict of header, metadata, content, buffers.
Forward = Callable[[str, Mapping[str, Any]], None]


class CommProxy:
    """One comm, as ipykernel's `CommManager` wants it."""

    def __init__(self, comm_id: str, target_name: str, forward: Forward) -> None:
        self.comm_id = comm_id
        self.target_name = target_name
        self._closed = False  # set by the manager
        # The manager calls these with the front end's messages.
        self.handle_msg = partial(forward, "comm_msg")
        self.handle_close = partial(forward, "comm_close")


class CommProxies:
    """All proxies of one connection, in the ipykernel `kernel`. Safe to use from any thread."""

    def __init__(self, kernel: Any, forward: Forward) -> None:
        self._kernel = kernel
        self._forward = forward

    def publish(self, message: ForwardedComm) -> None:
        """Publish here what the other kernel sent, and open or close the proxy that it is for."""
        comms = self._kernel.comm_manager.comms
        if message.msg_type == "comm_open":
            target = str(message.content.get("target_name", ""))
            comms[message.comm_id] = CommProxy(message.comm_id, target, self._forward)
        elif message.msg_type == "comm_close":
            comms.pop(message.comm_id, None)
        self._send(message)

    def close(self, comm_id: str) -> None:
        """Close a proxy whose kernel is gone: the front end shows the widget as disconnected."""
        if self._kernel.comm_manager.comms.pop(comm_id, None) is not None:
            content = {"comm_id": comm_id, "data": {}}
            self._send(ForwardedComm("comm_close", comm_id, content, {}, (), None))

    def _send(self, message: ForwardedComm) -> None:
        kernel = self._kernel
        kernel.session.send(
            kernel.iopub_socket,
            message.msg_type,
            dict(message.content),
            metadata=dict(message.metadata),
            parent=dict(message.parent or {}),
            ident=f"comm-{message.comm_id}".encode(),
            buffers=list(message.buffers),
        )
