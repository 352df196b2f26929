"""Everything that we run in the other kernel: plain source in `there/`, which this package never imports. Pure.

Each module here builds the content of requests from those files, and reads the answers. The source is written for
every Python from 3.8 on. It runs in names of its own, so that none of them reaches the owner's, and asks for none of
theirs: over there `get_ipython` may be somebody's variable. `README.md` lists all that we put there, and for how long.
"""

from __future__ import annotations

import functools
import json
from importlib import resources


@functools.cache
def source(name: str) -> str:
    """Return the text of one file of `there/`."""
    return resources.files(__name__).joinpath("there", f"{name}.py").read_text("utf-8")


def call(function: str, *arguments: str | int, files: tuple[str, ...]) -> str:
    """Build an expression that runs `files` as one, in this order, and has the value of a function of theirs.

    Arguments reach the other kernel as JSON literals, never as code.
    """
    text = "".join(map(source, files))
    called = f"{function}({', '.join(map(json.dumps, arguments))})"
    return f"(lambda b, n: b.exec({text!r}, n) or b.eval({called!r}, n))(__import__('builtins'), {{}})"
