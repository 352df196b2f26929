"""The levels at which a MATCH is understood: every rule of the table in INTERFACE 2 lives in this file. Pure.

The first level that gives any kernel decides (`Level`, in this order). Names are compared in Unicode's NFC, as
one file system writes `é` in one character and another in two; parts of them without case and accents. The kernel that
asks is never given: it would wait for itself. What names it (`NAMING`) means it all the same, and never another kernel
that is called nearly so.
"""

from __future__ import annotations

import enum
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kernel_bridge_magic.access.urls import is_server, servers_named
from kernel_bridge_magic.errors import BadMatch, KernelNotFound, OwnKernel
from kernel_bridge_magic.faces import MAGICS, PYTHON, Face
from kernel_bridge_magic.matching.safe_regex import search_all
from kernel_bridge_magic.models import Kernel, Listing, is_uuid
from kernel_bridge_magic.text import cut_end, fold, hide, visible

__all__ = [
    "MATCHERS",
    "NAMING",
    "Level",
    "Named",
    "candidates",
    "clean",
    "match",
    "match_level",
    "match_named",
    "narrow",
    "only_own",
    "row_of",
    "search",
    "shown",
    "split_server",
    "without_own",
]

_SHORTEST_PREFIX = 4  # characters of an id that can be meant by less than the whole
_ROW = re.compile(r"#(\d{1,9})", re.ASCII)
# `lab::nb`, but not the `::` of an address: `http://[::1]:8888::nb`
_SERVER = re.compile(r"((?:\[[^\]]*\]|\[(?![^\]]*\])|(?!::)[^\[])+)::(.*)", re.DOTALL)


class Level(enum.StrEnum):
    """How a MATCH was understood, from the most to the least exact."""

    ROW = "row"
    ID = "id"
    PATH = "path"
    NAME = "name"
    STEM = "stem"
    KERNELSPEC = "kernelspec"
    PREFIX = "id prefix"
    PART = "part"
    REGEX = "regex"
    KIND = "part of the kernelspec"


NAMING = frozenset({Level.ROW, Level.ID, Level.PATH, Level.NAME, Level.STEM, Level.PREFIX})
"""The levels at which a MATCH is a name: one that is our own kernel's too is not another kernel's alone."""


@dataclass(frozen=True, slots=True)
class Named:
    """A kernel with all that it is called, normalised once: a listing may hold thousands."""

    kernel: Kernel
    paths: tuple[str, ...]
    names: tuple[str, ...]
    specs: tuple[str, ...]
    kinds: tuple[str, ...]
    files: tuple[str, ...]  # its connection file's path and name, with and without the ending

    @classmethod
    def of(cls, kernel: Kernel) -> Named:
        """Collect the names of `kernel`."""
        names = [session.name for session in kernel.sessions]
        names += [posixpath.basename(path) for path in kernel.paths]
        spec = kernel.spec
        return cls(
            kernel,
            paths=_normal(kernel.paths),
            names=_normal([*names, kernel.started_by]),
            specs=_normal([kernel.name, spec.name]),
            kinds=_normal([kernel.name, spec.name, spec.display_name, spec.language]),
            files=_files(kernel.connection_file) if kernel.connection_file else (),
        )


def _normal(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(unicodedata.normalize("NFC", text) for text in texts if text))


def _files(path: str) -> tuple[str, ...]:
    name = posixpath.basename(path)
    return _normal([path, name, posixpath.splitext(name)[0]])


MATCHERS: tuple[tuple[Level, Callable[[str, Named], bool]], ...] = (
    (Level.ID, lambda query, it: query == it.kernel.id and is_uuid(it.kernel.id)),
    # An id that somebody chose is a name like others: a server could call its kernel by the path of your notebook.
    (Level.PATH, lambda query, it: query in it.paths or query == it.kernel.id or query in it.files[:1]),
    (Level.NAME, lambda query, it: query in it.names or query in it.files[1:2]),
    (
        Level.STEM,
        lambda query, it: any(query == posixpath.splitext(name)[0] for name in it.names) or query in it.files[2:],
    ),
    (Level.KERNELSPEC, lambda query, it: query in it.specs),
    (Level.PREFIX, lambda query, it: len(query) >= _SHORTEST_PREFIX and it.kernel.id.startswith(query.lower())),
    (Level.PART, lambda query, it: _within(query, it.paths) or _within(query, it.names)),
    (Level.KIND, lambda query, it: _within(query, it.kinds)),
)


def _within(query: str, texts: Iterable[str]) -> bool:
    folded = fold(query)
    return any(folded in fold(text) for text in texts)


def match(query: str, kernels: Sequence[Kernel], *, rows: Sequence[Kernel] | None = None) -> list[Kernel]:
    """Give the kernels that `query` means: those of the first level that gives any, in the order of `kernels`.

    `rows` is the listing that was shown last, for `#2`: empty when none was shown, None on the command line.

    Raises:
        BadMatch: it is empty, a broken regular expression, or a row that was never shown.
        KernelNotFound: the row's kernel is gone.
        OwnKernel: it names the kernel that asks, and no other.
    """
    return match_level(query, kernels, rows=rows)[1]


def match_level(
    query: str, kernels: Sequence[Kernel], *, rows: Sequence[Kernel] | None = None
) -> tuple[Level | None, list[Kernel]]:
    """Do as `match`, and say at which level it was; None where nothing matches. Raises the same."""
    level, found = match_named(clean(query), [Named.of(kernel) for kernel in kernels], rows)
    return level, without_own(query, found)


def match_named(query: str, named: Sequence[Named], rows: Sequence[Kernel] | None) -> tuple[Level | None, list[Kernel]]:
    """Give the level that decides, and all that match there, for a query that is `clean`.

    At a level of `NAMING` that may be the kernel that asks, alone or among others.

    Raises:
        BadMatch, KernelNotFound: as `match`.
    """
    if row := row_of(query, [it.kernel for it in named], rows):
        return Level.ROW, [row]
    query, named = narrow(query, named)
    if query.startswith("re:"):
        found = [it.kernel for it in search(query, named) if not it.kernel.is_own]
        return (Level.REGEX, found) if found else (None, [])
    for level, test in MATCHERS:
        found = [it.kernel for it in named if test(query, it) and (level in NAMING or not it.kernel.is_own)]
        if found:
            return level, found
    return None, []


def without_own(query: str, found: Sequence[Kernel], face: Face = PYTHON) -> list[Kernel]:
    """Take the kernel that asks out of what `query` matches; `face` is who asks.

    Raises:
        OwnKernel: there is no other.
    """
    rest = [kernel for kernel in found if not kernel.is_own]
    if found and not rest:
        raise only_own(query, face, found[0])
    return rest


def only_own(query: str, face: Face, own: Kernel) -> OwnKernel:
    """Make the error for a MATCH that names the kernel that asks, and no other."""
    return OwnKernel(f"{shown(query)} matches only this notebook's own kernel. {face.here}", own)


def shown(query: str) -> str:
    """Quote a MATCH for a text: one line, not too long, without the token or user of a URL that was pasted."""
    query = re.sub(r"(token=)[^&\s]*", r"\1***", query, flags=re.IGNORECASE)
    query = re.sub(r"(://)[^/@\s]*@", r"\1***@", query)
    return f"'{cut_end(visible(clean(query)), 80)}'"


def row_of(query: str, kernels: Sequence[Kernel], rows: Sequence[Kernel] | None) -> Kernel | None:
    """Give the kernel of a row such as `#2`; None when `query` is no row. Raises as `match`."""
    found = _ROW.fullmatch(query)
    if not found:
        return None
    number = int(found[1])
    if rows is None:
        raise BadMatch(f"#{number} is a row of a listing in a notebook. Here, name the kernel by its path or id")
    if not rows:  # rows are the magics' alone, so that these may name them
        raise BadMatch(f"there is no row #{number}: no {MAGICS.listing} has shown any. Run {MAGICS.listing} first")
    if not 1 <= number <= len(rows):
        shown_last = "only #1" if len(rows) == 1 else f"#1 to #{len(rows)}"
        raise BadMatch(f"there is no row #{number}: the last {MAGICS.listing} showed {shown_last}")
    row = rows[number - 1]
    there = [kernel for kernel in kernels if kernel.id == row.id]
    for kernel in there:
        if kernel.place == row.place:
            return kernel
    for kernel in there if is_uuid(row.id) else ():
        if kernel.own == row.own:  # its server may have come or gone; a claim on its id is another kernel
            return kernel
    raise KernelNotFound(
        f"row #{number} was {visible(row.title)} ({visible(row.short_id)}), which is gone. Run {MAGICS.listing} again"
    )


def search(query: str, named: Sequence[Named]) -> list[Named]:
    """Give those that a `re:` query finds, by path or name.

    Raises:
        BadMatch: the expression is broken, or could take for ever.
    """
    texts = [(it, text) for it in named for text in dict.fromkeys(it.paths + it.names)]
    hits = {
        id(it) for (it, _), hit in zip(texts, search_all(query[3:], [text for _, text in texts]), strict=True) if hit
    }
    return [it for it in named if id(it) in hits]


def clean(query: str) -> str:
    """Strip spaces and one pair of quotes, and normalise.

    Raises:
        BadMatch: nothing is left.
    """
    text = _unquote(query)
    if not text.strip():
        raise BadMatch("which kernel? The name is empty; a notebook's name will do")
    return hide(unicodedata.normalize("NFC", text))


def _unquote(query: str) -> str:
    text = query.strip()
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def split_server(query: str) -> tuple[str | None, str]:
    """Split `SERVER::MATCH` into its two parts; the first is None where no server is named."""
    text = _unquote(query)
    found = None if text.startswith("re:") else _SERVER.fullmatch(text)
    return (hide(found[1].strip()), found[2].strip()) if found else (None, hide(query))


def candidates(query: str, listing: Listing) -> tuple[Kernel, ...]:
    """Return the kernels that `query` is looked for among: a claim only where its server or its row is named."""
    name, _ = split_server(query)
    row = _ROW.fullmatch(_unquote(query))
    meant = (it for it in listing.claims if row or (name and it.server and is_server(name, it.server)))
    return (*listing.kernels, *meant)


def narrow(query: str, named: Sequence[Named]) -> tuple[str, Sequence[Named]]:
    """Keep to the server that `query` names, if it names one of theirs: a path, too, may hold `::`."""
    name, rest = split_server(query)
    if name is None:
        return query, named
    servers = set(servers_named(name, {it.kernel.server for it in named if it.kernel.server}))
    there = [it for it in named if it.kernel.server in servers]
    return (clean(rest), there) if there else (query, named)
