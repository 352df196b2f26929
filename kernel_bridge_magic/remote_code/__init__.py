"""What we run in the other kernel: plain source in `there/`, which this package never imports itself. Pure.

It is written for every Python from 3.8 on. It runs in names of its own, so that none of them reaches the owner's, and
asks for none of theirs: over there `get_ipython` may be somebody's variable.
"""

from __future__ import annotations

import functools
from importlib import resources

__all__ = ["SHELL", "call", "source"]


#: The shell over there, in an expression.
SHELL = "__import__('IPython').get_ipython()"


@functools.cache
def source(name: str) -> str:
    """Return the text of one file."""
    return resources.files(__name__).joinpath("there", f"{name}.py").read_text("utf-8")


def call(what: str, *names: str) -> str:
    """Build an expression that runs the files `names` as one, in this order, and has the value of `what` after that."""
    text = "".join(source(name) for name in names)
    return f"(lambda b, n: b.exec({text!r}, n) or b.eval({what!r}, n))(__import__('builtins'), {{}})"
