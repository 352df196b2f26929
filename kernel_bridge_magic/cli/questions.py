"""What asks somebody at a terminal."""

from __future__ import annotations

import argparse
import sys

from kernel_bridge_magic.display.bottom import is_terminal
from kernel_bridge_magic.questions import Ask


def asker(options: argparse.Namespace) -> Ask | None:
    """Return what asks somebody at a terminal; None where nobody sits at one, or the command's input is its data."""
    reads = getattr(options, "code_stdin", False) or getattr(options, "file", "") == "-"
    # stderr first: stdout may be a pipe, in which a question is not seen, and is taken for output.
    seen = next(filter(is_terminal, (sys.stderr, sys.stdout)), None)
    if options.json or reads or seen is None or not is_terminal(sys.stdin):
        return None

    def ask(question: str) -> str:
        seen.write(question)
        seen.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    return ask
