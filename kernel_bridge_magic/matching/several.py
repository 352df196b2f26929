"""From a MATCH to several kernels, for one cell that runs on all of them; and what each is called among them. Pure."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from kernel_bridge_magic.errors import BadMatch
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching.levels import Named, clean, match_named, narrow, shown, split_list, without_own
from kernel_bridge_magic.matching.misses import NOTHING, ambiguous, not_found
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.text import fold

_GLOB = re.compile(r"[*?\[]")
_LONGEST_GLOB = 200  # characters


def find_several(
    query: str,
    kernels: Sequence[Kernel],
    listing: Listing = NOTHING,
    *,
    every: bool = True,
    rows: Sequence[Kernel] | None = None,
    face: Face = PYTHON,
) -> list[Kernel]:
    """Return the kernels that `query` means, in the order of `kernels`, without this kernel itself.

    With `every` those are all that match at the first level that fits, as for one kernel. Without it each item of the
    list `a,b,c` must mean one kernel. An item with `*`, `?` or `[` is a glob, which may mean several; the same counts
    for the whole query with `every`. A text that matches as it stands is neither a list nor a glob.

    Raises:
        KernelNotFound: the query or an item means none.
        AmbiguousKernel: an item means several, and must mean one.
        BadMatch: an item is empty, or what `match_level` says.
        OwnKernel: as `match_level`.
    """
    named = [Named.of(kernel) for kernel in kernels]
    _, found = match_named(clean(query), named, rows)
    if found:
        return without_own(query, found, face)
    if any(not part.strip() for part in query.split(",")) and split_list(query):
        raise BadMatch(f"{shown(query)} is a list with an empty item: write it without blanks, as in a,b")
    wanted: set[Kernel] = set()
    for item in split_list(query) or [query]:
        rest, is_name = _find_item(item, named, rows, face)
        if not rest:
            raise not_found(item, kernels, listing, face)
        if len(rest) > 1 and not every and is_name:
            message = (
                f"{shown(item)} matches {len(rest)} kernels, and an item of a list must match one, so {face.undone}"
            )
            raise ambiguous(message, rest, kernels)
        wanted.update(rest)
    return [kernel for kernel in kernels if kernel in wanted]


def _find_item(
    item: str, named: Sequence[Named], rows: Sequence[Kernel] | None, face: Face
) -> tuple[list[Kernel], bool]:
    """Return the kernels that an item of a list means, and whether it is no glob."""
    _, found = match_named(clean(item), named, rows)
    globbed = [] if found else match_glob(clean(item), named)
    rest = without_own(item, found, face) or [kernel for kernel in globbed if not kernel.is_this_kernel]
    return rest, not globbed


def is_list(query: str, kernels: Sequence[Kernel], rows: Sequence[Kernel] | None = None) -> bool:
    """Return whether `query` is a list such as `a,b,c`, and does not match any kernel as it stands.

    Raises:
        BadMatch, KernelNotFound: as `match_level`.
    """
    if not split_list(query):
        return False
    return not match_named(clean(query), [Named.of(kernel) for kernel in kernels], rows)[1]


def match_glob(query: str, named: Sequence[Named]) -> list[Kernel]:
    """Return the kernels whose path or name, with or without its ending, a glob such as `beta*` matches as a whole.

    Case and accents do not count, and `*` also matches a slash. Return none for a text that is no glob.

    Raises:
        BadMatch: it is longer than anybody would type.
    """
    query, named = narrow(query, named)
    if not _GLOB.search(query):
        return []
    if len(query) > _LONGEST_GLOB:
        raise BadMatch(f"{shown(query)} is too long for a pattern: at most {_LONGEST_GLOB} characters")
    pattern = re.compile(fnmatch.translate(fold(query)))
    return [it.kernel for it in named if any(pattern.match(fold(text)) for text in _texts(it))]


def _texts(it: Named) -> Iterable[str]:
    for text in (*it.paths, *it.names):
        yield text
        yield posixpath.splitext(text)[0]


def keys_of(kernels: Sequence[Kernel]) -> list[str]:
    """Return what each kernel is called among these: its title, where two share that `SERVER::title`, else its id."""
    return _told_apart([_keys(number, kernel) for number, kernel in enumerate(kernels, 1)])


def _keys(number: int, kernel: Kernel) -> list[str]:
    """Return the keys that a kernel may have, the best first. Of two of these kernels the last ones differ."""
    where = kernel.server.name if kernel.server else "this machine"
    # Two servers may name their kernels by themselves, and then by the same id.
    return [kernel.title, f"{where}::{kernel.title}", kernel.id, f"{where}::{kernel.id}", f"{kernel.id} ({number})"]


def _told_apart(names: Sequence[Sequence[str]]) -> list[str]:
    """Return for each kernel the first of its `names` that no other then has."""
    taken = [0] * len(names)
    while True:
        chosen = [these[number] for these, number in zip(names, taken, strict=True)]
        shared = _shared(chosen)
        more = [
            name in shared and number < len(these) - 1 for name, these, number in zip(chosen, names, taken, strict=True)
        ]
        if not any(more):
            return chosen
        taken = [number + one for number, one in zip(taken, more, strict=True)]


def headings_of(kernels: Sequence[Kernel]) -> list[str]:
    """Return the shortest name of each kernel that no other of these has: `north` for `students/north.ipynb`."""
    keys = keys_of(kernels)
    stems = [posixpath.splitext(posixpath.basename(key))[0] for key in keys]
    names = [posixpath.splitext(key)[0] if key.endswith(".ipynb") else key for key in keys]
    shared, doubled = _shared(fold(stem) for stem in stems), _shared(fold(name) for name in names)
    short = [
        stem if stem and fold(stem) not in shared else (key if fold(name) in doubled else name)
        for key, stem, name in zip(keys, stems, names, strict=True)
    ]
    return _told_apart([[name, key] for name, key in zip(short, keys, strict=True)])


def _shared(texts: Iterable[str]) -> set[str]:
    return {text for text, times in Counter(texts).items() if times > 1}
