"""Selectors: for each kernel the shortest MATCH that means it alone, safe to paste into a notebook or a shell. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kernel_bridge_magic.errors import BadInput
from kernel_bridge_magic.matching.levels import Named, clean, match_named
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.text import visible

# Double quotes do not make these plain, in a magic's line or in a shell.
_NEVER = frozenset('"\\$`!')
# These need quotes: at the head of a word (a comment, a user's home, zsh's `=command`), or anywhere.
_QUOTE = re.compile(r"[#%~=@]|.*[ '()\[\]{}?;|&<>*^~#]", re.DOTALL)


def selector(kernel: Kernel, kernels: Sequence[Kernel]) -> str:
    """Return the shortest readable MATCH that means `kernel` and no other of `kernels`, ready to be pasted.

    It is a path, `SERVER::path`, the beginning of the id, or the whole id. For what a sandboxed server lists under an
    id of yours it is `SERVER::id`.
    """
    return selector_among(kernel, [Named.of(other) for other in kernels])


def selector_among(kernel: Kernel, named: Sequence[Named]) -> str:
    """Return what `selector` does, for kernels whose names are collected already."""
    if kernel.claimed and kernel.server is not None:  # nothing else means it
        name = kernel.server.name
        return quoted(f"{name if pastes(name) else kernel.server.url}::{kernel.id}")
    for text in _spellings(kernel):
        try:
            _, found = match_named(clean(text), named, None)
        except BadInput:  # a path that reads as something else, such as `re:[`
            continue
        if [other.id for other in found] == [kernel.id]:
            return text
    return kernel.id


def _spellings(kernel: Kernel) -> Iterator[str]:
    if kernel.outside and pastes(kernel.connection_file):
        yield quoted(kernel.connection_file)
    paths = [path for path in kernel.paths if pastes(path)]
    yield from map(quoted, paths)
    server = kernel.server.name if kernel.server and pastes(kernel.server.name) else ""
    if server:
        yield from (quoted(f"{server}::{path}") for path in paths)
    yield kernel.short_id  # as the table shows it; a shorter one may be ambiguous with the next kernel
    yield kernel.id[:13]
    # Another kernel may have the same id, where ids are chosen and not random.
    yield kernel.id
    if server:
        yield quoted(f"{server}::{kernel.id}")
    if pastes(kernel.started_by):
        yield quoted(kernel.started_by)


def pastes(text: str) -> bool:
    """Return whether a text means itself when it is pasted behind `%%remote` or in a shell, in quotes if need be."""
    if not text or text != text.strip() or text != visible(text) or _NEVER & set(text):
        return False
    # Copying turns other blanks (NBSP) into plain ones. Of two pairs of quotes both would be stripped.
    blanks = any(char.isspace() and char != " " for char in text)
    return not blanks and not text.startswith(("-", "re:")) and (text[0] + text[-1]) != "''"


def quoted(text: str) -> str:
    """Return a text that `pastes`, in quotes where it needs them."""
    return f'"{text}"' if _QUOTE.match(text) else text
