"""Output in a notebook: IPython's own publishers, inside an ipykernel.

The streams are looked up at each message: `%%capture` and `redirect_stdout` swap them while a cell runs.
"""

from __future__ import annotations

import getpass
import sys
from typing import Any

from kernel_bridge_magic.errors import FateError, RemoteError
from kernel_bridge_magic.results import RemoteValue

__all__ = ["NotebookSink"]


class NotebookSink:
    """Shows through an ipykernel's IPython shell."""

    #: a terminal's pictures move only when flushed; a notebook's messages would each become a message here
    flush_always = False

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._last_stream = ""

    @property
    def can_ask(self) -> bool:
        """Whether this front end can ask for input: nbclient and papermill cannot."""
        return bool(getattr(self._shell.kernel, "_allow_stdin", False))

    def stream(self, name: str, text: str) -> None:
        """Write to `sys.stdout` or `sys.stderr`, keeping the order between them."""
        if name != self._last_stream:
            # Each is buffered on its own: what came before on the other one must be out first.
            (sys.stdout if name == "stderr" else sys.stderr).flush()
            self._last_stream = name
        target = sys.stderr if name == "stderr" else sys.stdout
        target.write(text)
        if self.flush_always:
            target.flush()

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Publish a MIME bundle, or an update of one."""
        transient = {"display_id": display_id} if display_id else {}
        self._shell.display_pub.publish(data=data, metadata=metadata, transient=transient, update=update)

    def clear(self, wait: bool) -> None:
        """Clear this cell's output."""
        self._shell.display_pub.clear_output(wait=wait)

    def result(self, value: RemoteValue) -> None:
        """Show a true result: `Out[n]`, `_` and the local count."""
        sys.displayhook(value)

    def error(self, error: RemoteError | FateError) -> None:
        """Show a traceback as the shell shows its own."""
        self._shell._showtraceback(type(error), error, error._render_traceback_())

    def note(self, text: str) -> None:
        """Write one line of ours to `sys.stderr`."""
        self.stream("stderr", f"kernel-bridge: {text}\n")

    def ask(self, prompt: str, password: bool) -> str:
        """Ask with `input` or `getpass`, which an ipykernel sends to its front end."""
        return getpass.getpass(prompt) if password else input(prompt)
