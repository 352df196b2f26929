"""Everything that we run in the other kernel: plain source in `there/`, which this package never imports. Pure.

Each module here builds the content of requests from those files, and reads the answers. The source is written for
every Python from 3.8 on. It runs in names of its own, so that none of them reaches the owner's, and asks for none of
theirs: over there `get_ipython` may be somebody's variable. `README.md` lists all that we put there, and for how long.
"""

from __future__ import annotations

import functools
import hashlib
import json
from importlib import resources
from typing import Any


@functools.cache
def source(name: str, suffix: str = ".py") -> str:
    """Return the text of one file of `there/`; `suffix` says in which language it is."""
    return resources.files(__name__).joinpath("there", f"{name}{suffix}").read_text("utf-8")


def call(function: str, *arguments: Any, files: tuple[str, ...]) -> str:
    """Build an expression that runs `files` as one, in this order, and has the value of a function of theirs.

    Arguments reach the other kernel as JSON, in one text of ASCII: never as code.
    """
    return _called("".join(map(source, files)), f"b.eval({function!r}, n)", arguments)


def call_kept(function: str, *arguments: Any, files: tuple[str, ...]) -> str:
    """Build the same expression; the kernel keeps for a minute what it has made of the files (`there/compiled.py`)."""
    return _called(source("compiled"), f"b.eval({function!r}, {_namespace(files)})", arguments)


@functools.cache
def _namespace(files: tuple[str, ...]) -> str:
    text = "".join(map(source, files))
    return f"b.eval('namespace', n)({hashlib.sha256(text.encode()).hexdigest()!r}, {text!r})"


def _called(text: str, function: str, arguments: tuple[Any, ...]) -> str:
    called = f"{function}(*b.__import__('json').loads({json.dumps(arguments)!r}))"
    return f"(lambda b, n: b.exec({text!r}, n) or {called})(__import__('builtins'), {{}})"
