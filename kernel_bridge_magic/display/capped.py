"""A notebook that a browser can still open: `CappedSink` shows head and tail of what is too much."""

from __future__ import annotations

from typing import Any

from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.errors import FateError, RemoteError
from kernel_bridge_magic.overflow import Overflow, Shelf
from kernel_bridge_magic.protocol.tails import MAX_OUTPUT, Tail, size_of, spoken
from kernel_bridge_magic.results import RemoteValue

__all__ = ["CappedSink"]

_bundles = Shelf()  # of all cells: a later one may update an earlier one's display


class CappedSink(NotebookSink):
    """Shows as `NotebookSink` does, but at most about `limit` bytes of printed text of one cell.

    The first 15/16 are shown as they come. What comes then is held: if it fits, it is shown when the cell ends, or
    before anything that is no text. If not, all text goes into a file, and the end of it is shown when the cell ends.
    A bundle above the limit goes into such a file, too, one for each display id, and a line says so. What is no text
    is shown at once.
    """

    def __init__(self, shell: Any, limit: int = MAX_OUTPUT) -> None:
        super().__init__(shell)
        self._limit = limit
        self._start()

    def _start(self) -> None:
        self._head: list[str] = []
        self._shown = 0
        self._tail = Tail(self._limit // 16)
        self._overflow: Overflow | None = None

    def stream(self, name: str, text: str) -> None:
        """Write to `sys.stdout` or `sys.stderr`, or hold it."""
        room = self._limit - self._limit // 16 - self._shown
        if room > 0 and not self._tail.kept:
            # A character is at most 4 bytes, and most are one: nothing is encoded that cannot be too much.
            fits = text if len(text) <= room else text[:room]
            self._shown += size_of(fits)
            self._head.append(fits)
            super().stream(name, fits)
            text = text[len(fits) :]
        if text:
            self._hold(name, text)

    def _hold(self, name: str, text: str) -> None:
        if self._overflow is None and self._tail.kept + len(text) > self._limit // 16:
            held = self._tail.take()
            self._overflow = Overflow()
            for piece in (*self._head, *(piece for _, piece in held)):
                self._overflow.write(piece)
            self._head.clear()
            for known, piece in held:
                self._tail.add(known, piece)
            self.note(f"too much for a notebook: its end is shown when the cell is over; the text {self._where()}")
        if self._overflow is not None:
            self._overflow.write(text)
        self._tail.add(name, text)

    def _where(self) -> str:
        assert self._overflow is not None
        path, problem = self._overflow.path, self._overflow.problem
        if not problem:
            return f"is in {path} until this kernel ends"
        return f"is in part in {path} ({problem})" if path else f"is not kept ({problem})"

    def _release(self) -> None:
        """Show what is held, and before it how much is not shown."""
        tail, overflow = self._tail, self._overflow
        held = tail.take()
        if tail.left_out and overflow is not None:
            what = "the text" if overflow.problem else "all of it"
            super().stream(
                "stderr", f"\n... {spoken(tail.lines, tail.left_out)} left out here; {what} {self._where()}\n"
            )
            tail.left_out = tail.lines = 0
        for name, text in held:
            super().stream(name, text)
            if overflow is None:
                self._head.append(text)

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Publish a MIME bundle, or say where a too large one is."""
        if self._overflow is None:
            self._release()
        super().display(self._small(data, display_id), metadata, display_id, update)

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        """Show a true result."""
        if self._overflow is None:
            self._release()
        super().result(value, display_id)

    def error(self, error: RemoteError | FateError) -> None:
        """Show a traceback."""
        if self._overflow is None:
            self._release()
        super().error(error)

    def clear(self, wait: bool) -> None:
        """Clear this cell's output, and begin anew."""
        self._release()
        super().clear(wait)
        if self._overflow is not None:
            self._overflow.remove()
        self._start()

    def ask(self, prompt: str, password: bool) -> str:
        """Ask below all that was printed."""
        self._release()
        return super().ask(prompt, password)

    def finish(self) -> None:
        """Show how it ended: nothing more comes."""
        self._release()
        if self._overflow is not None:
            self._overflow.close()
        super().finish()

    def note(self, text: str) -> None:
        """Write one line of ours at once."""
        super().stream("stderr", f"kernel-bridge: {text}\n")

    def _small(self, data: dict[str, Any], display_id: str) -> dict[str, Any]:
        large = {mime: str(value) for mime, value in data.items() if len(str(value)) > self._limit}
        if not large:
            return data
        overflow = _bundles.put(display_id, large.values())
        size = sum(map(len, large.values())) / 1e6
        kept = f"it is in {overflow.path} until this kernel ends; of such files the newest {_most_kept()} are kept"
        where = f"not kept: {overflow.problem}" if overflow.problem else kept
        line = f"<{', '.join(large)}: {size:,.1f} MB, too large to show; {where}>"
        return {**{mime: value for mime, value in data.items() if mime not in large}, "text/plain": line}


def _most_kept() -> str:
    return f"{_bundles.most / 2**30:g} GiB"
