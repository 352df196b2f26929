"""What a MATCH means: the rules, from the most to the least exact. Pure.

The rules are tried in the order of `Level`, and the first that fits any kernel decides. Names are compared as Unicode
NFC, since one file system writes `é` as one character and another as two. Parts of names are compared without case and
accents.

The kernel that runs this code is never the answer, since its cell would wait for itself. Its own name still means it,
and not another kernel with a similar name: at the levels in `NAMING` the answer is then an error.
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
from kernel_bridge_magic.models import Kernel, is_uuid
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.text import cut_end, fold, hide, visible

_SHORTEST_PREFIX = 4  # characters of the beginning of an id
_ROW = re.compile(r"#(\d{1,9})", re.ASCII)
# `lab::nb`, but not the `::` in an IPv6 address: `http://[::1]:8888::nb`
_SERVER = re.compile(r"((?:\[[^\]]*\]|\[(?![^\]]*\])|(?!::)[^\[])+)::(.*)", re.DOTALL)


class Level(enum.StrEnum):
    """How a MATCH was understood: the rules, in the order in which they are tried."""

    #: `#2` is the second row of the table shown last
    ROW = "row"
    #: the whole id, where it is a UUID
    ID = "id"
    #: the whole path of a notebook on its server, or of a connection file; or a whole id that is no UUID
    PATH = "path"
    #: the name of a notebook or connection file with its ending, of a console, or of what started the kernel
    NAME = "name"
    #: such a name without its ending: `analysis` for `analysis.ipynb`
    STEM = "stem"
    #: the kernelspec's whole name: `python3`, `ir`
    KERNELSPEC = "kernelspec"
    #: the beginning of the id, 4 characters or more
    PREFIX = "id prefix"
    #: a part of a path or name, whatever its case and accents
    PART = "part"
    #: `re:PATTERN` searches paths and names; no other rule reads such a MATCH
    REGEX = "regex"
    #: a part of the kernelspec's name, display name or language, whatever its case and accents: `julia`
    KIND = "part of the kernelspec"


NAMING = frozenset({Level.ROW, Level.ID, Level.PATH, Level.NAME, Level.STEM, Level.PREFIX})
"""The levels at which a MATCH is a name. If this kernel has that name too, it does not mean another kernel alone."""


@dataclass(frozen=True, slots=True)
class Named:
    """A kernel and its names, normalised once for all comparisons: a listing may hold thousands of kernels."""

    kernel: Kernel
    paths: tuple[str, ...]
    names: tuple[str, ...]
    specs: tuple[str, ...]
    kinds: tuple[str, ...]
    files: tuple[str, ...]  # of the connection file: its path, its name, its name without the ending

    @classmethod
    def of(cls, kernel: Kernel) -> Named:
        """Collect the names of `kernel`."""
        names = [session.name for session in kernel.sessions]
        names += [posixpath.basename(path) for path in kernel.paths]
        spec, file = kernel.spec, posixpath.basename(kernel.connection_file)
        return cls(
            kernel,
            paths=_normal(kernel.paths),
            names=_normal([*names, kernel.started_by]),
            specs=_normal([kernel.name, spec.name]),
            kinds=_normal([kernel.name, spec.name, spec.display_name, spec.language]),
            files=_normal([kernel.connection_file, file, posixpath.splitext(file)[0]]),
        )


def _normal(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(unicodedata.normalize("NFC", text) for text in texts if text))


# Each rule as a test of one kernel. Rows and regular expressions are not here: they look at all kernels at once.
MATCHERS: tuple[tuple[Level, Callable[[str, Named], bool]], ...] = (
    # Nobody can guess a UUID, so it means its kernel even where another kernel has it as a name.
    (Level.ID, lambda query, it: query == it.kernel.id and is_uuid(it.kernel.id)),
    # An id that somebody chose is a name like others: a server could give its kernel your notebook's path as its id.
    (Level.PATH, lambda query, it: query in it.paths or query == it.kernel.id or query in it.files[:1]),
    (Level.NAME, lambda query, it: query in it.names or query in it.files[1:2]),
    (Level.STEM, lambda query, it: query in {posixpath.splitext(name)[0] for name in it.names} | {*it.files[2:]}),
    (Level.KERNELSPEC, lambda query, it: query in it.specs),
    (Level.PREFIX, lambda query, it: len(query) >= _SHORTEST_PREFIX and it.kernel.id.startswith(query.lower())),
    (Level.PART, lambda query, it: _within(query, it.paths) or _within(query, it.names)),
    (Level.KIND, lambda query, it: _within(query, it.kinds)),
)


def _within(query: str, texts: Iterable[str]) -> bool:
    folded = fold(query)
    return any(folded in fold(text) for text in texts)


def match_level(
    query: str, kernels: Sequence[Kernel], *, rows: Sequence[Kernel] | None = None
) -> tuple[Level | None, list[Kernel]]:
    """Return the first level that fits any kernel, and the kernels that `query` means; None and [] for none.

    `rows` are the kernels of the table shown last, for `#2`: empty if none was shown, None where rows have no numbers.

    Raises:
        BadMatch: it is empty, a broken regular expression, or a row that was never shown.
        KernelNotFound: the row's kernel is gone.
        OwnKernel: it names this kernel itself, and no other.
    """
    level, found = match_named(clean(query), [Named.of(kernel) for kernel in kernels], rows)
    return level, without_own(query, found)


def match_named(query: str, named: Sequence[Named], rows: Sequence[Kernel] | None) -> tuple[Level | None, list[Kernel]]:
    """Return the level that decides, and all kernels that match there. The query is `clean` already.

    At a level of `NAMING` this kernel itself may be among them.

    Raises:
        BadMatch, KernelNotFound: as `match_level`.
    """
    if row := row_of(query, [it.kernel for it in named], rows):
        return Level.ROW, [row]
    query, named = narrow(query, named)
    if query.startswith("re:"):
        found = [it.kernel for it in search(query, named) if not it.kernel.is_this_kernel]
        return (Level.REGEX, found) if found else (None, [])
    for level, test in MATCHERS:
        found = [it.kernel for it in named if test(query, it) and (level in NAMING or not it.kernel.is_this_kernel)]
        if found:
            return level, found
    return None, []


def without_own(query: str, found: Sequence[Kernel], face: Face = PYTHON) -> list[Kernel]:
    """Return `found`, which `query` matches, without this kernel itself.

    Raises:
        OwnKernel: there is no other; the text says what to do with this `face`.
    """
    rest = [kernel for kernel in found if not kernel.is_this_kernel]
    if found and not rest:
        raise only_own(query, face, found[0])
    return rest


def only_own(query: str, face: Face, own: Kernel) -> OwnKernel:
    """Return the error for a MATCH that names this kernel itself, and no other."""
    return OwnKernel(f"{shown(query)} matches only this notebook's own kernel. {face.here}", own)


def shown(query: str) -> str:
    """Return a MATCH in quotes, for an error text: one line, cut, without the token or user of a pasted URL."""
    query = re.sub(r"(token=)[^&\s]*", r"\1***", query, flags=re.IGNORECASE)
    query = re.sub(r"(://)[^/@\s]*@", r"\1***@", query)
    return f"'{cut_end(visible(clean(query)), 80)}'"


def row_of(query: str, kernels: Sequence[Kernel], rows: Sequence[Kernel] | None) -> Kernel | None:
    """Return the kernel that a row such as `#2` means, None where `query` is no row.

    Raises:
        BadMatch: no such row was shown.
        KernelNotFound: the row's kernel is gone.
    """
    found = _ROW.fullmatch(query)
    if not found:
        return None
    number = int(found[1])
    if rows is None:
        raise BadMatch(f"#{number} is a row of a listing in a notebook. Here, name the kernel by its path or id")
    if not rows:  # only the magics have rows, so that the text may name their command
        raise BadMatch(f"there is no row #{number}: no {MAGICS.listing} has shown any. Run {MAGICS.listing} first")
    if not 1 <= number <= len(rows):
        shown_last = "only #1" if len(rows) == 1 else f"#1 to #{len(rows)}"
        raise BadMatch(f"there is no row #{number}: the last {MAGICS.listing} showed {shown_last}")
    row = rows[number - 1]
    if (same := same_kernel(row, kernels)) is not None:
        return same
    raise KernelNotFound(
        f"row #{number} was {visible(row.title)} ({visible(row.short_id)}), which is gone. Run {MAGICS.listing} again"
    )


def same_kernel(kernel: Kernel, kernels: Sequence[Kernel]) -> Kernel | None:
    """Return which of `kernels` is that one, as it was listed before; None if it is gone."""
    there = [other for other in kernels if other.id == kernel.id]
    same = [other for other in there if other.place == kernel.place]
    if not same and is_uuid(kernel.id):
        # Its server may have come or gone. What a sandboxed server lists under the same id is another kernel.
        same = [other for other in there if other.is_yours == kernel.is_yours]
    return same[0] if same else None


def search(query: str, named: Sequence[Named]) -> list[Named]:
    """Return the kernels whose path or name contains what a `re:` query searches.

    Raises:
        BadMatch: the expression is broken, or could take for ever.
    """
    texts = [(it, text) for it in named for text in dict.fromkeys(it.paths + it.names)]
    hits = {
        id(it) for (it, _), hit in zip(texts, search_all(query[3:], [text for _, text in texts]), strict=True) if hit
    }
    return [it for it in named if id(it) in hits]


def could_mean(query: str, kernels: Sequence[Kernel], rows: Sequence[Kernel] | None = None) -> list[Kernel]:
    """Return every kernel that `query`, or an item of the list `a,b,c`, could mean at any level: the filter of a table.

    This kernel itself may be among them.

    Raises:
        BadMatch, KernelNotFound: as `match_level`.
    """
    named = [Named.of(kernel) for kernel in kernels]
    for texts in ([query], split_list(query)):
        wanted: set[Kernel] = set()
        for text in texts:
            text = clean(text)
            if row := row_of(text, kernels, rows):
                wanted.add(row)
                continue
            text, there = narrow(text, named)
            if text.startswith("re:"):
                wanted.update(it.kernel for it in search(text, there))
            else:
                wanted.update(it.kernel for it in there if any(matches(text, it) for _, matches in MATCHERS))
        if wanted:
            return [kernel for kernel in kernels if kernel in wanted]
    return []


def split_list(query: str) -> list[str]:
    """Return the items of `a,b,c`; none for a text without a comma, or for a regular expression, as in `a{2,3}`."""
    query = clean(query)
    if "," not in query or query.startswith("re:"):
        return []
    return [part for part in query.split(",") if part.strip(" \t\n\"'")]


def clean(query: str) -> str:
    """Return `query` normalised, without surrounding blanks and one pair of quotes.

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
    """Return the two parts of `SERVER::MATCH`; the first is None where no server is named."""
    text = _unquote(query)
    found = None if text.startswith("re:") else _SERVER.fullmatch(text)
    return (hide(found[1].strip()), found[2].strip()) if found else (None, hide(query))


def candidates(query: str, listing: Listing) -> tuple[Kernel, ...]:
    """Return the kernels that `query` may mean.

    What a sandboxed server lists under an id of yours is among them only where `query` names that server, or a row.
    """
    name, _ = split_server(query)
    row = _ROW.fullmatch(_unquote(query))
    meant = (it for it in listing.claims if row or (name and it.server and is_server(name, it.server)))
    return (*listing.kernels, *meant)


def narrow(query: str, named: Sequence[Named]) -> tuple[str, Sequence[Named]]:
    """Return the MATCH behind `SERVER::`, and the kernels of that server.

    Return both as they are where no server is called so, since a path may hold `::`, too.
    """
    name, rest = split_server(query)
    if name is None:
        return query, named
    servers = set(servers_named(name, {it.kernel.server for it in named if it.kernel.server}))
    there = [it for it in named if it.kernel.server in servers]
    return (clean(rest), there) if there else (query, named)
