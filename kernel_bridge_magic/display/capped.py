"""Keep a notebook small enough for a browser: `CappedSink` shows the head and the tail of too much output."""

from __future__ import annotations

import functools
import io
import sys
import threading
import time
from collections import OrderedDict
from typing import Any

from kernel_bridge_magic.display.group_sink import InBlocks
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.display.overflow import Overflow, Shelf
from kernel_bridge_magic.display.throttle import Allowance
from kernel_bridge_magic.errors import CellError
from kernel_bridge_magic.protocol.tails import MAX_KEPT, MAX_OUTPUT, Tail, beginning, size_of, spoken
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.text import count

_counts = threading.Lock()  # an allowance is shared by all that one cell of the notebook shows, from any thread
_bundles = Shelf()  # of all cells: a later one may update an earlier one's display
_PATIENCE_SECONDS = 3.0  # for how long a cell is held up in all, so that the server drops nothing of it
_FLUSHED = 1 << 16  # bytes
_MOST_PUT_OFF = 100  # displays; the newest
_MOST_CHANGES = 200  # between stdout and stderr in what is shown at the end: each is a message of its own


class CappedSink(NotebookSink):
    """Show as `NotebookSink` does, but at most about `limit` bytes of printed text of one cell.

    The first 15/16 are shown as they come. The rest is held. If it fits, it is shown when the cell ends, or before
    anything that is no text. If not, all text goes into a file, and its end is shown when the cell ends. A bundle of
    more than `largest` characters goes into a file, too, one for each display id, and a line says so. Other output is
    shown at once.

    Output that the notebook's server would not let through now (`allowance`) waits, for three seconds of one cell at
    most. Text that would wait for longer is held like text above the limit. Of displays the newest are shown when the
    cell ends, and the others are counted.
    """

    def __init__(
        self,
        shell: Any,
        limit: int = MAX_OUTPUT,
        *,
        largest: int = MAX_KEPT,
        allowance: Allowance | None = None,
        in_blocks: InBlocks | None = None,
    ) -> None:
        super().__init__(shell, in_blocks)
        self._limit = limit
        self._largest = largest
        self._allowance = allowance or Allowance(max(limit, MAX_OUTPUT))
        self._patience = _PATIENCE_SECONDS
        self._start()

    def _start(self) -> None:
        self._head: list[str] = []
        self._shown = 0
        self._holds = False
        self._tail = Tail(self._limit // 16, size_of, change=self._limit // 16 // _MOST_CHANGES)
        self._overflow: Overflow | None = None
        self._put_off: OrderedDict[object, functools.partial[None]] = OrderedDict()  # the newest last
        self._left_out = 0

    def stream(self, name: str, text: str) -> None:
        """Write to `sys.stdout` or `sys.stderr`, or hold it."""
        if isinstance(sys.stderr if name == "stderr" else sys.stdout, io.StringIO):
            super().stream(name, text)  # captured, as by `%%capture`: no server is in between
            return
        if not self._holds:
            fits = beginning(text, self._limit - self._limit // 16 - self._shown)
            self._holds = len(fits) < len(text)  # what comes behind must wait as well
            if fits or not text:
                size = size_of(fits)
                if self._may_send(size):
                    self._shown += size
                    self._head.append(fits)
                    super().stream(name, fits)
                    if size > _FLUSHED:
                        self.flush()  # else an ipykernel keeps it for a while, and the allowance counts too early
                    text = text[len(fits) :]
                else:
                    self._holds = True
        if text:
            self._hold(name, text)

    def _may_send(self, size: int = 0, *, ends: bool = False) -> bool:
        """Return whether a message with `size` bytes of text may be sent; wait for that, while there is patience."""
        while True:
            with _counts:
                wait = self._allowance.take(size, now := time.monotonic(), ends=ends)
            if not wait:
                return True
            if wait - now > self._patience:
                return False
            time.sleep(wait - now)
            self._patience -= wait - now

    def _hold(self, name: str, text: str) -> None:
        kept = self._tail.kept + size_of(text)
        if self._overflow is None and (kept > self._limit // 16 or self._shown + kept > self._limit):
            held = self._tail.take()
            self._overflow = Overflow()
            for piece in (*self._head, *(piece for _, piece in held)):
                self._overflow.write(piece)
            self._head.clear()
            for known, piece in held:
                self._tail.add(known, piece)
            all_of_it = self._where() or f"all of it is in {self._overflow.path} until this kernel ends"
            self.note(f"too much output for a notebook: the end will be shown when the cell finishes; {all_of_it}")
        if self._overflow is not None:
            self._overflow.write(text)
        self._tail.add(name, text)

    def _where(self) -> str:
        """Return what became of the text if not all of it could be kept, else ""."""
        assert self._overflow is not None
        path, problem = self._overflow.path, self._overflow.problem
        if not problem:
            return ""
        return f"only a part of it is in {path} ({problem})" if path else f"it could not be kept in a file ({problem})"

    def _release(self) -> None:
        """Show how much is left out, and then what is held."""
        tail, overflow = self._tail, self._overflow
        held = tail.take()
        if tail.left_out and overflow is not None:
            all_of_it = self._where() or f"full output: {overflow.path}"
            super().stream("stderr", f"\n… {spoken(tail.lines, tail.left_out)} omitted; {all_of_it}\n")
            tail.left_out = tail.lines = 0
        for name, text in held:
            size = size_of(text)
            self._may_send(size, ends=True)
            super().stream(name, text)
            if overflow is None:
                self._shown += size
                self._head.append(text)
        self._holds = overflow is not None

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Publish a MIME bundle; if it is too large, say in which file it is."""
        if self._overflow is None:
            self._release()
        data = self._small(data, display_id)
        key: object = display_id or object()
        before = self._put_off.pop(key, None)
        if before is not None and update:
            update = before.keywords["update"]  # whether it is known to the front end
        elif before is not None:
            self._left_out += 1
        show = super().display
        self._show_soon(key, functools.partial(show, data, metadata, display_id, update=update))

    def display_now(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Publish a MIME bundle that must not be dropped, and before it all that was put off."""
        before = self._put_off.pop(display_id, None) if display_id else None
        if before is not None and update:
            update = before.keywords["update"]  # whether it is known to the front end
        self._release_all()
        self._may_send(ends=True)
        super().display(self._small(data, display_id), metadata, display_id, update)

    def _show_soon(self, key: object, show: functools.partial[None]) -> None:
        """Show a display, and before it those that were put off; or put it off, too."""
        self._put_off[key] = show
        while self._put_off and self._may_send():
            self._put_off.popitem(last=False)[1]()
        while len(self._put_off) > _MOST_PUT_OFF:
            self._put_off.popitem(last=False)
            self._left_out += 1

    def _release_all(self) -> None:
        """Show all that waits: something comes next that cannot wait."""
        if self._overflow is None:
            self._release()
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            self.note(f"{count(left_out, 'display')} omitted: they came faster than this notebook's server takes them")
        while self._put_off:
            self._may_send(ends=True)
            self._put_off.popitem(last=False)[1]()

    def result(self, value: RemoteValue, display_id: str = "") -> None:
        self._release_all()
        self._may_send(ends=True)
        super().result(value, display_id)

    def error(self, error: CellError) -> None:
        self._release_all()
        self._may_send(ends=True)
        super().error(error)

    def clear(self, wait: bool) -> None:
        """Clear this cell's output, and begin anew."""
        if self._patience > 0:
            self._release()
        if self._overflow is not None:
            self._overflow.remove()
        self._start()
        self._show_soon("", functools.partial(super().clear, wait))

    def ask(self, prompt: str, password: bool) -> str:
        self._release()
        self._release_all()
        return super().ask(prompt, password)

    def finish(self) -> None:
        self._release_all()
        self._release()
        if self._overflow is not None:
            self._overflow.close()
        super().finish()

    def _small(self, data: dict[str, Any], display_id: str) -> dict[str, Any]:
        large = {mime: str(value) for mime, value in data.items() if len(str(value)) > self._largest}
        if not large:
            return data
        overflow = _bundles.put(display_id, large.values())
        size = sum(map(len, large.values())) / 1e6
        newest = f"of such files the newest {_bundles.most / 2**30:g} GiB are kept"
        kept = f"in {overflow.path} until this kernel ends ({newest})"
        where = f"not kept in a file ({overflow.problem})" if overflow.problem else kept
        line = f"<{', '.join(large)} of {size:,.1f} MB is too large to show; it is {where}>"
        return {**{mime: value for mime, value in data.items() if mime not in large}, "text/plain": line}
