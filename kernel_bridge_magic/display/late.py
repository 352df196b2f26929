"""Show output that comes when its cell is over, under the message that it belongs to.

IPython's own publishers would put it under whatever cell runs now.
"""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.display.neutral import bundle, metadata
from kernel_bridge_magic.errors import FateError, RemoteError
from kernel_bridge_magic.results import RemoteValue


class LateSink:
    """A `Sink` that shows in the ipykernel `kernel` under `parent`, a message of its front end.

    Safe to use from any thread. It does not use `sys.stdout`, which another cell's `%%capture` may have replaced.
    """

    can_ask = False
    stop = "Stop"
    names_kernel = False

    def __init__(self, kernel: Any, parent: dict[str, Any]) -> None:
        self._kernel = kernel
        self._parent = parent

    def stream(self, name: str, text: str) -> None:
        self._send("stream", {"name": name, "text": text})

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        transient = {"display_id": display_id} if display_id else {}
        kind = "update_display_data" if update else "display_data"
        self._send(kind, {"data": data, "metadata": metadata, "transient": transient})

    def clear(self, wait: bool) -> None:
        self._send("clear_output", {"wait": wait})

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        """Show a result; its cell is over, so it has no number."""
        self.display(value.data, value.metadata, display_id, False)

    def begin_line(self) -> None:
        """Do nothing: a front end ends each output by itself."""

    def error(self, error: RemoteError | FateError) -> None:
        """Show an error; the cell it belongs to ended before it."""
        name, lines = type(error).__name__, list(error._render_traceback_())
        self._send("error", {"ename": name, "evalue": str(error), "traceback": lines})

    def note(self, text: str) -> None:
        self.stream("stderr", f"kernel-bridge: {text}\n")

    def inform(self, kind: str, text: str) -> None:
        if text:
            self.display(bundle(text), metadata(kind), "", False)

    def ask(self, prompt: str, password: bool) -> str:
        """Refuse: nobody sits before a cell that is over."""
        raise EOFError

    def _send(self, msg_type: str, content: dict[str, Any]) -> None:
        kernel = self._kernel
        ident = f"kernel.{kernel.ident}.{msg_type}".encode()
        kernel.session.send(kernel.iopub_socket, msg_type, content, parent=self._parent, ident=ident)
