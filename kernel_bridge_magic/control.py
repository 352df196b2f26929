"""Interrupt a kernel, and ask whether it is still there: by its server; else by its control channel; else the
process that listens on its port; else it cannot be done, and that is said."""

from __future__ import annotations

import json
import os
import queue
import signal
from typing import Any

from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError, LinkError
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.server import ServerAPI
from kernel_bridge_magic.transports.base import Transport

__all__ = ["Control"]

_ANSWER_SECONDS = 2.0  # a kernel's control thread answers in milliseconds, unless native code holds the GIL


class Control:
    """What can be done to one kernel beside running cells in it."""

    def __init__(self, kernel: Kernel, api: ServerAPI | None) -> None:
        self._kernel = kernel
        self._api = api

    def state(self) -> str | None:
        """The server's word on the kernel: its `execution_state`, None if it has it no more, "" if it is silent."""
        if self._api is None:
            return ""
        try:
            model = self._api.kernel(self._kernel.id)
        except KernelBridgeError:
            return ""
        return None if model is None else str(model.get("execution_state") or "unknown")

    def interrupt(self, transport: Transport | None = None) -> None:
        """Interrupt whatever the kernel runs now.

        Raises:
            ServerError: the server would not.
            CannotConnect: there is no server, no control channel that answers, and no process of ours.
        """
        if self._api is not None:
            # The server knows the kernelspec's interrupt_mode; we do not.
            self._api.interrupt(self._kernel.id)
            return
        if transport is not None and self._interrupt_by_message(transport):
            return
        self._interrupt_by_signal()

    def _interrupt_by_message(self, transport: Transport) -> bool:
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            msg_id = transport.send("interrupt_request", {}, channel="control", inbox=inbox)
        except LinkError:
            return False
        try:
            while True:
                message = inbox.get(timeout=_ANSWER_SECONDS)
                if getattr(message, "channel", "") == "control":
                    return bool(message.content.get("status") == "ok")
        except queue.Empty:
            return False
        finally:
            transport.forget(msg_id)

    def _interrupt_by_signal(self) -> None:
        pid = listening_process(self._kernel.connection_file)
        if pid is None:
            raise CannotConnect(f"{self._kernel.title} cannot be interrupted from here: no server, no process of ours")
        os.kill(pid, signal.SIGINT)


def listening_process(connection_file: str) -> int | None:
    """The pid of this user's process that listens on the connection file's shell port; None if there is none."""
    import psutil

    try:
        with open(connection_file, encoding="utf-8") as file:
            port = json.load(file)["shell_port"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid():
                continue
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        if any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections):
            return int(process.pid)
    return None
