"""A command in a terminal that asks one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pexpect

__all__ = ["answered"]


def answered(
    command: Sequence[str], env: Mapping[str, str], question: str, answer: str, says: str
) -> tuple[int | None, str, str]:
    """Type `answer` when the command asks, wait until it `says` that, and for its end.

    Gives its exit status, what stood before the question, and what came after the words.
    """
    child = pexpect.spawn(command[0], list(command[1:]), env=dict(env), encoding="utf-8", timeout=30)
    child.expect_exact(question)
    before = str(child.before)
    child.sendline(answer)
    child.expect_exact(says)
    child.expect(pexpect.EOF)
    after = str(child.before)
    child.close()
    return child.exitstatus, before, after
