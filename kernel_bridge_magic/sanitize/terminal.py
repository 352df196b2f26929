"""Let a kernel that is not yours send a terminal colours and progress bars, and nothing else. Pure.

A terminal obeys what it is sent: it can be made to retitle its window, to write to the clipboard, to report what was
typed, to load fonts. Of all sequences these pass: colours (SGR), the cursor's moves by lines and columns (CSI A to D),
erasing in a line or on the screen (CSI K, J), and the plain controls newline, return, tab and backspace. All others are
written out as `^[` and `^G`, so that they can be read and do nothing (T22, and what Git 3 and kubectl do).
"""

from __future__ import annotations

import re

from kernel_bridge_magic.protocol.outputs import Whole

_PASS = r"\x1b\[(?:[0-9;:]{0,60}m|[0-9]{0,4}[A-D]|[0-2]?[JK])"  # not CSI 3 J: it takes the scrollback away
_CONTROL = "[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # all of C0, DEL and C1 but the four that pass
_SURROGATE = "[\ud800-\udfff]"  # no terminal can be sent half of a pair
_TOKEN = re.compile(f"{_PASS}|{_CONTROL}|{_SURROGATE}")
# The beginning of something that may yet turn out to pass.
_OPEN = re.compile(r"\x1b(?:\[[0-9;:]{0,60})?\Z")


# What moves no cursor: colours and other CSI, the words of OSC and DCS, charsets; at the end also the half of one.
_NO_TEXT = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*(?:[@-~]|\Z)|[\]P^_X][^\x07\x1b]*(?:\x07|\Z)?|[ -/]*(?:[0-~]|\Z))|[\x0e\x0f]"
)
_ACTS = re.compile("[\x0e\x1b\x80-\x9f]")
# Cancel what is half sent, end a string that swallows all that follows; the letters of ASCII; no colours, no conceal.
_RESET = "\x18\x1b\\\x0f\x1b(B\x1b[0m"
_LONGEST_TAIL = 4096


def spell_out(text: str) -> str:
    """Return a whole text with all sequences written out but those that pass."""
    return _TOKEN.sub(_spell, text)


class Escapes:
    """Do as `spell_out` for a text that comes in pieces: a sequence may be cut anywhere.

    The beginning of a sequence that may pass is held back until the next piece, or the end.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what can be shown now of the text so far."""
        text = self._held + text
        found = _OPEN.search(text, max(0, len(text) - 70))
        self._held = found[0] if found else ""
        return spell_out(text[: found.start()] if found else text)

    def end(self) -> str:
        """Return what was held back; nothing more comes."""
        held, self._held = self._held, ""
        return spell_out(held)


class Spelt:
    """Write a text that comes in pieces with its escapes spelt out, into a file that is safe to show in a terminal."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole
        self._escapes = Escapes()

    def write(self, text: str) -> None:
        """Put text at the end."""
        self._whole.write(self._escapes.feed(text))

    def restart(self) -> None:
        """Begin anew."""
        self._escapes = Escapes()
        self._whole.restart()


class LeftOpen:
    """Know what a kernel's text has left open in a terminal: colours, a half sent sequence, a line without an end."""

    def __init__(self) -> None:
        self._acted = self._in_line = False
        #: how many texts were written
        self.written = 0

    def feed(self, text: str) -> None:
        """Record text that was written."""
        self.written += bool(text)
        self._acted = self._acted or _ACTS.search(text) is not None
        _, ends, tail = text.rpartition("\n")
        stands = bool(tail[_LONGEST_TAIL:] or _NO_TEXT.sub("", tail))
        self._in_line = stands or (self._in_line and not ends)

    def answered(self) -> None:
        """Record that somebody has typed a line: the cursor stands at the beginning of the next."""
        self.written += 1
        self._in_line = False

    def close(self) -> str:
        """Return what must be written before a line of ours; "" if nothing is open."""
        closing = (_RESET if self._acted else "") + ("\n" if self._in_line else "")
        self._acted = self._in_line = False
        return closing


def _spell(found: re.Match[str]) -> str:
    token = found[0]
    if len(token) > 1:
        return token
    code = ord(token)
    if code >= 0xD800:
        return "\ufffd"
    # C1 is short for ESC and a letter: U+009B is CSI, ESC [.
    return f"^[{chr(code - 0x40)}" if code >= 0x80 else f"^{chr(code ^ 0x40)}"
