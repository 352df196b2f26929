"""A front end that keeps what is shown late, each with the message that it belongs to."""

from __future__ import annotations

from kernel_bridge_magic.display.plain import PlainSink
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import Parent


class LateNotes:
    """As `widgets.Front`; `notes` are pairs of the parent's `msg_id` and the line."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []
        self.text = ""
        self.parents: set[str] = set()

    def late(self, parent: Parent, kernel: Kernel, *, together: bool = False) -> PlainSink:
        return _Kept(self, parent["header"]["msg_id"] if parent else "")

    def comm_proxies(self, forward: object) -> None:
        return None


class _Kept(PlainSink):
    def __init__(self, front: LateNotes, parent: str) -> None:
        super().__init__()
        self._front, self._parent = front, parent

    def stream(self, name: str, text: str) -> None:
        self._front.text += text
        self._front.parents.add(self._parent)

    def note(self, text: str) -> None:
        self._front.notes.append((self._parent, text))
