"""`Losses`: what of a cell's output is known to be missing, and all that is said of it (R6). Pure."""

from __future__ import annotations

from kernel_bridge_magic.fate.ledger import Gap
from kernel_bridge_magic.protocol.events import Event, Lost, Note

NO_BUSY = "the kernel's start-of-cell message is missing; some output may be, too"
_NO_IDLE = "the kernel's end-of-cell message is missing; some output may be, too"
_TOO_FAST = "made faster than the kernel can send; --durable loses none"


class Losses:
    """The account of one cell. Each loss is told once."""

    def __init__(self) -> None:
        #: messages known to be missing; None when some are and nobody can tell how many
        self.missing: int | None = 0
        #: why the server has dropped output, "" while it has not said so
        self.limited = ""
        self._by_link = 0
        self._told_uncounted = False

    def limit(self, text: str) -> Note | None:
        """Record the server's word that it drops output; return what to say of it, once."""
        first = not self.limited
        kind = "data" if "data rate" in text.split(".", 1)[0] else "msg"
        self.limited = f"dropped by the server's rate limit; ZMQ has none, or raise iopub_{kind}_rate_limit"
        return Note("the server drops output beyond its rate limit; how much is told at the end") if first else None

    def uncounted(self, why: str) -> Lost:
        """Record that some are missing and nobody can tell how many; return what to say of it."""
        self.missing = None
        return Lost(why)

    def uncountable(self, *, idle_lost: bool) -> list[Event]:
        """Return what to say of a cell's end where no number tells what was dropped. `idle_lost`: its idle was."""
        why = f"some output was {self.limited}" if self.limited else _NO_IDLE if idle_lost else ""
        return [self.uncounted(why)] if why else []

    def by_kernel(self, gap: Gap | None, *, idle_lost: bool) -> list[Event]:
        """Record what never came of a cell that is over, though its link held; return what to say of it.

        `gap` is None where nobody can tell.
        """
        if gap is None or not gap.size:
            return self.uncountable(idle_lost=idle_lost and gap is None)
        if self.missing is None:
            return []  # told already
        return [self.no_room(gap.size, self.limited or _TOO_FAST, exact=gap.exact)]

    def by_link(self, gap: Gap | None, span: tuple[str, str], *, told: int = 0) -> list[Event]:
        """Record what is missing so far of a cell whose link broke; return what to say of it, once.

        `gap` is None where nobody can tell. `span` has the times of day of the first break and of the last return, ""
        while there is none. `told` of the missing ones are told by themselves.
        """
        if gap is None:
            self.missing = None
            if self._told_uncounted:
                return []
            self._told_uncounted = True
            return [Note("whether output was lost with the link cannot be told, as this kernel does not number it")]
        size = gap.size - told
        if size <= self._by_link:
            return []
        more, self._by_link = size - self._by_link, size
        began, ended = span
        when = f"between {began} and {ended}" if ended else f"since {began}"
        why = "link lost" if gap.exact else "link lost; some may be other clients'"
        return [self._add(more, f"{_spoken(more, exact=gap.exact)} {when} ({why})")]

    def no_room(self, count: int, where: str, *, exact: bool = True) -> Lost:
        """Record how many messages did not find room, and where; return what to say of it."""
        return self._add(count, f"{_spoken(count, exact=exact)} ({where})")

    def _add(self, count: int, words: str) -> Lost:
        if self.missing is not None:
            self.missing += count
        return Lost(words, count)


def _spoken(count: int, *, exact: bool) -> str:
    return f"{'' if exact else 'up to '}{count} message{'' if count == 1 else 's'} missing"
