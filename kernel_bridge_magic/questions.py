"""Questions to the user, and whether the answer is yes."""

from __future__ import annotations

from collections.abc import Callable

from kernel_bridge_magic.interrupts import as_usual

#: What shows a question and returns the answer; at the input's end it raises EOFError, as `input` does.
Ask = Callable[[str], str]


def says_yes(ask: Ask, question: str) -> bool:
    """Ask a question, and return whether the answer is `y` or `yes`; no answer is no.

    Raises:
        KeyboardInterrupt: Ctrl-C, at once, also where it is held otherwise.
    """
    with as_usual():
        try:
            answer = ask(question)
        except EOFError:
            return False
    return answer.strip().lower() in ("y", "yes")
