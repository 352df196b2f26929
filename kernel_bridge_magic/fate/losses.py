"""`Losses`: what of a cell's output is known to be missing, and what is said of it (R6 of FAULTS 2). Pure."""

from __future__ import annotations

from kernel_bridge_magic.fate.gaps import Gap
from kernel_bridge_magic.protocol.events import Event, Lost, Note

__all__ = ["Losses"]


class Losses:
    """The account of one cell. Each loss is told once."""

    def __init__(self) -> None:
        #: messages known to be missing; None when some are and nobody can tell how many
        self.missing: int | None = 0
        self._by_link = 0
        self._told_uncounted = False

    def uncounted(self, why: str) -> Lost:
        """Take note that some are missing and nobody can tell how many; give what to say."""
        self.missing = None
        return Lost(why)

    def by_link(self, gap: Gap | None, span: tuple[str, str], *, told: int = 0) -> list[Event]:
        """Take what a broken link has lost so far; None where nobody can tell. Give what to say of it, once.

        `span` has the times of day of the first break and of the last return, "" while there is none. `told` of the
        missing ones are told by themselves.
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
        return [self._add(more, f"{'' if gap.exact else 'up to '}{_spoken(more)} {when} ({why})")]

    def no_room(self, count: int, where: str, *, exact: bool = True) -> Lost:
        """Take how many messages did not find room, and where; give what to say of it."""
        return self._add(count, f"{'' if exact else 'up to '}{_spoken(count)} ({where})")

    def _add(self, count: int, words: str) -> Lost:
        if self.missing is not None:
            self.missing += count
        return Lost(words, count)


def _spoken(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'} missing"
