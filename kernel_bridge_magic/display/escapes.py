"""What a kernel that is not one's own may tell a terminal: colours, and what progress bars are made of. Pure.

A terminal obeys what it is sent: it can be made to retitle its window, to write to the clipboard, to report what was
typed, to load fonts. Of all sequences these pass: colours (SGR), the cursor's moves by lines and columns (CSI A to D),
erasing in a line or on the screen (CSI K, J), and the plain controls newline, return, tab and backspace. All others are
spelt out as `^[` and `^G`, so that they can be read and do nothing (FAULTS T22, and what Git 3 and kubectl do).
"""

from __future__ import annotations

import re

__all__ = ["Escapes", "spell_out"]

_PASS = r"\x1b\[(?:[0-9;:]{0,60}m|[0-9]{0,4}[A-D]|[0-2]?[JK])"  # not CSI 3 J: it takes the scrollback away
_CONTROL = "[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # all of C0, DEL and C1 but the four that pass
_SURROGATE = "[\ud800-\udfff]"  # no terminal can be sent half of a pair
_TOKEN = re.compile(f"{_PASS}|{_CONTROL}|{_SURROGATE}")
# The beginning of something that may yet turn out to pass.
_OPEN = re.compile(r"\x1b(?:\[[0-9;:]{0,60})?\Z")


def spell_out(text: str) -> str:
    """Give a whole text with all sequences spelt out but those that pass."""
    return _TOKEN.sub(_spell, text)


class Escapes:
    """The same for a text that comes in pieces: a sequence may be cut anywhere.

    What may still become a sequence that passes is held back until the next piece, or the end.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """Give what can be shown now."""
        text = self._held + text
        found = _OPEN.search(text, max(0, len(text) - 70))
        self._held = found[0] if found else ""
        return spell_out(text[: found.start()] if found else text)

    def end(self) -> str:
        """Give what was held back; nothing more comes."""
        held, self._held = self._held, ""
        return spell_out(held)


def _spell(found: re.Match[str]) -> str:
    token = found[0]
    if len(token) > 1:
        return token
    code = ord(token)
    if code >= 0xD800:
        return "\ufffd"
    # C1 is short for ESC and a letter: U+009B is CSI, ESC [.
    return f"^[{chr(code - 0x40)}" if code >= 0x80 else f"^{chr(code ^ 0x40)}"
