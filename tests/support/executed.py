"""Notebooks executed by nbclient, without the reply that it may miss until its timeout is over.

nbclient answers the widgets of a cell by the socket on which it waits for the cell's reply. jupyter_client sends past
asyncio, and a send may take the one signal by which asyncio learns that the reply has come. The reply is then seen
when the wait ends: after the timeout of the cell, a minute in our tests, for every such cell.
"""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient
from traitlets import Type


class LookingChannel(AsyncZMQSocketChannel):
    """Looks again each second whether a message is there."""

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return await super().get_msg(timeout=max(0, min(left, 1)))
            except Empty:
                if left <= 1:
                    raise


class LookingKernelClient(AsyncKernelClient):
    shell_channel_class = Type(LookingChannel)


class LookingKernelManager(AsyncKernelManager):
    client_factory = Type(LookingKernelClient)


class Executor(NotebookClient):
    """A `NotebookClient` that misses no reply."""

    kernel_manager_class = Type(LookingKernelManager)
