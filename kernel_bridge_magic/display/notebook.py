"""Show output in a notebook by IPython's own publishers, inside an ipykernel.

The streams are looked up at each message: `%%capture` and `redirect_stdout` swap them while a cell runs.
"""

from __future__ import annotations

import getpass
import sys
import uuid
from typing import Any

from kernel_bridge_magic.display.bottom import write_text
from kernel_bridge_magic.display.group_sink import InBlocks
from kernel_bridge_magic.display.heading import Heading
from kernel_bridge_magic.display.hooks import Captured, outside
from kernel_bridge_magic.display.neutral import IN_PLACE, LATE, bundle, metadata
from kernel_bridge_magic.errors import CellError
from kernel_bridge_magic.results import RemoteValue


class NotebookSink:
    """Show output through an ipykernel's IPython shell."""

    #: A terminal's pictures move only when flushed. In a notebook each flush would become a message of its own.
    flush_always = False
    stop = "Stop"
    names_kernel = False

    def __init__(self, shell: Any, in_blocks: InBlocks | None = None) -> None:
        self._shell = shell
        self._in_blocks = in_blocks or InBlocks()
        self._last_stream = ""
        self._drawn: frozenset[str] = frozenset()
        self._cell = uuid.uuid4().hex[:8]  # two cells' lines are two
        self._informed: set[str] = set()
        self._captured = Captured(shell)

    @property
    def can_ask(self) -> bool:
        """Whether this front end can ask for input: nbclient and papermill cannot."""
        return bool(getattr(self._shell.kernel, "_allow_stdin", False))

    def stream(self, name: str, text: str) -> None:
        """Write to `sys.stdout` or `sys.stderr`, keeping the order between them."""
        self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        if name != self._last_stream:
            # Each is buffered on its own: what came before on the other one must be out first.
            (sys.stdout if name == "stderr" else sys.stderr).flush()
            self._last_stream = name
        target = sys.stderr if name == "stderr" else sys.stdout
        write_text(target, text)
        if self.flush_always:
            target.flush()

    def flush(self) -> None:
        if self._last_stream:
            sys.stdout.flush()
            sys.stderr.flush()

    def draw(self, key: str, text: str) -> None:
        shown, self._drawn = key in self._drawn, self._drawn | {key}
        self.display({"text/plain": text}, {}, f"kernel-bridge:{key}", shown)

    def finish(self) -> None:
        """Do nothing at the end of the cell: nothing is left to be shown."""

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        self._publish(data, metadata, display_id, self._in_blocks.can_update(display_id) and update)

    def display_now(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Show a MIME bundle that must not be put off or dropped."""
        self.display(data, metadata, display_id, update)

    def _publish(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        transient = {"display_id": display_id} if display_id else {}
        self._shell.display_pub.publish(data=data, metadata=metadata, transient=transient, update=update)

    def clear(self, wait: bool) -> None:
        self._informed.clear()
        self._shell.display_pub.clear_output(wait=wait)

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        """Show a result as the shell shows its own: `Out[n]`, `_` and the local count."""
        hook: Any = sys.displayhook
        if not display_id or not hasattr(hook, "finish_displayhook"):
            hook(value)
            return
        finish = hook.finish_displayhook

        def finish_with_id() -> None:
            # What an ipykernel sends; IPython knows no result that is updated, front ends do.
            if isinstance(message := getattr(hook, "msg", None), dict):
                message["content"]["transient"] = {"display_id": display_id}
            finish()

        hook.finish_displayhook = finish_with_id
        try:
            hook(value)
        finally:
            del hook.finish_displayhook

    def begin_line(self) -> None:
        """Do nothing: a front end ends each output by itself."""

    def error(self, error: CellError) -> None:
        """Show a traceback as the shell shows its own."""
        self.flush()
        try:
            raise error  # a traceback handler that replaces the shell's, such as rich's, asks what was raised
        except type(error):
            self._shell._showtraceback(type(error), error, error._render_traceback_())

    def note(self, text: str) -> None:
        """Write one line of ours to `sys.stderr`; if that is captured, once more when the cell is over."""
        self._write("stderr", line := f"kernel-bridge: {text}\n")
        self._captured.told(line)

    def inform(self, kind: str, text: str) -> None:
        """Show a neutral line of ours as a small grey display, in place of the last one of its kind."""
        update = kind in self._informed
        if not text and not update:
            return
        if kind not in IN_PLACE:
            self._publish(bundle(text, kind), metadata(kind), "", False)
            return
        self._informed = (self._informed | {kind}) if text else (self._informed - {kind})
        with outside(self._shell):
            self._publish(bundle(text, kind), metadata(kind), f"kernel-bridge:{self._cell}:{kind}", update)

    def ask(self, prompt: str, password: bool) -> str:
        """Ask with `input` or `getpass`, which an ipykernel sends to its front end."""
        return getpass.getpass(prompt) if password else input(prompt)


class LateSink:
    """Show output that comes when its cell is over in the ipykernel `kernel`, under `parent`, its front end's message.

    IPython's own publishers would put it under whatever cell runs now, and `sys.stdout` may be replaced by another
    cell's `%%capture`. Safe to use from any thread.
    """

    can_ask = False
    stop = "Stop"
    names_kernel = False

    def __init__(self, kernel: Any, parent: dict[str, Any], in_blocks: InBlocks | None = None) -> None:
        self._kernel = kernel
        self._parent = parent
        self._in_blocks = in_blocks or InBlocks()

    def stream(self, name: str, text: str) -> None:
        self._send("stream", {"name": name, "text": text})

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        transient = {"display_id": display_id} if display_id else {}
        known = self._in_blocks.can_update(display_id) and update
        kind = "update_display_data" if known else "display_data"
        self._send(kind, {"data": data, "metadata": metadata, "transient": transient})

    def clear(self, wait: bool) -> None:
        self._send("clear_output", {"wait": wait})

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        """Show a result; its cell is over, so it has no number."""
        self.display(value.data, value.metadata, display_id, False)

    def begin_line(self) -> None:
        """Do nothing: a front end ends each output by itself."""

    def error(self, error: CellError) -> None:
        """Show an error; the cell it belongs to ended before it."""
        name, lines = type(error).__name__, list(error._render_traceback_())
        self._send("error", {"ename": name, "evalue": str(error), "traceback": lines})

    def note(self, text: str) -> None:
        self.stream("stderr", f"kernel-bridge: {text}\n")

    def inform(self, kind: str, text: str) -> None:
        if text:
            self.display(bundle(text, kind), metadata(kind), "", False)

    def ask(self, prompt: str, password: bool) -> str:
        """Refuse: nobody sits before a cell that is over."""
        raise EOFError

    def _send(self, msg_type: str, content: dict[str, Any]) -> None:
        kernel = self._kernel
        ident = f"kernel.{kernel.ident}.{msg_type}".encode()
        kernel.session.send(kernel.iopub_socket, msg_type, content, parent=self._parent, ident=ident)


class NamedLateSink(LateSink):
    """Show what one of several kernels that share a cell shows after it, below a `line` that names the kernel.

    That line comes again if another of them has shown something in between; all their sinks share `heading`. Nothing
    clears the cell, since that would take away what the others have shown.
    """

    def __init__(self, kernel: Any, parent: dict[str, Any], in_blocks: InBlocks, heading: Heading, line: str) -> None:
        super().__init__(kernel, parent, in_blocks)
        self._heading = heading
        self._line = line

    def clear(self, wait: bool) -> None:
        """Do nothing: the others' output would go, too."""

    def _send(self, msg_type: str, content: dict[str, Any]) -> None:
        cell = self._parent.get("header", {}).get("msg_id")
        with self._heading.lock:
            if msg_type != "update_display_data" and self._heading.below != (self._line, cell):
                self._heading.below = self._line, cell
                self._heading.cells.add(cell)
                super()._send("display_data", {"data": bundle(self._line), "metadata": metadata(LATE), "transient": {}})
            super()._send(msg_type, content)
