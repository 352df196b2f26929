"""How a kernel numbers its messages, and whose words a message has: the kernel's, or its server's. Pure.

An ipykernel's `msg_id` is `<session>_<pid>_<number>`, with one counter for IOPub, shell and control.
"""

from __future__ import annotations

from kernel_bridge_magic.protocol.messages import Message

_MOST_DIGITS = 18  # of a number; Python refuses to read 4300, and no kernel counts so far
#: What no kernel makes while nobody hears it: eight minutes of the fastest flood that was seen.
MOST_AHEAD = 10_000_000


class Numbering:
    """Which messages the kernel's own process has numbered.

    A server's words in the kernel's place have numbers of their own, and what a child prints that the kernel forked
    has its session, and numbers of the child's. A number too far ahead of all that came is not believed.
    """

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        #: the kernel's `session`, and the name of its counter; "" before they are known
        self.session = self.life = ""
        #: our requests whose cells have children that printed
        self.forked: set[str] = set()
        #: whether a number of this life was not believed
        self.doubted = False
        self._highest = -1

    def number(self, message: Message) -> int | None:
        """Return the number of a message; None where it has none of the kernel's."""
        name, number = numbered(message)
        if not name or is_from_server(message, self._client_id):
            return None
        # Only the kernel itself speaks of its state, and answers.
        speaks = message.channel != "iopub" or bool(message.execution_state)
        if message.sender != self.session or (name != self.life and speaks):
            self.session, self.life = message.sender, name
            self.forked.clear()
            self.doubted, self._highest = False, -1
        elif name != self.life:
            self.forked.add(message.parent_id)
            return None
        if number > self._highest + MOST_AHEAD and self._highest >= 0:
            self.doubted = True
            return None
        self._highest = max(self._highest, number)
        return number


def numbered(message: Message) -> tuple[str, int]:
    """Return the name and value of the counter that a message's id is; "" and 0 where it is none."""
    sender = message.sender
    name, _, digits = message.msg_id.rpartition("_")
    session, _, pid = name.rpartition("_")
    number = read_number(digits)
    if not sender or session != sender or not pid.isdecimal() or number is None:
        return "", 0
    return name, number


def read_number(digits: str) -> int | None:
    """Return the number that `digits` write; None where they are no number that a kernel counts to."""
    return int(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else None


def is_rate_limit(text: str) -> bool:
    """Return whether a stream's text is the server's word that it drops output (FACTS.md#limits)."""
    return text.lstrip().startswith(("IOPub data rate exceeded", "IOPub message rate exceeded"))


def is_from_server(message: Message, client_id: str) -> bool:
    """Return whether the server made this message, not the kernel.

    It then bears our own session id; behind a gateway it bears the gateway's, and only the text tells.
    """
    if message.sender == client_id:
        return True
    return message.msg_type == "stream" and is_rate_limit(str(message.content.get("text", "")))
