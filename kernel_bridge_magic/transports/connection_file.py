"""What a kernel's connection file says: where the kernel listens, by which key it signs, and which process that is."""

from __future__ import annotations

import os
import stat
from typing import Any

from kernel_bridge_magic.access import peers
from kernel_bridge_magic.access.files import others_may, read_object
from kernel_bridge_magic.errors import CannotConnect


def read_connection_file(path: str, title: str, context: Any) -> Any:
    """Return jupyter_client's `ConnectionFileMixin` of a file, whose sockets are made from the ZMQ `context`.

    `title` is what people call the kernel.

    Raises:
        CannotConnect: the file cannot be read, holds no key, or could be written by everybody.
    """
    from jupyter_client.connect import ConnectionFileMixin

    info = ConnectionFileMixin(context=context, connection_file=path)
    try:
        info.load_connection_info(read_object(path))
    except Exception:
        # Whatever it holds (no object, no number, nesting without end): traitlets has errors of its own.
        raise CannotConnect(f"{title} has no connection file any more, or one that cannot be read") from None
    if not info.session.key:
        what = "has a connection file with no key, so anybody could speak in its name"
        raise CannotConnect(f"{title} {what}. Nothing was sent; start it anew to give it one")
    if info.transport == "ipc":
        info.ip = peers.unix_address(os.path.dirname(path), info.ip, f"-{info.shell_port}")
    elif others_may(os.stat(path), stat.S_IWOTH):
        what = "has a connection file that can be written by everybody, so it is not used"
        raise CannotConnect(f"{title} {what}. Take that right away with chmod 600")
    return info


class ListeningProcess:
    """The process that listens where a connection file says."""

    def __init__(self, info: Any) -> None:
        self._info = info
        self._pid: int | None = None

    def is_suspended(self) -> bool:
        """Return whether the process stands still (SIGSTOP), so that it lets us in once it goes on.

        The operating system accepts connections in its name meanwhile, but ZMQ's greeting is not answered.
        """
        if self._pid is None and self._info.transport == "ipc":
            self._pid = peers.unix_listener(f"{self._info.ip}-{self._info.shell_port}")
        elif self._pid is None:
            self._pid = peers.listening_process(self._info.shell_port)
        return self._pid is not None and peers.is_suspended(self._pid)
