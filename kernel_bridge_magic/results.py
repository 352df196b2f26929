"""What a cell gave, as values for the user: `RemoteValue`, one result; `RemoteResult`, the whole outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kernel_bridge_magic.errors import Fate, FateError, RemoteError
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import DisplayData

__all__ = ["RemoteResult", "RemoteValue"]


class RemoteValue:
    """The value of a remote expression: its MIME bundle, not the object, which stays in the other kernel.

    `data` maps MIME types to what a front end shows for them, `metadata` is what belongs to it (a picture's
    width). Front ends show it as they would have shown the object; that of a kernel which is not one's own is shown
    as `shown`, in which nothing can act (FAULTS T15).
    """

    def __init__(
        self, data: dict[str, Any], metadata: dict[str, Any] | None = None, *, shown: dict[str, Any] | None = None
    ) -> None:
        self.data = dict(data)
        self.metadata = dict(metadata or {})
        self._shown = self.data if shown is None else dict(shown)

    @property
    def text(self) -> str:
        """Its `text/plain`, "" when it has none."""
        return _plain(self.data)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._shown, self.metadata

    def __repr__(self) -> str:
        return _plain(self._shown) or f"<RemoteValue: {', '.join(self.data) or 'empty'}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteValue):
            return NotImplemented
        return (self.data, self.metadata) == (other.data, other.metadata)

    __hash__ = None  # type: ignore[assignment]  # its dicts can change


def _plain(data: dict[str, Any]) -> str:
    plain = data.get("text/plain", "")
    # nbformat allows a list of lines wherever text stands.
    return "".join(map(str, plain)) if isinstance(plain, list) else str(plain)


@dataclass(frozen=True)
class RemoteResult:
    """A cell's whole outcome.

    `status` is `ok` or `error`; `fate` says more. `outputs` is a list of nbformat 4 output dicts (empty where
    nobody asked to keep them). `value` is the last result, None where there is none. `error` is what
    `raise_for_error` raises. `seconds` is the time from sending to the end; `missing` how many messages are
    known to be lost, None when some are and nobody can tell how many; `interrupted` whether it was interrupted
    from here; `started` whether the kernel had begun with it, None where nobody can tell.
    `output_characters` counts what was printed; `truncated` says that `outputs` have only head and tail of it.
    `updates` has an event for each display of an earlier cell that this one has changed: its newest state.
    """

    status: str
    fate: Fate
    kernel: Kernel
    outputs: list[dict[str, Any]] = field(default_factory=list, repr=False)
    value: RemoteValue | None = None
    error: RemoteError | FateError | None = None
    seconds: float = 0.0
    missing: int | None = 0
    interrupted: bool = False
    updates: tuple[DisplayData, ...] = field(default=(), repr=False)
    started: bool | None = None
    truncated: bool = False
    output_characters: int = 0

    @property
    def text(self) -> str:
        """The text of the value, "" where there is none."""
        return self.value.text if self.value is not None else ""

    def raise_for_error(self) -> None:
        """Raise what the cell ended with, if it did not end well.

        Raises:
            RemoteError: the remote code raised.
            FateError: the cell did not come to its end.
        """
        if self.error is not None:
            raise self.error
