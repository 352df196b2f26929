"""How a WebSocket ended, and what a server's close frame says of it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from kernel_bridge_magic.text import cut_end, visible

_LONGEST_REASON = 120  # characters of a server's reason for closing
_TOO_BIG = 1009  # the close code for a message that is too large


class End(NamedTuple):
    """How a connection ended: in words, and the code of its close frame, 0 for none.

    `silent` is for how many seconds nothing had come: what is missing may be missing since then. `unheld` is how many
    messages were lost with it because no memory was left for them.
    """

    reason: str
    code: int = 0
    silent: float = 0.0
    unheld: int = 0
    #: whether coming back would only meet the same
    final: bool = False

    @property
    def unwanted(self) -> bool:
        """Whether the server said that it does not want us (F27)."""
        return self.code == 1008 or self.code >= 4000


def read_close(data: bytes, largest: int = 0) -> End:
    """Return what a close frame says. Its reason is a server's, and only shown where the code says nothing by itself.

    `largest` is the size in bytes of the largest message that we have sent.
    """
    code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 0
    if code in (0, 1000, 1001, 1005, 1006):
        return End("the server closed the connection", code)
    if code == _TOO_BIG:
        size = f"{largest / 1e6:.1f} MB"
        return End(
            f"{size} is too large for the server in one message ({code}); send less, or use ZMQ", code, final=True
        )
    said = cut_end(visible(data[2:].decode("utf-8", "replace")), _LONGEST_REASON)
    return End(f"the server closed the connection: {code}{' ' if said else ''}{said}", code)
