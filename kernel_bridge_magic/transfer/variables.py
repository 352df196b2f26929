"""`Variables`: what is to be copied with a cell. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernel_bridge_magic.choices import check
from kernel_bridge_magic.transfer.put import Outgoing

#: bytes of one copy, unless the user says otherwise
MAX_SIZE = 10**9


@dataclass(frozen=True)
class Variables:
    """The variables that go with a cell.

    `sent` are those that are bound there right before the cell. `wanted` maps names here to names there:
    they are read in the cell's own turn, once it has ended well. `most` is how many bytes each of both may have,
    `pickles` whether what no format knows is pickled (for one's own kernels). `by_file` is whether a kernel of this
    machine may be handed a file in memory; else all goes over the connection. `keeps` is whether somebody can be asked
    about what is too large: then the kernel keeps it, as it was, for a minute. `kept` is the token for it.
    """

    sent: Outgoing | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)
    most: int = MAX_SIZE
    pickles: bool = False
    by_file: bool = True
    keeps: bool = False
    kept: str = ""

    def __post_init__(self) -> None:
        """Check what users give.

        Raises:
            BadOption: it is of a wrong type or value.
        """
        check("pickles", self.pickles, bool, "True or False")
        check("by_file", self.by_file, bool, "True or False")
        check("most", self.most, int, "a number of bytes")

    def __bool__(self) -> bool:
        return bool(self.sent or self.wanted)

    def release(self) -> None:
        """Free what was made of the variables that are sent. It is made anew where it is wanted once more."""
        if self.sent is not None:
            self.sent.release()


def variables_with(sent: Mapping[str, Any], most: int = MAX_SIZE, **options: Any) -> Variables:
    """Build the variables of which these are sent; `options` are those of `Variables`."""
    return Variables(sent=Outgoing(sent, most, pickles=options.get("pickles") is True), most=most, **options)
