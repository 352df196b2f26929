"""`Heart`: what is said of a kernel whose heartbeat, or whose Python, does not answer (R5). Pure."""

from __future__ import annotations

from kernel_bridge_magic.protocol.events import Note

MISSED_BEATS = 2  # one may be missed by a machine that swaps for a moment


class Heart:
    """The questions that a kernel did not answer. Each note is returned once, and again after an answer."""

    def __init__(self) -> None:
        self._missed_beats = 0
        self._missed_greetings = 0
        self._told_stopped = False
        self._told_native = False

    def receive(self, beats: bool | None, greets: bool | None = None) -> None:
        """Record whether it beats, None where nobody can ask, and whether its Python runs, None where not known."""
        self._missed_greetings = self._missed_greetings + 1 if beats and greets is False else 0
        self._told_native = self._told_native and not greets
        self._missed_beats = self._missed_beats + 1 if beats is False else 0
        self._told_stopped = self._told_stopped and not beats

    def note(self) -> Note | None:
        """Return what is to be said now."""
        if self._missed_beats >= MISSED_BEATS and not self._told_stopped:
            self._told_stopped = True
            return Note("it does not answer (suspended or swapping?); still waiting")
        if self._missed_greetings >= MISSED_BEATS and not self._told_native:
            self._told_native = True
            return Note("its process lives, but its Python does not answer (busy in native code?); still waiting")
        return None
