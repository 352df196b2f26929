"""The package's source, read and parsed once for all tests of a process that look at it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text("utf-8")


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All nodes of a module, as `ast.walk` yields them."""
    return list(ast.walk(ast.parse(text_of(path))))
